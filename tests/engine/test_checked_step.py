"""A step that is wrong, or fails, is found out, and costs the reply nothing."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.replies import GREEDY, PROMPT, finished, request, tokens
from tui_chat.chat.events import EngineEvent
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.generation import ReplyWriter
from tui_chat.engine.text.tokenizer import HFEncoder
from tui_chat.engine.turbo.checked_step import CheckedStep

SAMPLED = NEUTRAL.with_values({"temperature": 1.0, "max_new_tokens": 24})
LONG = GREEDY.with_values({"max_new_tokens": 24})


class Step:
    """Computes what the model computes; subclasses do not."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls = 0
        self.released = 0

    def fits(self, cache: Any) -> bool:
        return bool(cache.get_seq_length() > 0)

    def let_go(self) -> None:
        self.released += 1

    def __call__(self, token: int, cache: Any) -> Tensor:
        self.calls += 1
        output = forward(self.model, torch.tensor([[token]]), cache)
        logits: Tensor = output.logits[0, -1].to(torch.float32, copy=True)
        return logits


class OtherLogits(Step):
    def __call__(self, token: int, cache: Any) -> Tensor:
        return super().__call__(token, cache).roll(1)


class OneOtherLogit(Step):
    def __call__(self, token: int, cache: Any) -> Tensor:
        logits = super().__call__(token, cache)
        logits[17] = logits.max() + 3 * logits.std()
        return logits


class NoNumbers(Step):
    def __call__(self, token: int, cache: Any) -> Tensor:
        return super().__call__(token, cache) * torch.nan


class WrongPlace(Step):
    """The right logits, and a token of the cache overwritten."""

    def __call__(self, token: int, cache: Any) -> Tensor:
        logits = super().__call__(token, cache)
        cache.layers[1].keys[:, :, 2] = 1.0
        return logits


class NothingWritten(Step):
    def __call__(self, token: int, cache: Any) -> Tensor:
        logits = super().__call__(token, cache)
        cache.layers[0].values[:, :, -1] = 0.0
        return logits


class WrongFromTheGraph(Step):
    """As if the recorded calls were not those that were made."""

    def __call__(self, token: int, cache: Any) -> Tensor:
        logits = super().__call__(token, cache)
        return logits.neg() if self.calls > 1 else logits


class Broken(Step):
    def __call__(self, token: int, cache: Any) -> Tensor:
        raise RuntimeError("operation not permitted when stream is capturing")


class NoMemory(Step):
    """Right at first."""

    def __call__(self, token: int, cache: Any) -> Tensor:
        logits = super().__call__(token, cache)
        if self.calls > 6:
            for layer in cache.layers:
                layer.crop(-1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits


Refusals = list[tuple[str, bool]]


def written(
    model: Any,
    encoder: HFEncoder,
    step: Step | None,
    params: SamplingParams,
    refusals: Refusals,
) -> list[list[EngineEvent]]:
    """Two turns of a chat, all their events."""
    checked = None
    if step is not None:
        checked = CheckedStep(step, model, lambda why, lasts: refusals.append((why, lasts)))
    writer = ReplyWriter(model, encoder, compiled=lambda: checked)
    replies = []
    ids = PROMPT
    for _ in range(2):
        events: list[EngineEvent] = []
        writer.write(request(ids, params), events.append, Event())
        replies.append(events)
        ids = (*ids, *tokens(events), 60, 61)
    return replies


@pytest.mark.parametrize("params", [LONG, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize(
    ("make", "reason", "is_lasting"),
    [
        (OtherLogits, "logits differ", True),
        (OneOtherLogit, "logits differ", True),
        (NoNumbers, "logits differ", True),
        (WrongPlace, "changes keys of earlier tokens in layer 2", True),
        (NothingWritten, "values differ from the model's in layer 1", True),
        (WrongFromTheGraph, "logits differ", True),
        (Broken, "RuntimeError: operation not permitted", True),
        (NoMemory, "OutOfMemoryError", False),
    ],
)
def test_a_wrong_step_changes_no_token_and_is_used_no_more(
    model: Any,
    encoder: HFEncoder,
    make: Callable[[Any], Step],
    reason: str,
    is_lasting: bool,
    params: SamplingParams,
) -> None:
    refusals: Refusals = []
    step = make(model)
    replies = written(model, encoder, step, params, refusals)
    alone = written(model, encoder, None, params, [])

    assert [tokens(events) for events in replies] == [tokens(events) for events in alone]
    assert [finished(events).stats.path for events in replies] == ["eager", "eager"]
    ((said, lasts),) = refusals
    assert reason in said and "\n" not in said
    assert lasts is is_lasting
    assert step.calls <= 7


@pytest.mark.parametrize("params", [LONG, SAMPLED], ids=["greedy", "sampled"])
def test_a_right_step_is_checked_once_and_then_writes_everything(
    model: Any, encoder: HFEncoder, params: SamplingParams
) -> None:
    refusals: Refusals = []
    step = Step(model)
    replies = written(model, encoder, step, params, refusals)
    alone = written(model, encoder, None, params, [])

    assert [tokens(events) for events in replies] == [tokens(events) for events in alone]
    assert [finished(events).stats.path for events in replies] == ["turbo", "turbo"]
    assert refusals == []
    # Twice on a copy; the first token of a reply comes with its prompt, an end token is no text.
    computed = [len(tokens(e)) - (finished(e).reason != "eos") for e in replies]
    assert step.calls == 2 + sum(computed)
    assert step.released
