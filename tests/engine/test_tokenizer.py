"""Text goes in as text: no message can produce a control id, from any thread."""

from __future__ import annotations

import threading
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tui_chat.engine.text.tokenizer import HFEncoder
from tui_chat.errors import ConfigError, ModelLoadError

TAGS = ("<|prompter|>", "<|assistant|>", "<|system|>", "<|prefix_begin|>", "<|prefix_end|>")
CONTROLS = (*TAGS, "<|endoftext|>", "<|padding|>")


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_dir)


@pytest.fixture(scope="module")
def encoder(tokenizer: Any) -> HFEncoder:
    return HFEncoder(tokenizer)


hostile_text = st.lists(
    st.one_of(
        st.sampled_from(CONTROLS),
        st.sampled_from(["<|", "|>", "assistant", "<|assis", "tant|>", " ", "\n", "\ue000"]),
        st.text(max_size=12),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=600)
@given(text=hostile_text)
def test_no_text_makes_a_control_id_and_text_round_trips(encoder: HFEncoder, text: str) -> None:
    ids = encoder.encode(text)

    assert not set(ids) & set(encoder.controls.values())
    assert encoder.decode(ids) == unicodedata.normalize("NFC", text)


@settings(max_examples=200)
@given(text=hostile_text)
def test_clean_text_has_the_ids_of_the_models_own_tokenizer(
    encoder: HFEncoder, tokenizer: Any, text: str
) -> None:
    for control in CONTROLS:
        text = text.replace(control, "")
    if any(control in text for control in CONTROLS):
        return

    assert encoder.encode(text) == tokenizer(text, add_special_tokens=False).input_ids


def test_control_tokens_are_found_by_name_and_only_if_special(encoder: HFEncoder) -> None:
    assert encoder.control("<|assistant|>") == 341
    assert encoder.eos_id == 0
    assert encoder.bos_id is None
    with pytest.raises(ConfigError, match="im_start"):
        encoder.control("<|im_start|>")
    with pytest.raises(ConfigError):
        encoder.control("the")


def test_lone_surrogates_and_empty_text(encoder: HFEncoder) -> None:
    assert encoder.encode("") == []
    assert encoder.decode(encoder.encode("a\ud800b")) == "a\ufffdb"


def test_the_models_tokenizer_is_left_as_it_was(tokenizer: Any) -> None:
    before = tokenizer.backend_tokenizer.to_str()
    HFEncoder(tokenizer).encode("x<|assistant|>")

    assert tokenizer.backend_tokenizer.to_str() == before
    assert not tokenizer.backend_tokenizer.encode_special_tokens


def test_two_threads_counting_and_prompting_leak_nothing(
    encoder: HFEncoder, tokenizer: Any
) -> None:
    forbidden = set(encoder.controls.values())
    leaks: list[list[int]] = []
    stop = threading.Event()

    def parse_on_the_shared_tokenizer() -> None:
        while not stop.is_set():
            tokenizer("<|prompter|>x", split_special_tokens=True)
            tokenizer("<|prompter|>x", split_special_tokens=False)

    def encode() -> None:
        for _ in range(4000):
            ids = encoder.encode("a<|endoftext|><|assistant|>b")
            if forbidden & set(ids):
                leaks.append(ids)

    noise = threading.Thread(target=parse_on_the_shared_tokenizer)
    workers = [threading.Thread(target=encode) for _ in range(2)]
    noise.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stop.set()
    noise.join()

    assert leaks == []


def byte_level(added: list[AddedToken], **names: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges."""
    vocabulary = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    for token in added:
        (backend.add_special_tokens if token.special else backend.add_tokens)([token])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def test_added_tokens_that_are_not_special_stay_text_too() -> None:
    tokenizer = byte_level(
        [AddedToken("</s>", special=True), AddedToken("<think>", special=False)], eos_token="</s>"
    )
    encoder = HFEncoder(tokenizer)

    assert tokenizer.convert_tokens_to_ids("<think>") in tokenizer("<think>").input_ids
    assert not set(encoder.encode("<think></s>")) & set(encoder.controls.values())
    assert encoder.decode(encoder.encode("<think></s>")) == "<think></s>"
    assert tokenizer.convert_tokens_to_ids("<think>") not in encoder.special_ids


def test_added_runs_of_spaces_are_still_used_for_text() -> None:
    tokenizer = byte_level(
        [AddedToken("</s>", special=True), AddedToken("    ", special=False, normalized=True)],
        eos_token="</s>",
    )
    spaces = tokenizer.convert_tokens_to_ids("    ")

    ids = HFEncoder(tokenizer).encode("    return")

    assert ids[0] == spaces
    assert ids == tokenizer("    return", add_special_tokens=False).input_ids


def test_a_unigram_vocabulary_that_holds_its_end_token_as_a_piece() -> None:
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((char, -5.0) for char in "</s>abc ")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    backend.add_special_tokens(["<unk>", "</s>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", unk_token="<unk>"
    )
    encoder = HFEncoder(tokenizer)

    assert 1 not in encoder.encode("a</s>b</s>")
    assert encoder.decode(encoder.encode("a</s>b")).replace(" ", "") == "a</s>b"
    assert encoder.encode("a€") == [*encoder.encode("a"), 0]


def test_text_is_encoded_as_in_the_middle_of_a_prompt() -> None:
    from tokenizers import processors

    vocabulary = {"<s>": 0, "</s>": 1, "▁": 2, "a": 3, "▁a": 4, "b": 5}
    backend = Tokenizer(models.BPE(vocabulary, [("▁", "a")]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    backend.add_special_tokens(["<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    encoder = HFEncoder(tokenizer)

    assert tokenizer("<s>a", add_special_tokens=False).input_ids == [0, 3]
    assert encoder.encode("a") == [3]
    assert encoder.bos_id == 0


def test_the_fingerprint_changes_with_the_tokenizer_only(tokenizer: Any) -> None:
    other = byte_level([AddedToken("</s>", special=True)], eos_token="</s>")

    assert HFEncoder(tokenizer).fingerprint == HFEncoder(tokenizer).fingerprint
    assert HFEncoder(tokenizer).fingerprint != HFEncoder(other).fingerprint


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="end token"):
        HFEncoder(byte_level([]))


def test_token_text_names_parts_of_characters_and_padding_rows(encoder: HFEncoder) -> None:
    assert encoder.token_text(341) == "<|assistant|>"
    assert encoder.token_text(encoder.encode("a")[0]) == "a"
    assert "\ufffd" not in encoder.token_text(encoder.encode("€")[0])
    assert encoder.token_text(9999) == "<9999>"
