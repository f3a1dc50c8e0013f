"""Sampling parameters mean what they mean in transformers, and may change between two tokens."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.replies.sampling import (
    BadNumbersError,
    LiveSampler,
    candidates,
    forbidden_ids,
    penalised,
)

ROWS = 64
NOTHING = torch.zeros(ROWS, dtype=torch.bool)


def some_logits(seed: int, scale: float = 3.0) -> torch.Tensor:
    return torch.randn(ROWS, generator=torch.Generator().manual_seed(seed)) * scale


def transformers_scores(
    params: SamplingParams, seen: torch.Tensor, logits: torch.Tensor
) -> torch.Tensor:
    """What `generate` itself would do with these values."""
    steps = LogitsProcessorList()
    if params.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    steps.append(TemperatureLogitsWarper(params.temperature))
    if params.top_k:
        steps.append(TopKLogitsWarper(params.top_k))
    if params.top_p < 1:
        steps.append(TopPLogitsWarper(params.top_p))
    if params.min_p:
        steps.append(MinPLogitsWarper(params.min_p))
    if params.typical_p < 1:
        steps.append(TypicalLogitsWarper(params.typical_p))
    scores: torch.Tensor = steps(seen[None], logits[None].clone())
    return scores[0]


def has_ties(params: SamplingParams, seen: torch.Tensor, logits: torch.Tensor) -> bool:
    """Whether two tokens are equally typical but for rounding, so that either may be kept."""
    if params.typical_p == 1:
        return False
    before = transformers_scores(params.with_values({"typical_p": 1.0}), seen, logits)
    likely = before[before.isfinite()].log_softmax(-1)
    distances = (likely - (likely.exp() * likely).sum()).abs().sort().values
    return bool((distances.diff() < 1e-5).any())


some_params = st.builds(
    SamplingParams,
    temperature=st.floats(0.05, 2.0),
    top_k=st.integers(0, ROWS + 10),
    top_p=st.sampled_from([0.01, 0.3, 0.7, 0.95, 1.0]),
    min_p=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    typical_p=st.sampled_from([0.05, 0.2, 0.9, 1.0]),
    repetition_penalty=st.sampled_from([0.5, 1.0, 1.2, 3.0]),
)


@settings(max_examples=400, deadline=None)
@given(params=some_params, seed=st.integers(0, 10**6))
def test_the_filters_are_those_of_transformers(params: SamplingParams, seed: int) -> None:
    logits = some_logits(seed)
    seen = torch.tensor([3, 5, 3, 9])
    assume(not has_ties(params, seen, logits))

    ids, scaled = candidates(penalised(logits, seen, params.repetition_penalty), params)
    ours = torch.zeros(ROWS).scatter(
        0, torch.arange(ROWS) if ids is None else ids, scaled.softmax(-1)
    )
    theirs = transformers_scores(params, seen, logits).softmax(-1)

    assert torch.allclose(ours, theirs, atol=1e-5)


@given(
    zero=st.sampled_from([{"top_p": 0.0}, {"typical_p": 0.0}, {"min_p": 1.0}, {"top_k": 1}]),
    seed=st.integers(0, 1000),
)
def test_the_ends_of_every_range_keep_a_token(zero: dict[str, float], seed: int) -> None:
    _, scaled = candidates(some_logits(seed), NEUTRAL.with_values(zero))

    assert scaled.isfinite().sum() == 1


def test_a_temperature_next_to_zero_does_not_overflow() -> None:
    _, scaled = candidates(some_logits(1), NEUTRAL.with_values({"temperature": 1e-40}))

    assert scaled.softmax(-1).max() == 1


def sampler(
    params: SamplingParams | Callable[[], SamplingParams],
    seed: int = 1,
    forbidden: torch.Tensor = NOTHING,
) -> LiveSampler:
    return LiveSampler(params if callable(params) else lambda: params, seed, forbidden)


def tokens_of(live: LiveSampler, count: int = 40) -> list[int]:
    for index in range(count):
        assert live(torch.tensor([1, 2]), some_logits(index)) == live.chosen[-1]
    return live.chosen


def test_temperature_0_is_the_greatest_logit() -> None:
    live = sampler(NEUTRAL.with_values({"temperature": 0}))

    assert tokens_of(live) == [int(some_logits(i).argmax()) for i in range(40)]


def test_the_same_seed_gives_the_same_tokens_whatever_other_random_numbers_are_drawn() -> None:
    torch.manual_seed(1)
    first = tokens_of(sampler(NEUTRAL, 2**64 - 1))
    torch.manual_seed(2)

    assert tokens_of(sampler(NEUTRAL, 2**64 - 1)) == first
    assert tokens_of(sampler(NEUTRAL, 0)) != first


def test_sampled_frequencies_follow_the_probabilities() -> None:
    live = sampler(NEUTRAL.with_values({"top_k": 3, "temperature": 1.5}))
    logits = some_logits(4)
    for _ in range(4000):
        live(torch.tensor([1]), logits.clone())
    ids, scaled = candidates(logits, live.params)
    assert ids is not None

    for token, probability in zip(ids.tolist(), scaled.softmax(-1).tolist(), strict=True):
        assert live.chosen.count(token) / 4000 == pytest.approx(probability, abs=0.04)


def test_a_changed_value_acts_from_the_next_token() -> None:
    values = {"now": NEUTRAL.with_values({"temperature": 2.0})}
    live = sampler(lambda: values["now"])
    tokens_of(live, 5)
    values["now"] = NEUTRAL.with_values({"temperature": 0})
    tokens_of(live, 5)

    assert live.chosen[5:] == [int(some_logits(i).argmax()) for i in range(5)]


def test_logprobs_are_those_before_any_filter() -> None:
    live = sampler(SamplingParams(temperature=0, repetition_penalty=3.0, top_k=1))
    tokens_of(live, 10)

    expected = [float(some_logits(i).log_softmax(-1)[t]) for i, t in enumerate(live.chosen)]
    assert list(live.logprobs) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_padding_rows_and_other_control_tokens_are_never_sampled(temperature: float) -> None:
    stop, other = 1, 2
    forbidden = forbidden_ids(ROWS, frozenset(range(60)), frozenset({stop, other}), (stop, 99))
    live = sampler(NEUTRAL.with_values({"temperature": temperature}), forbidden=forbidden)
    for _ in range(500):
        logits = torch.zeros(ROWS)
        logits[[other, 60, 63]] = 5.0
        logits[stop] = 1.0
        live(torch.tensor([5]), logits)

    assert forbidden.nonzero().flatten().tolist() == [other, 60, 61, 62, 63]
    assert not set(live.chosen) & {other, 60, 61, 62, 63}
    assert stop in live.chosen


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_numbers_that_are_not_finite_are_an_error(bad: float, temperature: float) -> None:
    logits = some_logits(1)
    logits[7] = bad

    with pytest.raises(BadNumbersError):
        sampler(NEUTRAL.with_values({"temperature": temperature}))(torch.tensor([1]), logits)


def test_nothing_left_to_sample_is_an_error_too() -> None:
    everything = torch.ones(ROWS, dtype=torch.bool)
    for temperature in (0.0, 1.0):
        live = sampler(NEUTRAL.with_values({"temperature": temperature}), forbidden=everything)
        with pytest.raises(BadNumbersError):
            live(torch.tensor([1]), some_logits(1))
