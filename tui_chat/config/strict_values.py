"""Strict reading of the tables that people write: which keys there are, and what a value may be.

Owns the checks of single values, their words, and the order in which mistakes are found. Nothing
is converted: "3" is no number, and 1 is no truth value. Refuses to know files; who reads one says
where a mistake stands. It is plain Python since settings, models and themes are read before the
first frame, when a validation library would take longer to import than everything else.
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
"""Returns the value if it is allowed; raises ValueError with what is wrong, in words."""


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a table."""

    kind: Literal["unknown", "missing", "wrong"]
    """A key that there is not, a key that has to be there, or a value that is not allowed."""
    keys: tuple[str, ...]
    """The way to it, through tables in tables; empty if the values do not go together."""
    value: Any
    message: str


class TableError(ValueError):
    """A table with mistakes, those of known keys first.

    Args:
        mistakes: At least one.
    """

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(mistakes[0].message)
        self.mistakes = mistakes


def checked_table(
    table: Any, checks: Mapping[str, Check], required: Collection[str] = ()
) -> dict[str, Any]:
    """The values of a table, if all of them are allowed.

    Args:
        table: What was read; no table is a mistake too.
        checks: The known keys, each with the check of its value.
        required: The keys that have to be there.

    Raises:
        TableError: With every mistake, in the order of `checks`; unknown keys come last.
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
    """A text.

    Args:
        least: Fewest characters.
        most: Most characters; None for any number.
        pattern: A regular expression for the whole of it.
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
    """A whole number between two others, both included."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("Input should be a valid integer")
        _check_bounds(value, least, most)
        return value

    return check


def fraction(value: Any) -> float:
    """A number from 0 to 1."""
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
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("Input should be a valid boolean")
    return value


def either(*words: str) -> Check:
    """One of a few words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError("Input should be " + " or ".join(repr(word) for word in words))
        return value

    return check


def table_of(each: Check) -> Check:
    """A table with any keys, whose values all pass one check."""

    def check(value: Any) -> dict[str, Any]:
        return checked_table(value, dict.fromkeys(value, each) if isinstance(value, dict) else {})

    return check


def one_of(what: str, known: tuple[str, ...]) -> Check:
    """One of the words that there are; the nearest one is part of the error."""

    def check(value: Any) -> str:
        name: str = text()(value)
        if name in known:
            return name
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(known)
        raise ValueError(f"there is no {what} {safe_line(name, 40)!r}, {hint}")

    return check
