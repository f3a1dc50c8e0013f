"""Guessing ahead never changes what is written, and is left alone where it does not pay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.replies import PROMPT, finished, load_model, request, text, tokens, write
from tui_chat.chat.events import Prefill
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.replies.generation import ReplyWriter
from tui_chat.engine.replies.speculation import Payoff, PromptLookup
from tui_chat.engine.text.tokenizer import HFEncoder

GREEDY = NEUTRAL.with_values({"temperature": 0, "max_new_tokens": 60})


@pytest.fixture(scope="module")
def steady(make_model_dir: Callable[..., Path], tmp_path_factory: Any) -> Any:
    """A model whose greatest logit stands clear of rounding."""
    return load_model(make_model_dir(tmp_path_factory.mktemp("steady"), initializer_range=0.2))


class Eager(Payoff):
    """Always worth it, and counts what was right."""

    def __init__(self) -> None:
        super().__init__()
        self.checks: list[int] = []

    def checked(self, seconds: float, right: int) -> None:
        self.checks.append(right)

    @property
    def is_worth_it(self) -> bool:
        return True


def guessing(model: Any, encoder: HFEncoder) -> tuple[ReplyWriter, Eager]:
    writer = ReplyWriter(model, encoder)
    payoff = Eager()
    writer._guesser._payoff = payoff
    return writer, payoff


@pytest.mark.parametrize(
    "params",
    [
        GREEDY,
        GREEDY.with_values({"repetition_penalty": 1.1}),
        NEUTRAL.with_values({"temperature": 0.3, "max_new_tokens": 60}),
        NEUTRAL.with_values({"temperature": 1.0, "top_k": 5, "max_new_tokens": 60}),
    ],
)
@pytest.mark.parametrize("count", [1, 4, 16])
def test_the_text_is_the_same_with_and_without(
    steady: Any, encoder: HFEncoder, params: SamplingParams, count: int
) -> None:
    plain = tokens(write(ReplyWriter(steady, encoder), request(params=params)))
    # A text that has been written before: most guesses are right, and the last ones are wrong.
    ids = (*PROMPT, *plain[:30], 9, *PROMPT)
    expected = write(ReplyWriter(steady, encoder), request(ids, params))
    writer, payoff = guessing(steady, encoder)
    got = write(writer, request(ids, params.with_values({"speculate": count})))

    assert tokens(got) == tokens(expected)
    assert finished(got).reason == finished(expected).reason
    assert payoff.checks


def test_right_guesses_save_forward_passes(steady: Any, encoder: HFEncoder) -> None:
    """Greedy text of a tiny model soon goes round in circles, which is foreseen."""
    params = GREEDY.with_values({"max_new_tokens": 200, "speculate": 8})
    passes: list[int] = []
    hook = steady.register_forward_hook(lambda *_: passes.append(1))
    try:
        writer, payoff = guessing(steady, encoder)
        got = write(writer, request(params=params))
        with_guesses = len(passes)
        passes.clear()
        write(ReplyWriter(steady, encoder), request(params=params.with_values({"speculate": 0})))
    finally:
        hook.remove()

    assert len(tokens(got)) == 200
    assert sum(payoff.checks) > 50
    assert with_guesses == len(passes) - sum(payoff.checks)


def test_the_cache_after_guessing_holds_only_what_was_said(steady: Any, encoder: HFEncoder) -> None:
    params = NEUTRAL.with_values({"temperature": 1.0, "max_new_tokens": 40, "speculate": 8})
    ids = (*PROMPT, *PROMPT)
    writer, _ = guessing(steady, encoder)
    first = tokens(write(writer, request(ids, params)))
    events = write(writer, request((*ids, *first, 0, 30, 31), GREEDY))
    reused = next(event for event in events if isinstance(event, Prefill)).reused

    assert reused >= len(ids) + len(first) - 2
    alone = write(ReplyWriter(steady, encoder), request((*ids, *first, 0, 30, 31), GREEDY))
    assert tokens(events) == tokens(alone)


def test_stop_strings_and_limits_end_within_guesses(steady: Any, encoder: HFEncoder) -> None:
    whole = text(write(ReplyWriter(steady, encoder), request(params=GREEDY)))
    stop = whole[20:24]
    params = GREEDY.with_values({"stop": (stop,)})
    plain = write(ReplyWriter(steady, encoder), request(params=params))
    writer, _ = guessing(steady, encoder)
    got = write(writer, request(params=params.with_values({"speculate": 16})))
    assert (text(got), finished(got).reason) == (text(plain), "stop")

    writer, _ = guessing(steady, encoder)
    full = write(writer, request(params=GREEDY.with_values({"speculate": 16}), context=90))
    assert finished(full).reason == "length"
    assert len(tokens(full)) == 90 - len(PROMPT)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 8))
def test_a_guess_is_what_followed_the_same_tokens_before(ids: list[int], most: int) -> None:
    guess = PromptLookup(ids).guess(most)

    assert len(guess) <= most
    if guess:
        end = len(ids)
        assert any(
            ids[i : i + 2] == ids[end - 2 :] and ids[i + 2 : i + 2 + len(guess)] == guess
            for i in range(end - 2)
        )
    else:
        pairs = [tuple(ids[i : i + 2]) for i in range(len(ids) - 1)]
        assert len(ids) < 2 or pairs.count(tuple(ids[-2:])) == 1


def test_guessing_stops_where_it_does_not_pay_and_is_tried_again() -> None:
    payoff = Payoff(again_after=10)
    assert not payoff.is_worth_it
    payoff.computed(1.0)
    for _ in range(3):
        assert payoff.is_worth_it or payoff._checks >= 2
        payoff.checked(3.0, 0)
    assert not payoff.is_worth_it
    for _ in range(10):
        payoff.computed(1.0)
    assert payoff.is_worth_it
    for _ in range(12):
        payoff.checked(3.0, 6)
    assert payoff.is_worth_it
