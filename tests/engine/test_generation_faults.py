"""Every request ends with one event, whatever breaks or stops it, and the next one works."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from tests.engine.replies import (
    GREEDY,
    failed,
    finished,
    forced,
    load_model,
    request,
    text,
    tokens,
    write,
)
from tui_chat.chat.events import EngineEvent
from tui_chat.engine.replies.generation import ReplyWriter
from tui_chat.engine.replies.sampling import LiveSampler
from tui_chat.engine.text import streamer
from tui_chat.engine.text.tokenizer import HFEncoder

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
    "streamer": (streamer.ReplyStreamer, "put_token"),
    "end": (streamer.ReplyStreamer, "end"),
}


@pytest.mark.parametrize("ids", [(), (-1,), (5, 10**6)])
def test_prompts_that_are_no_prompts_are_refused(writer: ReplyWriter, ids: tuple[int, ...]) -> None:
    assert failed(write(writer, request(ids))).code in ("context", "load")
    assert finished(write(writer)).reason == "length"


@pytest.mark.parametrize("at", [0, 1, 6])
@pytest.mark.parametrize("place", PLACES)
def test_a_fault_anywhere_is_one_failure_and_the_next_prompt_works(
    model: Any, writer: ReplyWriter, place: str, at: int
) -> None:
    expected = tokens(write(writer))
    target, name = PLACES[place]
    for _ in range(4):
        with raising(target or model, name, 0 if place == "end" else at, Injected("boom")):
            failure = failed(write(writer))
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
    broken = load_model(tiny_model_dir)
    with torch.no_grad():
        broken.get_output_embeddings().weight[5] = float("nan")

    failure = failed(write(ReplyWriter(broken, encoder)))

    assert failure.code == "bad_numbers"


def test_a_failure_keeps_nothing_of_the_model(tiny_model_dir: Path, encoder: HFEncoder) -> None:
    model = load_model(tiny_model_dir)
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
