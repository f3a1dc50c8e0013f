"""Parameters: ranges, parsing, stepping and presets, as users meet them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.chat.params import (
    BUILTIN_PRESETS,
    PARAM_SPECS,
    SPECS,
    Preset,
    SamplingParams,
    find_spec,
    parse_assignment,
)
from tui_chat.errors import ParameterError

RANGES = {
    "temperature": (0, 2),
    "top_k": (0, 1000),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "repetition_penalty": (0.5, 3),
}


@pytest.mark.parametrize(("name", "bounds"), RANGES.items())
def test_both_ends_are_allowed_and_beyond_is_refused(name: str, bounds: tuple[float, float]):
    low, high = bounds
    for value in bounds:
        assert getattr(SamplingParams(**{name: value}), name) == value
    for value in (low - 0.5, high + 0.5, float("nan"), float("inf"), "x", None, True):
        with pytest.raises(ParameterError) as caught:
            SamplingParams(**{name: value})
        assert name in caught.value.one_line


def test_an_error_names_the_field_the_value_and_the_range():
    with pytest.raises(ParameterError) as caught:
        parse_assignment("temperature=3")
    line = caught.value.one_line
    assert "temperature" in line and "3.0" in line and "0.00 to 2.00" in line


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("temperature=0.7", "temperature", 0.7),
        ("k=40", "top_k", 40),
        ("output_length=64", "max_new_tokens", 64),
        ("top-p = 0.5", "top_p", 0.5),
        ("top_k=off", "top_k", 0),
        ("top_p=off", "top_p", 1.0),
        ("seed=random", "seed", None),
        ("seed=18446744073709551615", "seed", 2**64 - 1),
        ("stop=\n\nHuman", "stop", ("\n\nHuman",)),
        ("stop=none", "stop", ()),
        ("top_p=.9", "top_p", 0.9),
    ],
)
def test_assignments_as_typed(text: str, name: str, value: object):
    assert parse_assignment(text) == (name, value)


@pytest.mark.parametrize(
    "text", ["temperature", "=1", "temprature=1", "top_k=1.5", "seed=-1", "max_new_tokens=0"]
)
def test_wrong_assignments_say_what_to_do(text: str):
    with pytest.raises(ParameterError) as caught:
        parse_assignment(text)
    assert caught.value.hint


def test_a_misspelt_name_suggests_the_nearest():
    with pytest.raises(ParameterError) as caught:
        find_spec("temprature")
    assert "temperature" in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("temp", "temperature"),
        ("Temp", "temperature"),
        ("rep", "repetition_penalty"),
        ("top", "top_k or top_p"),
        ("penalty", "repetition_penalty"),
        ("max-new", "max_new_tokens"),
        ("outputlength", "output_length"),
    ],
)
def test_a_part_of_a_name_suggests_the_whole(typed: str, meant: str):
    with pytest.raises(ParameterError) as caught:
        find_spec(typed)
    assert caught.value.hint == f"Did you mean {meant}?"


@pytest.mark.parametrize("typed", ["", "x", "t", "colour"])
def test_a_name_near_to_nothing_lists_what_there_is(typed: str):
    with pytest.raises(ParameterError, match="Known: temperature, "):
        find_spec(typed)


@given(st.integers(1, 4096), st.integers(1, 8192))
def test_no_reply_is_longer_than_the_context(context: int, asked: int):
    spec = SPECS["max_new_tokens"].within(context)
    assert SamplingParams(max_new_tokens=asked).within(context).max_new_tokens == min(
        asked, context
    )
    if asked <= context:
        assert spec.check(asked) == asked
    else:
        with pytest.raises(ParameterError, match=f"more than the context.*1 to {context}"):
            spec.check(asked)
    assert SPECS["top_k"].within(context) is SPECS["top_k"]


def test_an_own_preset_has_to_fit_and_a_shipped_one_gives_way():
    BUILTIN_PRESETS["k50"].check_within(100)
    Preset("mine", {"temperature": 0.2}).check_within(100)
    for preset in (Preset("mine", {"output_length": 900}), Preset("k50", {"max_new_tokens": 900})):
        preset.check_within(900)
        with pytest.raises(ParameterError, match=f"'{preset.name}' does not fit.*1 to 899"):
            preset.check_within(899)


@given(st.sampled_from([s for s in PARAM_SPECS if s.kind in ("float", "int")]), st.data())
def test_steps_stay_in_range_and_format_parses_back(spec, data):
    value = spec.default
    for direction, big in data.draw(
        st.lists(st.tuples(st.sampled_from([-1, 1]), st.booleans()), max_size=40)
    ):
        value = spec.stepped(value, direction, big)
        assert spec.minimum <= value <= spec.maximum
    assert abs(spec.parse(spec.format(value)) - value) < 0.006
    assert spec.parse(spec.display(value)) == pytest.approx(value, abs=0.006)


def test_presets_have_the_published_values():
    k50 = BUILTIN_PRESETS["k50"].params()
    assert (k50.top_k, k50.top_p, k50.temperature, k50.repetition_penalty) == (50, 0.95, 0.75, 1.2)
    nucleus = BUILTIN_PRESETS["nucleus9"].params()
    assert (nucleus.top_k, nucleus.top_p, nucleus.temperature) == (0, 0.9, 0.8)
    petals = BUILTIN_PRESETS["petals"].params()
    assert (petals.temperature, petals.top_p, petals.repetition_penalty) == (0.75, 0.9, 1.0)
    assert BUILTIN_PRESETS["greedy"].params().is_greedy
    assert {"k50-creative", "k50-precise", "k50-original", "typical2", "typical3"} <= set(
        BUILTIN_PRESETS
    )


def test_every_parameter_has_help_and_a_valid_default():
    for spec in PARAM_SPECS:
        assert spec.check(spec.default) == spec.default
        assert spec.help.endswith(".")
    assert set(SPECS) == set(SamplingParams().to_dict())
