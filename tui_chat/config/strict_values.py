"""Strict validation of tables read from TOML: known keys, required keys and allowed values.

Nothing is converted: "3" is not a number, and 1 is not a boolean. The checks know nothing of files;
the reader of a file adds the location of a mistake. They are plain Python because settings, models
and themes are read before the first frame, and importing a validation library would take longer
than everything else.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tui_chat.safe_text import safe_line

Check = Callable[[Any], Any]
"""Returns the value if it is allowed; raises ValueError with a message for the user."""


@dataclass(frozen=True)
class Mistake:
    """A single error in a table."""

    kind: Literal["unknown", "missing", "wrong"]
    """An unknown key, a missing required key, or a value that is not allowed."""
    keys: tuple[str, ...]
    """The path of keys to it, through nested tables; empty if the values do not go together."""
    value: Any
    message: str


class TableError(ValueError):
    """An error for a table with mistakes; those of known keys come first.

    Args:
        mistakes: At least one.
    """

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(mistakes[0].message)
        self.mistakes = mistakes


def checked_table(
    table: Any, checks: Mapping[str, Check], required: Collection[str] = ()
) -> dict[str, Any]:
    """Return the values of a table if all of them are allowed.

    Args:
        table: The value that was read.
        checks: The known keys, each with the check of its value.
        required: The keys that must be present.

    Raises:
        ValueError: If `table` is not a table.
        TableError: If there are mistakes, in the order of `checks`, unknown keys last.
    """
    if not isinstance(table, dict):
        raise ValueError("Input should be a valid dictionary")
    values: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for key, check in checks.items():
        if key in table:
            try:
                values[key] = check(table[key])
            except TableError as error:
                mistakes += [
                    Mistake(m.kind, (key, *m.keys), m.value, m.message) for m in error.mistakes
                ]
            except ValueError as error:
                mistakes.append(Mistake("wrong", (key,), table[key], str(error)))
        elif key in required:
            mistakes.append(Mistake("missing", (key,), table, "Field required"))
    mistakes += [
        Mistake("unknown", (key,), value, "Extra inputs are not permitted")
        for key, value in table.items()
        if key not in checks
    ]
    if mistakes:
        raise TableError(mistakes)
    return values


def text(least: int = 0, most: int | None = None, pattern: str = "") -> Check:
    """Return a check for a string.

    Args:
        least: Fewest characters.
        most: Most characters; None for no limit.
        pattern: A regular expression that must match the whole string; empty for none.
    """

    is_bounded = bool(least or most or pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("Input should be a valid string")
        if is_bounded and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(
                "Input should be a valid string, unable to parse raw data as a unicode string"
            )
        if len(value) < least:
            raise ValueError(f"String should have at least {_characters(least)}")
        if most is not None and len(value) > most:
            raise ValueError(f"String should have at most {_characters(most)}")
        if pattern and re.fullmatch(pattern, value) is None:
            raise ValueError(f"String should match pattern '{pattern}'")
        return value

    return check


def _characters(count: int) -> str:
    return f"{count} character{'' if count == 1 else 's'}"


def whole(least: int, most: int) -> Check:
    """Return a check for an integer between two bounds, both inclusive."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("Input should be a valid integer")
        _check_bounds(value, least, most)
        return value

    return check


def fraction(value: Any) -> float:
    """Check a number from 0 to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("Input should be a valid number")
    if not math.isfinite(value):
        raise ValueError("Input should be a finite number")
    _check_bounds(value, 0, 1)
    return float(value)


def _check_bounds(value: float, least: int, most: int) -> None:
    if value < least:
        raise ValueError(f"Input should be greater than or equal to {least}")
    if value > most:
        raise ValueError(f"Input should be less than or equal to {most}")


def truth(value: Any) -> bool:
    """Check a boolean."""
    if not isinstance(value, bool):
        raise ValueError("Input should be a valid boolean")
    return value


def either(*words: str) -> Check:
    """Return a check for one of a few words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError("Input should be " + " or ".join(repr(word) for word in words))
        return value

    return check


def table_of(each: Check) -> Check:
    """Return a check for a table with any keys, whose values all pass `each`."""

    def check(value: Any) -> dict[str, Any]:
        return checked_table(value, dict.fromkeys(value, each) if isinstance(value, dict) else {})

    return check


def one_of(what: str, known: tuple[str, ...]) -> Check:
    """Return a check for one of the known words; its error suggests the most similar one."""

    def check(value: Any) -> str:
        name: str = text()(value)
        if name in known:
            return name
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(known)
        raise ValueError(f"there is no {what} {safe_line(name, 40)!r}, {hint}")

    return check
