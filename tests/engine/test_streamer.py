"""Text comes out token by token, whole characters only, and the stop text never shows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import TextIteratorStreamer

from tui_chat.chat.events import Delta
from tui_chat.engine.text.stop_strings import StopMatcher
from tui_chat.engine.text.streamer import ReplyStreamer, StreamFailedError, TokenText
from tui_chat.engine.text.tokenizer import HFEncoder

EOS = 0


def stream(
    encoder: HFEncoder, ids: Sequence[int], stops: Sequence[str] = (), end: bool = True
) -> tuple[list[Delta], ReplyStreamer]:
    """What `generate` does with a streamer: the prompt, then token by token, then the end."""
    deltas: list[Delta] = []
    streamer = ReplyStreamer(encoder.backend, deltas.append, (5, 6), (EOS,), stops)
    streamer.put(torch.tensor([[5, 6]]))
    for token_id in ids:
        streamer.put(torch.tensor([token_id]))
    if end:
        streamer.end()
    return deltas, streamer


def shown(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


TEXTS = [
    "👩‍👩‍👧‍👦 family 🇫🇷",
    "ひらがなだけ",
    "漢字 และ عربى",
    " .  x\n\n\n    indented\n\tcode",
    "e\u0301 é",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_frame_has_whole_characters_only(encoder: HFEncoder, text: str) -> None:
    ids = encoder.encode(text)
    deltas, _ = stream(encoder, ids)

    assert shown(deltas) == encoder.decode(ids)
    assert not any("\ufffd" in delta.text for delta in deltas)
    assert [i for delta in deltas for i in delta.token_ids] == ids


def test_text_is_not_held_back_until_a_space(encoder: HFEncoder) -> None:
    ids = encoder.encode("ひらがな")
    deltas, _ = stream(encoder, ids, end=False)

    assert shown(deltas) == "ひらがな"
    assert len([delta for delta in deltas if delta.text]) == 4


@settings(max_examples=300)
@given(ids=st.lists(st.integers(2, 339), max_size=40))
def test_the_stream_is_the_offline_text_for_any_tokens(encoder: HFEncoder, ids: list[int]) -> None:
    deltas, streamer = stream(encoder, ids)

    assert shown(deltas) == encoder.decode(ids).rstrip("\ufffd")
    assert streamer.token_ids == ids


def test_a_character_cut_off_by_the_end_is_completed_when_the_reply_goes_on(
    encoder: HFEncoder,
) -> None:
    ids = encoder.encode("ok €!")
    first, _ = stream(encoder, ids[:4])
    text = TokenText(encoder.backend, ids[:4])

    assert shown(first) + "".join(text.push(i) for i in ids[4:]) == "ok €!"
    assert "\ufffd" not in shown(first)


def test_the_space_before_the_first_word_is_kept_by_decoders_that_strip_it() -> None:
    backend = Tokenizer(models.BPE({"</s>": 0, "▁": 1, "a": 2, "▁a": 3}, [("▁", "a")]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    backend.add_special_tokens(["</s>"])

    text = TokenText(backend, (2,))

    assert [text.push(3), text.push(3)] == [" a", " a"]


def test_a_stop_token_ends_the_reply_and_is_no_part_of_it(encoder: HFEncoder) -> None:
    ids = encoder.encode("done")
    deltas, streamer = stream(encoder, [*ids, EOS, *encoder.encode("more")])

    assert shown(deltas) == "done"
    assert streamer.reason == "eos"
    assert streamer.token_ids == ids


@pytest.mark.parametrize("stop", ["a.b", "<|x|>", "(", "[/INST]", "\\d+", "###"])
def test_stop_strings_are_literal(encoder: HFEncoder, stop: str) -> None:
    before = "axb ## 42 " + stop[:-1]
    deltas, streamer = stream(encoder, encoder.encode(before + " " + stop + " never"), [stop])

    assert shown(deltas) == before + " "
    assert streamer.reason == "stop"


def test_the_beginning_of_a_stop_string_is_shown_when_nothing_follows(encoder: HFEncoder) -> None:
    deltas, streamer = stream(encoder, encoder.encode("see ##"), ["###"])

    assert shown(deltas) == "see ##"
    assert streamer.reason is None


def pieces_of(text: str, cuts: Sequence[int]) -> list[str]:
    edges = sorted({0, len(text), *(cut for cut in cuts if cut <= len(text))})
    return [text[a:b] for a, b in pairwise(edges)]


@settings(max_examples=500)
@given(
    text=st.text("abc#", max_size=24),
    stops=st.lists(st.text("abc#", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(1, 23), max_size=10),
)
@example(text="xaab", stops=["ab"], cuts=[1, 2, 3])
@example(text="abab#", stops=["abc", "b"], cuts=[2])
def test_every_way_of_cutting_the_text_shows_the_same(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    whole, cut = StopMatcher(stops), StopMatcher(stops)
    expected = whole.feed(text) + whole.flush()
    seen = ""
    for piece in pieces_of(text, cuts):
        seen += cut.feed(piece)
        assert expected.startswith(seen)
    seen += cut.flush()

    assert (seen, cut.found) == (expected, whole.found)
    assert not any(stop in seen for stop in stops)
    if cut.found is None:
        assert seen == text


def test_deltas_carry_the_logprob_of_their_token(encoder: HFEncoder) -> None:
    deltas: list[Delta] = []
    values = iter([-0.5, -1.5])
    streamer = ReplyStreamer(encoder.backend, deltas.append, logprob=lambda: next(values))
    streamer.put(torch.tensor([[3]]))
    streamer.put(torch.tensor([70]))
    streamer.put(torch.tensor([71]))

    assert [delta.logprobs for delta in deltas] == [(-0.5,), (-1.5,)]


def read_in_a_thread(streamer: ReplyStreamer) -> tuple[threading.Thread, list[Any]]:
    seen: list[Any] = []

    def read() -> None:
        try:
            seen.extend(streamer)
        except StreamFailedError as error:
            seen.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, seen


def test_it_is_a_text_iterator_for_another_thread(encoder: HFEncoder) -> None:
    streamer = ReplyStreamer(encoder.backend)
    thread, seen = read_in_a_thread(streamer)
    streamer.put(torch.tensor([[1, 2, 3]]))
    for token_id in encoder.encode("hello there"):
        streamer.put(torch.tensor([token_id]))
    streamer.end()
    thread.join(5)

    assert isinstance(streamer, TextIteratorStreamer)
    assert not thread.is_alive()
    assert "".join(seen) == "hello there"


def test_a_reader_ends_with_the_reason_when_generation_fails(encoder: HFEncoder) -> None:
    streamer = ReplyStreamer(encoder.backend)
    thread, seen = read_in_a_thread(streamer)
    streamer.put(torch.tensor([[1]]))
    streamer.put(torch.tensor([70]))
    streamer.fail(ValueError("boom"))
    streamer.end()
    thread.join(5)

    assert not thread.is_alive()
    assert isinstance(seen[-1], StreamFailedError)
    assert "boom" in str(seen[-1])
    with pytest.raises(StreamFailedError):
        next(streamer)
