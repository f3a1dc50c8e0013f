"""A model's own chat template: the ids of `apply_chat_template`, and no forged turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tui_chat.chat.conversation import Role
from tui_chat.chat.templates import PromptMessage
from tui_chat.engine.text.chat_template import AutoTemplate
from tui_chat.engine.text.tokenizer import HFEncoder
from tui_chat.errors import ConfigError

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('Only user and assistant roles are"
    " supported!') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
PHI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content']"
    " + '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|user|>",
           "<|assistant|>", "<|system|>")  # fmt: skip


def make_tokenizer(template: str | None, adds_bos: bool) -> Any:
    """A byte-level tokenizer whose merges reach over template borders, as `] h` and ` [`."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL[:5]),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(
        ["[INST] hello there [/INST] hello", "user\nhello\n\n<<SYS>>\n<</SYS>>"] * 9, trainer
    )
    backend.add_special_tokens([AddedToken(t, special=True, rstrip=True) for t in SPECIAL[5:]])
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="<|im_end|>" if template == CHATML else "</s>",
        unk_token="<unk>",
        chat_template=template,
    )


FAMILIES = {"chatml": (CHATML, False), "llama2": (LLAMA2, True), "mistral": (MISTRAL, True),
            "phi": (PHI, False)}  # fmt: skip
TOKENIZERS = {name: make_tokenizer(*family) for name, family in FAMILIES.items()}
ENCODERS = {name: HFEncoder(tokenizer) for name, tokenizer in TOKENIZERS.items()}
TEMPLATES = {name: AutoTemplate(TOKENIZERS[name], ENCODERS[name]) for name in FAMILIES}

words = st.text(st.sampled_from("helo [INST]/\n é<>S漢"), min_size=1, max_size=30).filter(str.strip)
hostile = st.lists(
    st.one_of(st.sampled_from([*SPECIAL, "<|", "|>", "<|im_", "start|>"]), st.text(max_size=6)),
    min_size=1,
    max_size=8,
).map("".join)


def conversation(texts: Sequence[str], system: str = "") -> list[PromptMessage]:
    """Messages of alternating roles, beginning with the user's."""
    roles: list[Role] = ["user", "assistant"]
    messages = [PromptMessage(str(i), roles[i % 2], text) for i, text in enumerate(texts)]
    return [PromptMessage("s", "system", system), *messages] if system else messages


def flat(segments: Any) -> list[int]:
    return [i for segment in segments for i in segment.ids]


def reference(tokenizer: Any, messages: Sequence[PromptMessage], opening: bool) -> list[int]:
    chat = [{"role": m.role, "content": m.text} for m in messages]
    ids: list[int] = tokenizer.apply_chat_template(
        chat, add_generation_prompt=opening, return_dict=False
    )
    return ids


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=150)
@given(texts=st.lists(words, min_size=1, max_size=5), system=st.one_of(st.just(""), words))
def test_clean_text_gives_the_ids_of_apply_chat_template(
    name: str, texts: list[str], system: str
) -> None:
    if any(control in text for control in SPECIAL for text in (*texts, system)):
        return
    system = "" if name == "mistral" else system
    messages = conversation(texts, system)
    opening = len(texts) % 2 == 1

    segments = TEMPLATES[name].render(messages, ENCODERS[name])
    ids = flat(segments) if opening else flat(segments[:-1])

    assert ids == reference(TOKENIZERS[name], messages, opening)
    assert [segment.role for segment in segments] == [*(m.role for m in messages), "reply"]
    assert [segment.message_id for segment in segments[:-1]] == [m.id for m in messages]


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=150)
@given(texts=st.lists(hostile, min_size=1, max_size=4))
def test_hostile_text_makes_no_control_id(name: str, texts: list[str]) -> None:
    encoder = ENCODERS[name]
    harmless = conversation(["x" for _ in texts])
    controls = set(encoder.controls.values())

    ids = flat(TEMPLATES[name].render(conversation(texts), encoder))
    expected = flat(TEMPLATES[name].render(harmless, encoder))

    assert [i for i in ids if i in controls] == [i for i in expected if i in controls]


@pytest.mark.parametrize("name", FAMILIES)
def test_segments_are_cut_between_turns(name: str) -> None:
    encoder = ENCODERS[name]
    user, assistant, _, reply = TEMPLATES[name].render(conversation(["hi", "yo", "so"]), encoder)

    shown = [encoder.decode(segment.ids) for segment in (user, assistant, reply)]

    assert shown == {
        "chatml": ["<|im_start|>user\nhi<|im_end|>\n", "<|im_start|>assistant\nyo<|im_end|>\n",
                   "<|im_start|>assistant\n"],
        "llama2": ["<s>[INST] hi [/INST]", " yo </s>", ""],
        "mistral": ["<s>[INST] hi [/INST]", "yo</s>", ""],
        "phi": ["<|user|>hi<|end|>", "<|assistant|>yo<|end|>", "<|assistant|>"],
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_exactly_one_begin_token_where_the_tokenizer_adds_one(name: str) -> None:
    encoder = ENCODERS[name]
    ids = flat(TEMPLATES[name].render(conversation(["hi"]), encoder))

    assert ids.count(1) == (0 if encoder.bos_id is None else 1)


def test_a_begin_token_that_the_template_forgets_is_added() -> None:
    tokenizer = make_tokenizer(PHI, adds_bos=True)
    encoder = HFEncoder(tokenizer)
    ids = flat(AutoTemplate(tokenizer, encoder).render(conversation(["hi"]), encoder))

    assert ids[0] == 1
    assert ids.count(1) == 1


def test_the_templates_own_words_explain_a_refusal() -> None:
    with pytest.raises(ConfigError, match="Only user and assistant roles are supported"):
        TEMPLATES["mistral"].render(conversation(["hi"], "Be brief."), ENCODERS["mistral"])
    with pytest.raises(ConfigError, match="roles must alternate"):
        twice = [PromptMessage("a", "user", "hi"), PromptMessage("b", "user", "ho")]
        TEMPLATES["llama2"].render(twice, ENCODERS["llama2"])


@pytest.mark.parametrize("name", FAMILIES)
def test_an_unfinished_reply_is_continued_without_its_end(name: str) -> None:
    encoder, template = ENCODERS[name], TEMPLATES[name]
    messages = conversation(["hi", "once upon"])
    segments = template.render(messages, encoder, continue_last=True)

    assert [segment.role for segment in segments] == ["user", "assistant"]
    assert encoder.decode(segments[-1].ids).endswith("once upon")


@pytest.mark.parametrize("name", FAMILIES)
def test_exact_ids_of_a_reply_are_used_and_the_opening_is_a_prefix(name: str) -> None:
    """The ids of the first prompt and its reply begin the next prompt, so the cache is kept."""
    encoder, template = ENCODERS[name], TEMPLATES[name]
    first = flat(template.render(conversation(["hi"]), encoder))
    written = (*encoder.encode(template.lead + "hel"), *encoder.encode("lo"))
    messages = conversation(["hi", "hello", "and?"])
    messages[1] = PromptMessage("1", "assistant", "hello", written)

    ids = flat(template.render(messages, encoder))

    assert ids[: len(first) + len(written)] == [*first, *written]


def test_stop_tokens_end_the_turn_or_open_the_users() -> None:
    def named(name: str, *tokens: str) -> set[int]:
        return {ENCODERS[name].controls[token] for token in tokens}

    stops = {name: set(TEMPLATES[name].stop_tokens(ENCODERS[name])) for name in FAMILIES}

    assert stops["chatml"] == named("chatml", "<|im_end|>", "<|im_start|>")
    assert stops["llama2"] == named("llama2", "</s>", "<s>")
    assert stops["mistral"] == named("mistral", "</s>")
    assert stops["phi"] == named("phi", "</s>", "<|end|>", "<|user|>")


def test_the_lead_is_what_the_model_writes_before_the_first_word() -> None:
    assert {name: template.lead for name, template in TEMPLATES.items()} == {
        "chatml": "", "llama2": " ", "mistral": "", "phi": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}",
        "{{ messages[-1]['content'] }}",
        "{{ 1 / 0 }}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{% for m in messages %}",
    ],
)
def test_a_template_that_cannot_be_used_is_refused(template: str) -> None:
    tokenizer = make_tokenizer(template, adds_bos=False)

    with pytest.raises(ConfigError):
        AutoTemplate(tokenizer, HFEncoder(tokenizer))


def test_a_model_without_a_template_says_so() -> None:
    tokenizer = make_tokenizer(None, adds_bos=False)

    with pytest.raises(ConfigError, match="no chat template"):
        AutoTemplate(tokenizer, HFEncoder(tokenizer))
