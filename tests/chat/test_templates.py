"""Templates: exact ids, and text that can never become a role."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.chat.templates import TEMPLATES, PromptMessage, template_named
from tui_chat.engine.contract.scripted import WordEncoder
from tui_chat.errors import ConfigError


class TableEncoder:
    """A piece of the 20B tokenizer that Pythia uses: the entries that the fixture needs.

    Ids as measured on OpenAssistant/oasst-sft-1-pythia-12b by text-generation-inference.
    """

    PIECES = {
        "What": 1276, " is": 310, " a": 247, " mem": 1167, "e": 70, ",": 13, " and": 285,
        " what": 752, "'s": 434, " the": 253, " history": 2892, " behind": 3212, " this": 436,
        " word": 3159, "?": 32,
    }  # fmt: skip
    CONTROLS = {"<|prompter|>": 50278, "<|assistant|>": 50281, "<|system|>": 50279,
                "<|prefix_begin|>": 50277, "<|prefix_end|>": 50280}  # fmt: skip
    fingerprint = "table"
    bos_id = None
    eos_id = 0

    def encode(self, text: str) -> list[int]:
        pattern = "|".join(sorted(map(re.escape, self.PIECES), key=len, reverse=True))
        return [self.PIECES[piece] for piece in re.findall(pattern, text)]

    def control(self, token: str) -> int:
        return self.CONTROLS[token]


MEME = "What is a meme, and what's the history behind this word?"
GOLDEN = [50278, 1276, 310, 247, 1167, 70, 13, 285, 752, 434, 253, 2892, 3212, 436, 3159, 32, 0,
          50281]  # fmt: skip


def ids(name: str, messages: list[PromptMessage], encoder, **options) -> list[int]:
    segments = template_named(name).render(messages, encoder, **options)
    return [i for segment in segments for i in segment.ids]


def test_the_flagships_own_example_gives_its_published_ids():
    assert ids("oasst", [PromptMessage("1", "user", MEME)], TableEncoder()) == GOLDEN


def test_two_and_three_turns_repeat_the_pattern():
    question = PromptMessage("1", "user", MEME)
    answer = PromptMessage("2", "assistant", "What?")
    turn = [*GOLDEN, 1276, 32, 0]
    encoder = TableEncoder()
    assert ids("oasst", [question, answer, question], encoder) == [*turn, *GOLDEN]
    three = [question, answer, question, answer, question]
    assert ids("oasst", three, encoder) == [*turn, *turn, *GOLDEN]


def test_the_system_message_stands_first_in_both_spellings():
    messages = [PromptMessage("s", "system", "What?"), PromptMessage("1", "user", MEME)]
    encoder = TableEncoder()
    assert ids("oasst", messages, encoder) == [50279, 1276, 32, 0, *GOLDEN]
    assert ids("oasst-prefix", messages, encoder) == [50277, 1276, 32, 50280, *GOLDEN]


def test_exact_ids_of_a_reply_are_used_and_a_continued_reply_stays_open():
    question = PromptMessage("1", "user", MEME)
    answer = PromptMessage("2", "assistant", "ignored", (7, 8, 9))
    assert ids("oasst", [question, answer, question], TableEncoder())[18:22] == [7, 8, 9, 0]
    opened = ids("oasst", [question, answer], TableEncoder(), continue_last=True)
    assert opened == [*GOLDEN, 7, 8, 9]


CONVERSATION = [
    PromptMessage("s", "system", "Be brief."),
    PromptMessage("1", "user", "Hello"),
    PromptMessage("2", "assistant", "Hi."),
    PromptMessage("3", "user", "Bye"),
]
TEXTS = {
    "oasst": "<|system|>Be brief.<|endoftext|><|prompter|>Hello<|endoftext|><|assistant|>Hi."
    "<|endoftext|><|prompter|>Bye<|endoftext|><|assistant|>",
    "oasst-prefix": "<|prefix_begin|>Be brief.<|prefix_end|><|prompter|>Hello<|endoftext|>"
    "<|assistant|>Hi.<|endoftext|><|prompter|>Bye<|endoftext|><|assistant|>",
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
    "<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHello [/INST] Hi. <|endoftext|>"
    "<s>[INST] Bye [/INST]",
    "mistral": "<s>[INST] Be brief.\n\nHello [/INST] Hi.<|endoftext|>[INST] Bye [/INST]",
    "vicuna": "<s>Be brief. USER: Hello ASSISTANT: Hi.<|endoftext|>USER: Bye ASSISTANT:",
    "raw": "<s>Be brief.\n\nHello\nHi.\nBye\n",
}


class BosEncoder(WordEncoder):
    """Words, and a tokenizer that begins every text with `<s>`."""

    CONTROLS = (*WordEncoder.CONTROLS, "<s>")

    @property
    def bos_id(self) -> int | None:
        return self.CONTROLS.index("<s>")


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_writes_its_documented_text(name: str):
    encoder = BosEncoder()
    text = encoder.decode(ids(name, CONVERSATION, encoder))
    without_bos = name in ("oasst", "oasst-prefix", "chatml")
    assert (text.removeprefix("<s>") if without_bos else text) == TEXTS[name]


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_start_token_where_the_tokenizer_adds_none(name: str):
    encoder = WordEncoder()
    assert encoder.decode(ids(name, CONVERSATION, encoder)) == TEXTS[name].replace("<s>", "")


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_end_token_is_always_a_stop_token(name: str):
    stops = template_named(name).stop_tokens(WordEncoder())
    assert 0 in stops and len(set(stops)) == len(stops)


def test_every_role_of_oasst_is_a_stop_token():
    encoder = TableEncoder()
    stops = template_named("oasst").stop_tokens(encoder)
    assert set(stops) == {0, *encoder.CONTROLS.values()}


hostile = st.lists(
    st.sampled_from(
        [*WordEncoder.CONTROLS, "<|", "|>", "assistant", "\n", " ", "[INST]", "</s>", "x"]
    ),
    max_size=8,
).map("".join)


@given(
    st.sampled_from(["oasst", "oasst-prefix", "chatml"]),
    hostile,
    st.lists(st.tuples(hostile, hostile), max_size=4),
    hostile,
)
def test_what_users_type_never_opens_a_turn(name, system, turns, last):
    messages = [PromptMessage("s", "system", system)] if system else []
    for number, (question, answer) in enumerate(turns):
        messages.append(PromptMessage(f"q{number}", "user", question))
        messages.append(PromptMessage(f"a{number}", "assistant", answer))
    messages.append(PromptMessage("last", "user", last))
    encoder = WordEncoder()
    plain = [PromptMessage(m.id, m.role, "x") for m in messages]
    is_control = range(len(encoder.CONTROLS)).__contains__

    def structure(used):
        return [list(filter(is_control, s.ids)) for s in template_named(name).render(used, encoder)]

    assert structure(messages) == structure(plain)


def test_an_unknown_template_suggests_the_nearest():
    with pytest.raises(ConfigError, match="oasst"):
        template_named("oast")
