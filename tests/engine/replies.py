"""Replies of the tiny model: how they are asked for, collected and read, and forced words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from tui_chat.chat.events import Delta, EngineEvent, Failed, Finished
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.contract.backend import GenerateRequest
from tui_chat.engine.replies.generation import ReplyWriter
from tui_chat.engine.text.tokenizer import HFEncoder

TAGS = (340, 341, 342, 343, 344)
STOPS = (0, *TAGS)
GREEDY = NEUTRAL.with_values({"temperature": 0, "max_new_tokens": 8})
PROMPT = tuple(i * 7 % 300 + 2 for i in range(60))


def load_encoder(directory: Path) -> HFEncoder:
    return HFEncoder(AutoTokenizer.from_pretrained(directory))


def load_model(directory: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(directory)


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
