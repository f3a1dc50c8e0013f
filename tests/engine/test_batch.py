"""Several replies to one prompt in one batch: each is the reply it would be by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from tests.engine.replies import (
    GREEDY,
    PROMPT,
    failed,
    finished,
    load_model,
    request,
    text,
    tokens,
    write,
)
from tui_chat.chat.events import Delta, EngineEvent, Failed, Finished, Prefill
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.contract.backend import GenerateRequest
from tui_chat.engine.replies import batch
from tui_chat.engine.replies.generation import ReplyWriter
from tui_chat.engine.replies.kv_batch import token_bytes
from tui_chat.engine.text.tokenizer import HFEncoder

SAMPLED = NEUTRAL.with_values({"max_new_tokens": 24, "repetition_penalty": 1.2})
PLENTY = 10**9


@pytest.fixture
def writer(model: Any, encoder: HFEncoder) -> ReplyWriter:
    """Has room for every row in one batch, and keeps what was computed."""
    return ReplyWriter(model, encoder, chunk=16, cache_budget=lambda: PLENTY, free=lambda: PLENTY)


def alone(model: Any, encoder: HFEncoder, wanted: GenerateRequest) -> list[EngineEvent]:
    """The events of a reply by itself, with nothing in any cache."""
    return write(ReplyWriter(model, encoder, chunk=16), wanted)


def write_several(
    writer: ReplyWriter,
    wanted: Sequence[GenerateRequest],
    on_event: Callable[[int, EngineEvent], None] = lambda number, event: None,
    cancels: Sequence[Event] | None = None,
) -> list[list[EngineEvent]]:
    """The events of each; asserts that each ends with exactly one terminal event."""
    events: list[list[EngineEvent]] = [[] for _ in wanted]

    def emit(number: int, event: EngineEvent) -> None:
        events[number].append(event)
        on_event(number, event)

    writer.write_several(wanted, emit, cancels or [Event() for _ in wanted])
    for each in events:
        ends = [event for event in each if isinstance(event, Finished | Failed)]
        assert len(ends) == 1 and each[-1] is ends[0]
    return events


def order(wanted: Sequence[GenerateRequest], writer: ReplyWriter) -> list[int]:
    """Which request each token belongs to, in the order in which they came."""
    numbers: list[int] = []

    def note(number: int, event: EngineEvent) -> None:
        if isinstance(event, Delta) and event.token_ids:
            numbers.append(number)

    write_several(writer, wanted, note)
    return numbers


@contextmanager
def batches(model: Any) -> Iterator[list[int]]:
    """The rows of each forward pass."""
    rows: list[int] = []

    def note(module: Any, args: Any, options: Any) -> None:
        rows.append(options["input_ids"].shape[0])

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield rows
    finally:
        hook.remove()


# What is written


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=8),
    length=st.integers(2, 60),
    values=st.fixed_dictionaries(
        {
            "temperature": st.sampled_from([0.0, 0.7, 1.0, 1.5]),
            "top_k": st.sampled_from([0, 40]),
            "top_p": st.sampled_from([0.9, 1.0]),
            "repetition_penalty": st.sampled_from([1.0, 1.2]),
            "max_new_tokens": st.integers(1, 12),
        }
    ),
)
def test_each_is_the_reply_that_its_seed_gives_by_itself(
    model: Any,
    encoder: HFEncoder,
    writer: ReplyWriter,
    seeds: list[int],
    length: int,
    values: dict[str, Any],
) -> None:
    params = NEUTRAL.with_values(values)
    wanted = [request(PROMPT[:length], params, seed) for seed in seeds]
    for one, several in zip(
        [alone(model, encoder, each) for each in wanted], write_several(writer, wanted), strict=True
    ):
        assert_same(one, several)


def assert_same(one: list[EngineEvent], other: list[EngineEvent]) -> None:
    """The same tokens, text and end. Sums in another order may differ by rounding, in fp32 by much
    less than what lies between two tokens of this model."""
    assert tokens(one) == tokens(other) and text(one) == text(other)
    assert finished(one).reason == finished(other).reason
    for a, b in zip(logprobs(one), logprobs(other), strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def logprobs(events: list[EngineEvent]) -> list[float]:
    return [p for event in events if isinstance(event, Delta) for p in event.logprobs]


def test_tokens_come_side_by_side_after_one_prefill(
    model: Any, encoder: HFEncoder, writer: ReplyWriter
) -> None:
    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2, 3)]
    with batches(model) as rows:
        events = write_several(writer, wanted)
    assert rows == [1] * 4 + [3] * 23, "four chunks of the prompt, then all rows at once"
    for each in events:
        prefills = [event for event in each if isinstance(event, Prefill)]
        assert each[: len(prefills)] == prefills
        assert [event.done for event in prefills] == [0, 16, 32, 48, 60]
    assert order(wanted, writer) == [0, 1, 2] * 24


def test_models_with_fewer_key_heads_write_the_same(
    model: Any, encoder: HFEncoder, tmp_path: Path
) -> None:
    config = LlamaConfig(
        vocab_size=model.config.vocab_size, hidden_size=64, intermediate_size=96,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        llama = AutoModelForCausalLM.from_config(config)
    writer = ReplyWriter(llama, encoder, chunk=16, free=lambda: PLENTY)
    wanted = [request(params=SAMPLED, seed=seed) for seed in (4, 5, 6)]
    for one, several in zip(wanted, write_several(writer, wanted), strict=True):
        assert_same(alone(llama, encoder, one), several)
    assert token_bytes(llama.config, torch.float32) == 2 * 2 * 2 * 16 * 4


def test_each_row_has_its_own_end(model: Any, encoder: HFEncoder, writer: ReplyWriter) -> None:
    """Rows stop at a stop string, at their length, and when the model says so; the others go on."""
    whole = text(alone(model, encoder, request(params=SAMPLED, seed=2)))
    stopping = SAMPLED.with_values({"stop": (whole[8:11],)})
    short = SAMPLED.with_values({"max_new_tokens": 3})
    wanted = [
        request(params=SAMPLED, seed=0),  # ends by itself after two tokens
        request(params=stopping, seed=2),
        request(params=short, seed=3),
        request(params=SAMPLED, seed=1),
    ]
    with batches(model) as rows:
        events = write_several(writer, wanted)
    assert [finished(each).reason for each in events] == ["eos", "stop", "length", "length"]
    assert text(events[1]) == whole[: whole.index(whole[8:11])]
    assert [len(tokens(each)) for each in (events[0], *events[2:])] == [2, 3, 24]
    decoding = rows[4:]
    assert decoding == sorted(decoding, reverse=True) and decoding[-1] == 1
    for one, several in zip(wanted, events, strict=True):
        assert_same(alone(model, encoder, one), several)


def test_the_context_ends_every_row(writer: ReplyWriter) -> None:
    wanted = [request(params=SAMPLED, seed=seed, context=len(PROMPT) + 2) for seed in (1, 2)]
    for each in write_several(writer, wanted):
        assert finished(each).reason == "length" and len(tokens(each)) == 2


def test_parameters_act_from_the_next_token_on_in_every_row(writer: ReplyWriter) -> None:
    values = [SAMPLED.with_values({"max_new_tokens": 10})]

    def read() -> SamplingParams:
        return values[-1]

    def on_event(number: int, event: EngineEvent) -> None:
        if isinstance(event, Delta):
            values.append(SAMPLED.with_values({"max_new_tokens": 300}))

    wanted = [request(PROMPT[:5], read, seed) for seed in (1, 2)]
    for each in write_several(writer, wanted, on_event):
        assert len(tokens(each)) > 10, "room for more was made than there was at first"


# What goes on afterwards


def test_the_next_turn_reuses_prompt_and_reply_of_whichever_was_chosen(
    writer: ReplyWriter,
) -> None:
    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2, 3)]
    events = write_several(writer, wanted)
    for each in events:
        said = tokens(each)
        following = (*PROMPT, *said, 0, 5, 6)
        stats = finished(write(writer, request(following))).stats
        assert stats.reused_tokens >= len(PROMPT) + len(said) - 1
        assert tokens(write(writer, request(following))) == tokens(
            alone(writer._model, writer._encoder, request(following))
        )
    assert finished(write(writer)).stats.reused_tokens == len(PROMPT) - 1


def test_without_room_for_more_the_prompt_alone_is_kept(model: Any, encoder: HFEncoder) -> None:
    writer = ReplyWriter(model, encoder, chunk=16, free=lambda: PLENTY)
    write_several(writer, [request(params=SAMPLED, seed=seed) for seed in (1, 2)])
    assert writer._cache.ids == PROMPT
    assert len(writer._cache._held) == 1


# Where memory is short


def test_as_many_rows_at_a_time_as_memory_allows(model: Any, encoder: HFEncoder) -> None:
    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2, 3, 4, 5)]
    row = token_bytes(model.config, torch.float32) * (len(PROMPT) + 24)
    expected = [alone(model, encoder, each) for each in wanted]
    for rows in (2, 1):
        writer = ReplyWriter(model, encoder, chunk=16, free=lambda rows=rows: 2 * rows * row + 1)
        with batches(model) as passes:
            events = write_several(writer, wanted)
        assert max(passes) == rows
        for one, several in zip(expected, events, strict=True):
            assert_same(one, several)
        numbers = order(wanted, writer)
        assert [n // rows for n in numbers] == sorted(n // rows for n in numbers)
        assert numbers[:4] == ([0, 1, 0, 1] if rows == 2 else [0] * 4)
    assert_same(expected[0], write_several(writer, wanted[:1])[0])


def test_memory_that_is_not_there_after_all_means_one_after_the_other(
    model: Any, encoder: HFEncoder, writer: ReplyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(batch, "batch_cache", full)
    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2)]
    assert order(wanted, writer) == [0] * 24 + [1] * 24
    for one, several in zip(wanted, write_several(writer, wanted), strict=True):
        assert_same(alone(model, encoder, one), several)


def test_a_cache_that_cannot_be_cut_means_one_after_the_other(
    model: Any, encoder: HFEncoder
) -> None:
    config = MistralConfig(
        vocab_size=model.config.vocab_size, hidden_size=64, intermediate_size=96,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, sliding_window=8,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        sliding = AutoModelForCausalLM.from_config(config)
    writer = ReplyWriter(sliding, encoder, chunk=16, free=lambda: PLENTY)
    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2)]
    assert order(wanted, writer) == sorted(order(wanted, writer))


# Stopping and failing


def test_one_is_stopped_within_a_token_and_the_others_go_on(
    model: Any, encoder: HFEncoder, writer: ReplyWriter
) -> None:
    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2, 3)]
    cancels = [Event() for _ in wanted]
    written = [0, 0, 0]

    def on_event(number: int, event: EngineEvent) -> None:
        written[number] += isinstance(event, Delta)
        if number == 1 and written[1] == 5:
            cancels[1].set()

    events = write_several(writer, wanted, on_event, cancels)
    assert [finished(each).reason for each in events] == ["length", "cancelled", "length"]
    assert len(tokens(events[1])) == 5
    for number in (0, 2):
        assert_same(alone(model, encoder, wanted[number]), events[number])


def test_all_are_stopped_in_the_middle_of_a_forward_pass(writer: ReplyWriter, model: Any) -> None:
    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2)]
    cancels = [Event(), Event()]
    passes = 0

    def cancel_late(module: Any, args: Any) -> None:
        nonlocal passes
        passes += 1
        if passes == 7:  # four of the prompt, then tokens
            for cancel in cancels:
                cancel.set()

    hook = model.gpt_neox.layers[0].register_forward_pre_hook(cancel_late)
    try:
        events = write_several(writer, wanted, cancels=cancels)
    finally:
        hook.remove()
    assert [finished(each).reason for each in events] == ["cancelled"] * 2
    assert [len(tokens(each)) for each in events] == [3, 3]
    assert finished(write(writer)).stats.reused_tokens == len(PROMPT) - 1


def test_stopping_while_the_prompt_is_read_ends_all(writer: ReplyWriter) -> None:
    cancels = [Event(), Event()]

    def on_event(number: int, event: EngineEvent) -> None:
        if isinstance(event, Prefill) and event.done == 32:
            cancels[number].set()

    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2)]
    events = write_several(writer, wanted, on_event, cancels)
    assert [finished(each).reason for each in events] == ["cancelled"] * 2
    assert tokens(events[0]) == tokens(events[1]) == []
    assert finished(write(writer)).stats.reused_tokens == 32


def test_a_row_that_fails_leaves_the_others_alone(
    model: Any, encoder: HFEncoder, writer: ReplyWriter
) -> None:
    def failing() -> SamplingParams:
        nonlocal reads
        reads += 1
        if reads > 8:
            raise RuntimeError("injected")
        return SAMPLED

    reads = 0
    wanted = [request(params=SAMPLED, seed=1), request(params=failing, seed=2)]
    events = write_several(writer, wanted)
    assert failed(events[1]).code == "internal" and "injected" in failed(events[1]).detail
    assert 0 < len(tokens(events[1])) < 8
    assert_same(alone(model, encoder, wanted[0]), events[0])
    assert writer.cache_bytes == 0, "numbers in doubt are not kept"
    assert_same(alone(model, encoder, wanted[0]), write(writer, wanted[0]))


@pytest.mark.parametrize("at", [0, 3, 4, 9])
def test_a_forward_pass_that_fails_ends_every_row_and_the_next_reply_works(
    encoder: HFEncoder, tiny_model_dir: Path, at: int
) -> None:
    model = load_model(tiny_model_dir)
    writer = ReplyWriter(model, encoder, chunk=16, free=lambda: PLENTY)
    wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2)]
    passes = -1

    def broken(module: Any, args: Any) -> None:
        nonlocal passes
        passes += 1
        if passes == at:
            raise RuntimeError("CUDA error: out of memory")

    hook = model.gpt_neox.layers[1].register_forward_pre_hook(broken)
    events = write_several(writer, wanted)
    hook.remove()
    assert [failed(each).code for each in events] == ["oom", "oom"]
    assert writer.cache_bytes == 0
    for one, several in zip(wanted, write_several(writer, wanted), strict=True):
        assert_same(alone(model, encoder, one), several)


def test_numbers_that_are_not_finite_end_the_rows_that_have_them(
    writer: ReplyWriter, model: Any
) -> None:
    passes = 0

    def spoil(module: Any, args: Any, output: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes == 8:
            output.logits[1] = float("nan")
        return output

    hook = model.register_forward_hook(spoil)
    try:
        wanted = [request(params=SAMPLED, seed=seed) for seed in (1, 2, 3)]
        events = write_several(writer, wanted)
    finally:
        hook.remove()
    assert failed(events[1]).code == "bad_numbers" and len(tokens(events[1])) == 4
    assert [finished(events[n]).reason for n in (0, 2)] == ["length", "length"]


def test_what_cannot_be_answered_is_one_failure_for_each(writer: ReplyWriter) -> None:
    events = write_several(writer, [request((), GREEDY), request((), GREEDY)])
    assert [failed(each).code for each in events] == ["context", "context"]
