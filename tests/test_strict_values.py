"""Tables are read strictly: what is wrong is said in words, and nothing is converted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.config.strict_values import (
    Check,
    TableError,
    checked_table,
    either,
    fraction,
    table_of,
    text,
    truth,
    whole,
)

CHECKS: dict[str, Check] = {
    "name": text(1, 5),
    "size": whole(1, 9),
    "share": fraction,
    "is_on": truth,
    "kind": either("a", "b"),
    "colours": table_of(text(pattern="^[a-z]+$")),
}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", 3, "Input should be a valid string"),
        ("name", "", "String should have at least 1 character"),
        ("name", "abcdef", "String should have at most 5 characters"),
        ("name", "\udc80", "unable to parse raw data"),
        ("size", True, "Input should be a valid integer"),
        ("size", 2.0, "Input should be a valid integer"),
        ("size", 0, "Input should be greater than or equal to 1"),
        ("size", 10**40, "Input should be less than or equal to 9"),
        ("share", "1", "Input should be a valid number"),
        ("share", float("nan"), "Input should be a finite number"),
        ("share", -0.1, "Input should be greater than or equal to 0"),
        ("is_on", 1, "Input should be a valid boolean"),
        ("kind", "c", "Input should be 'a' or 'b'"),
        ("kind", [], "Input should be 'a' or 'b'"),
        ("colours", [], "Input should be a valid dictionary"),
        ("colours", {"x": "A"}, "String should match pattern '^[a-z]+$'"),
        ("colours", {"x": "a\n"}, "String should match pattern '^[a-z]+$'"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_in_words(
    key: str, value: Any, message: str
) -> None:
    with pytest.raises(TableError) as caught:
        checked_table({key: value}, CHECKS)
    (mistake,) = caught.value.mistakes
    assert mistake.kind == "wrong" and mistake.keys[0] == key
    assert message in mistake.message


def test_every_mistake_is_found_and_unknown_keys_come_last() -> None:
    with pytest.raises(TableError) as caught:
        checked_table({"zz": 1, "kind": 2, "colours": {"x": 3}}, CHECKS, ("name", "kind"))
    assert [(mistake.kind, mistake.keys) for mistake in caught.value.mistakes] == [
        ("missing", ("name",)),
        ("wrong", ("kind",)),
        ("wrong", ("colours", "x")),
        ("unknown", ("zz",)),
    ]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.text("abc", min_size=1, max_size=5),
            "size": st.integers(1, 9),
            "share": st.floats(0, 1),
            "is_on": st.booleans(),
            "kind": st.sampled_from("ab"),
            "colours": st.dictionaries(st.text(), st.text("xyz", min_size=1)),
        },
    )
)
def test_what_is_allowed_stays_as_it_is(table: dict[str, Any]) -> None:
    assert checked_table(table, CHECKS) == table
