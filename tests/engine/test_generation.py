"""What a reply is made of: its tokens and numbers, in what order they come, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation import utils

from tests.engine.replies import (
    GREEDY,
    PROMPT,
    STOPS,
    failed,
    finished,
    forced,
    load_encoder,
    load_model,
    request,
    text,
    tokens,
    write,
)
from tui_chat.chat.events import Delta, EngineEvent, Prefill
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.chat.templates import PromptMessage, template_named
from tui_chat.engine.replies.generation import ReplyWriter
from tui_chat.engine.text.tokenizer import HFEncoder


def test_greedy_tokens_are_those_of_generate(model: Any, writer: ReplyWriter) -> None:
    expected = model.generate(
        torch.tensor([PROMPT]), max_new_tokens=8, do_sample=False, eos_token_id=0
    )[0, len(PROMPT) :].tolist()

    assert tokens(write(writer)) == expected


def test_events_come_in_order_with_prefill_progress(writer: ReplyWriter) -> None:
    events = write(writer)
    prefills = [event for event in events if isinstance(event, Prefill)]

    assert events[: len(prefills)] == prefills
    assert [event.done for event in prefills] == [0, 16, 32, 48, 60]
    assert {(event.new, event.reused) for event in prefills} == {(60, 0)}


def test_statistics_count_what_was_done(writer: ReplyWriter) -> None:
    stats = finished(write(writer, request(seed=9))).stats

    assert (stats.prompt_tokens, stats.completion_tokens, stats.seed) == (60, 8, 9)
    assert 0 < stats.ttft_s <= stats.total_s
    assert stats.decode_tokens_per_s > 0


def test_the_logprobs_are_the_models_own(model: Any, writer: ReplyWriter) -> None:
    events = write(writer)
    deltas = [event for event in events if isinstance(event, Delta) and event.token_ids]
    with torch.inference_mode():
        logits = model(torch.tensor([[*PROMPT, *tokens(events)]])).logits[0]
    for index, delta in enumerate(deltas):
        expected = logits[len(PROMPT) - 1 + index].log_softmax(-1)[delta.token_ids[0]]
        assert delta.logprobs[0] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("stop", STOPS)
def test_the_end_token_and_every_role_tag_end_the_reply(
    model: Any, writer: ReplyWriter, encoder: HFEncoder, stop: int
) -> None:
    word = encoder.encode("a")[0]
    with forced(model, word, word, stop):
        events = write(writer, request((5,)))

    assert finished(events).reason == "eos"
    assert tokens(events) == [word, word]
    assert text(events) == "aa"


def test_the_configs_own_end_token_does_not_matter(
    make_model_dir: Callable[..., Path], tmp_path: Path
) -> None:
    """The default of GPTNeoXConfig is 2, which is `!`; the tokenizer says 0."""
    path = make_model_dir(tmp_path / "eos2", eos_token_id=2)
    model = load_model(path)
    encoder = load_encoder(path)
    assert model.generation_config.eos_token_id == 2
    writer = ReplyWriter(model, encoder)
    template = template_named("oasst")
    message = PromptMessage("1", "user", "Hello!")
    ids = tuple(i for s in template.render([message], encoder) for i in s.ids)
    stops = template.stop_tokens(encoder)

    with forced(model, *encoder.encode("a!b!"), 0):
        events = write(writer, request(ids[-1:], stop_ids=stops))

    assert encoder.encode("!") == [2]
    assert text(events) == "a!b!"
    assert finished(events).reason == "eos"


def test_end_tokens_that_the_models_files_list_end_the_reply_too(
    model: Any, encoder: HFEncoder
) -> None:
    listed = ReplyWriter(model, encoder, end_ids=(1,))
    with forced(model, *encoder.encode("a"), 1):
        events = write(listed, request((5,), stop_ids=(0,)))

    assert (text(events), finished(events).reason) == ("a", "eos")


def test_a_stop_string_ends_the_reply_at_once(
    model: Any, writer: ReplyWriter, encoder: HFEncoder
) -> None:
    params = GREEDY.with_values({"stop": ("<|x|>",), "max_new_tokens": 50})
    with forced(model, *encoder.encode("yes <| no <|x|> never")):
        events = write(writer, request((5,), params))

    assert text(events) == "yes <| no "
    assert finished(events).reason == "stop"
    assert "never" not in encoder.decode(tokens(events))


def test_max_new_tokens_and_the_context_limit_the_reply(
    model: Any, writer: ReplyWriter, encoder: HFEncoder
) -> None:
    letters = encoder.encode("abcdefgh")
    with forced(model, *letters):
        by_params = write(writer, request((5,), GREEDY.with_values({"max_new_tokens": 3})))
    with forced(model, *letters):
        by_context = write(writer, request((5,), context=6))

    assert (tokens(by_params), finished(by_params).reason) == (letters[:3], "length")
    assert (tokens(by_context), finished(by_context).reason) == (letters[:5], "length")


def test_parameters_act_from_the_next_token_on(
    model: Any, writer: ReplyWriter, encoder: HFEncoder
) -> None:
    values = [GREEDY.with_values({"max_new_tokens": 50})]

    def read() -> SamplingParams:
        return values[-1]

    events: list[EngineEvent] = []

    def emit(event: EngineEvent) -> None:
        events.append(event)
        if tokens(events) == encoder.encode("ab"):
            values.append(GREEDY.with_values({"stop": ("e",)}))

    with forced(model, *encoder.encode("abcdefgh")):
        writer.write(request((5,), read), emit, Event())

    assert text(events) == "abcd"


def test_the_same_seed_gives_the_same_text_while_other_threads_draw_numbers(
    writer: ReplyWriter,
) -> None:
    sampled = NEUTRAL.with_values({"max_new_tokens": 30})
    expected = tokens(write(writer, request(params=sampled, seed=2**63 + 5)))
    stop = Event()

    def draw() -> None:
        while not stop.is_set():
            torch.rand(4)

    noise = threading.Thread(target=draw)
    noise.start()
    try:
        again = tokens(write(writer, request(params=sampled, seed=2**63 + 5)))
    finally:
        stop.set()
        noise.join()

    assert again == expected
    assert tokens(write(writer, request(params=sampled, seed=6))) != expected


def test_devices_that_learn_of_the_end_one_token_late_write_the_same(
    writer: ReplyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Apple GPUs `generate` asks whether to stop one step late, and undoes that step."""
    long = tuple(range(2, 30))
    stopping = GREEDY.with_values({"max_new_tokens": 12})
    plain = [e for e in write(writer, request(long, stopping)) if isinstance(e, Delta)]
    monkeypatch.setattr(utils.DeferredStopCheck, "is_supported", lambda *args, **kwargs: True)
    nothing = SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    monkeypatch.setattr(torch, "Event", lambda *args, **kwargs: nothing)
    for _ in range(2):
        late = [e for e in write(writer, request(long, stopping)) if isinstance(e, Delta)]
        assert [e.token_ids for e in late] == [e.token_ids for e in plain]
        assert [e.logprobs for e in late if e.token_ids] == [
            pytest.approx(e.logprobs, abs=1e-4) for e in plain if e.token_ids
        ]
    cached = writer._cache.ids
    assert len(cached) >= len(long) + 11
    assert cached == (*long, *tokens([*plain]))[: len(cached)]


def test_padding_rows_and_foreign_control_tokens_are_never_written(
    writer: ReplyWriter, encoder: HFEncoder
) -> None:
    hot = NEUTRAL.with_values({"temperature": 2.0, "max_new_tokens": 600})
    events = write(writer, request(params=hot, stop_ids=(0,)))

    assert set(tokens(events)) <= encoder.vocabulary - encoder.special_ids


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 80), context=st.integers(1, 90), limit=st.integers(1, 40))
def test_prompt_and_reply_never_pass_the_context(
    model: Any, encoder: HFEncoder, length: int, context: int, limit: int
) -> None:
    params = GREEDY.with_values({"max_new_tokens": limit})
    events = write(
        ReplyWriter(model, encoder), request(PROMPT[:1] * length, params, context=context)
    )
    if length >= context:
        assert failed(events).code == "context"
    else:
        assert length + len(tokens(events)) <= context
        assert finished(events).reason == "eos" or len(tokens(events)) == min(
            limit, context - length
        )
