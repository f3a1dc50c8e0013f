"""Every request ends with one event, whatever breaks, and the next one works."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation import utils

from tui_chat.chat.events import Delta, EngineEvent, Failed, Finished, Prefill
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.chat.templates import PromptMessage, template_named
from tui_chat.engine import streamer
from tui_chat.engine.backend import GenerateRequest
from tui_chat.engine.generation import ReplyWriter
from tui_chat.engine.sampling import LiveSampler
from tui_chat.engine.tokenizer import HFEncoder

TAGS = (340, 341, 342, 343, 344)
STOPS = (0, *TAGS)
GREEDY = NEUTRAL.with_values({"temperature": 0, "max_new_tokens": 8})
PROMPT = tuple(i * 7 % 300 + 2 for i in range(60))


@pytest.fixture(scope="module")
def encoder(tiny_model_dir: Path) -> HFEncoder:
    return HFEncoder(AutoTokenizer.from_pretrained(tiny_model_dir))


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_dir)


@pytest.fixture
def writer(model: Any, encoder: HFEncoder) -> ReplyWriter:
    return ReplyWriter(model, encoder, chunk=16)


def request(
    ids: tuple[int, ...] = PROMPT,
    params: SamplingParams | Callable[[], SamplingParams] = GREEDY,
    seed: int = 1,
    stop_ids: tuple[int, ...] = STOPS,
    context: int = 2048,
) -> GenerateRequest:
    read = params if callable(params) else lambda: params
    return GenerateRequest(ids, read, seed, stop_ids, context)


def write(
    writer: ReplyWriter, wanted: GenerateRequest | None = None, cancel: Event | None = None
) -> list[EngineEvent]:
    """All events of one reply; asserts that it ends with exactly one terminal event."""
    events: list[EngineEvent] = []
    writer.write(wanted or request(), events.append, cancel or Event())
    ends = [event for event in events if isinstance(event, Finished | Failed)]
    assert len(ends) == 1
    assert events[-1] is ends[0]
    return events


def finished(events: list[EngineEvent]) -> Finished:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


def failed(events: list[EngineEvent]) -> Failed:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1]


def tokens(events: list[EngineEvent]) -> list[int]:
    return [i for event in events if isinstance(event, Delta) for i in event.token_ids]


def text(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


@contextmanager
def forced(model: Any, *ids: int) -> Iterator[None]:
    """Make the model want to write these tokens, one after the other, then the last again."""
    written = iter(ids)
    wanted = {"id": ids[0]}

    def rewrite(module: Any, args: Any, output: Any) -> Any:
        wanted["id"] = next(written, wanted["id"])
        output.logits[..., :] = -5.0
        output.logits[..., wanted["id"]] = 5.0
        return output

    # Prefill chunks ask the model as well; the prompts here are a single token, so there are none.
    hook = model.register_forward_hook(rewrite)
    try:
        yield
    finally:
        hook.remove()


# What a reply is made of


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
    model = AutoModelForCausalLM.from_pretrained(path)
    encoder = HFEncoder(AutoTokenizer.from_pretrained(path))
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


@pytest.mark.parametrize("ids", [(), (-1,), (5, 10**6)])
def test_prompts_that_are_no_prompts_are_refused(writer: ReplyWriter, ids: tuple[int, ...]) -> None:
    assert failed(write(writer, request(ids))).code in ("context", "load")
    assert finished(write(writer)).reason == "length"


# What can go wrong


class Injected(RuntimeError):
    """Raised on purpose."""


@contextmanager
def raising(target: Any, name: str, at: int, error: Exception) -> Iterator[None]:
    """Let the call number `at` of a method raise, counted from 0."""
    original = getattr(target, name)
    calls = {"n": -1}

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls["n"] += 1
        if calls["n"] == at:
            raise error
        return original(*args, **kwargs)

    setattr(target, name, wrapped)
    try:
        yield
    finally:
        setattr(target, name, original)


PLACES: dict[str, tuple[Any, str]] = {
    "forward": (None, "forward"),
    "sampler": (LiveSampler, "__call__"),
    "tokenizer": (streamer.TokenText, "push"),
    "streamer": (streamer.ReplyStreamer, "put"),
    "end": (streamer.ReplyStreamer, "end"),
}


@pytest.mark.parametrize("at", [0, 1, 6])
@pytest.mark.parametrize("place", PLACES)
def test_a_fault_anywhere_is_one_failure_and_the_next_prompt_works(
    model: Any, writer: ReplyWriter, place: str, at: int
) -> None:
    expected = tokens(write(writer))
    target, name = PLACES[place]
    for _ in range(4):
        with raising(target or model, name, 0 if place == "end" else at, Injected("boom")):
            began = time.monotonic()
            failure = failed(write(writer))
            assert time.monotonic() - began < 2
        assert failure.code == "internal"
        assert "boom" in failure.detail
        assert tokens(write(writer)) == expected


def test_text_that_was_held_back_is_not_lost_when_a_reply_fails(
    model: Any, writer: ReplyWriter, encoder: HFEncoder
) -> None:
    params = GREEDY.with_values({"stop": ("###",)})
    ids = encoder.encode("see ##")
    with forced(model, *ids), raising(LiveSampler, "__call__", len(ids), Injected("boom")):
        events = write(writer, request((5,), params))

    assert text(events) == "see ##"
    assert failed(events).code == "internal"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "oom"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "oom"),
        (MemoryError(), "oom"),
        (
            RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors"),
            "device_lost",
        ),
        (RuntimeError("probability tensor contains either `inf`, `nan`"), "bad_numbers"),
        (ZeroDivisionError(), "internal"),
    ],
)
def test_failures_are_told_apart(
    model: Any, writer: ReplyWriter, error: Exception, code: str
) -> None:
    with raising(model, "forward", 3, error):
        failure = failed(write(writer))

    assert failure.code == code
    assert failure.title
    assert failure.hint
    assert "\n" not in failure.detail


def test_weights_that_are_not_numbers_fail_instead_of_writing_nonsense(
    tiny_model_dir: Path, encoder: HFEncoder
) -> None:
    broken = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    with torch.no_grad():
        broken.get_output_embeddings().weight[5] = float("nan")

    failure = failed(write(ReplyWriter(broken, encoder)))

    assert failure.code == "bad_numbers"


def test_a_failure_keeps_nothing_of_the_model(tiny_model_dir: Path, encoder: HFEncoder) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    gone = weakref.ref(model)
    kept: list[BaseException] = []

    def fail(*args: Any, **kwargs: Any) -> Any:
        try:
            raise ValueError("inner")
        except ValueError as error:
            outer = Injected("boom")
            kept.extend([outer, error])
            raise outer from error

    hook = model.register_forward_pre_hook(fail)
    writer = ReplyWriter(model, encoder)
    events = write(writer)
    hook.remove()
    del model, writer, hook
    gc.collect()

    assert failed(events).code == "internal"
    assert gone() is None


# Stopping


def test_a_request_cancelled_before_it_begins_writes_nothing(writer: ReplyWriter) -> None:
    cancel = Event()
    cancel.set()
    events = write(writer, cancel=cancel)

    assert finished(events).reason == "cancelled"
    assert tokens(events) == []


def test_cancelling_while_tokens_come_keeps_those_that_came(writer: ReplyWriter) -> None:
    cancel = Event()
    events: list[EngineEvent] = []

    def emit(event: EngineEvent) -> None:
        events.append(event)
        if len(tokens(events)) == 4:
            cancel.set()

    writer.write(request(), emit, cancel)

    assert finished(events).reason == "cancelled"
    assert len(tokens(events)) in (4, 5)
    assert tokens(events) == tokens(write(writer))[: len(tokens(events))]


def test_cancelling_works_between_two_layers_of_one_forward_pass(
    model: Any, encoder: HFEncoder
) -> None:
    """The criteria would wait for the whole prompt; the hook does not."""
    cancel = Event()
    seen: list[int] = []
    layers = model.gpt_neox.layers

    def stop(module: Any, args: Any, output: Any) -> None:
        seen.append(0)
        cancel.set()

    def count(module: Any, args: Any, output: Any) -> None:
        seen.append(1)

    hooks = [layers[0].register_forward_hook(stop), layers[1].register_forward_hook(count)]
    try:
        events = write(ReplyWriter(model, encoder), cancel=cancel)
    finally:
        for hook in hooks:
            hook.remove()

    assert finished(events).reason == "cancelled"
    assert seen == [0]
    assert not any(layer._forward_pre_hooks for layer in layers)


def test_cancelling_at_random_instants_never_hangs_and_changes_nothing(
    writer: ReplyWriter,
) -> None:
    long = tuple(i % 300 + 2 for i in range(300))
    params = GREEDY.with_values({"max_new_tokens": 40})
    began = time.monotonic()
    expected = tokens(write(writer, request(long, params)))
    duration = time.monotonic() - began
    draw = random.Random(3)
    waits: list[float] = []
    for _ in range(60):
        prompt = (draw.randrange(2, 300), *long[1:])
        cancel = Event()
        ended_at: list[float] = []
        thread = threading.Thread(
            target=lambda p=prompt, c=cancel, e=ended_at: (
                write(writer, request(p, params), c),
                e.append(time.monotonic()),
            ),
            daemon=True,
        )
        thread.start()
        cancel.wait(draw.random() * duration)
        cancel.set()
        cancelled_at = time.monotonic()
        thread.join(10)
        assert ended_at
        waits.append(ended_at[0] - cancelled_at)

    assert max(waits) < 2
    assert tokens(write(writer, request(long, params))) == expected
