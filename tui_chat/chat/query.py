"""Parse what the user types to search saved chats into terms and filters.

The syntax has words, `"phrases"`, `begin*`, and filters such as `model:NAME`. Any input results in
a query that the index accepts or in one `UsageError`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from typing import Any, Literal, get_args

from tui_chat.errors import UsageError
from tui_chat.safe_text import safe_line, storable

Rating = Literal["up", "down", "any"]
FILTERS = ("model", "role", "before", "after", "rated", "tag", "is")
"""The names that can precede a colon."""
LONGEST = 1000
"""Longest query, in characters."""
MOST_TERMS = 64
"""Most words and phrases of a query."""
_ROLES = ("user", "assistant")
_HINT = "Known filters: " + ", ".join(f"{name}:" for name in FILTERS)
_PART = re.compile(
    r"""(?P<name>[A-Za-z]+):(?:"(?P<quoted>[^"]*)"?|(?P<value>[^\s"]+))  # a filter
    |"(?P<phrase>[^"]*)"?
    |(?P<word>[^\s"]+)""",
    re.VERBOSE,
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Term:
    """A word, or a phrase of adjacent words."""

    text: str
    """The text as typed, without quotes."""
    is_prefix: bool = False
    """Whether the last word may continue with more letters."""


@dataclass(frozen=True, slots=True)
class Query:
    """The conditions that a message must all meet to be found."""

    terms: tuple[Term, ...] = ()
    model: str = ""
    """A part of the model's name."""
    role: Literal["user", "assistant", ""] = ""
    before: date | None = None
    """Only messages from before this day."""
    after: date | None = None
    """Only messages from this day on."""
    rated: Rating | None = None
    tags: tuple[str, ...] = ()
    """Tags that the chat must all have."""
    archived: bool | None = None
    """True for archived chats only, False for the others only, None for both."""

    def __bool__(self) -> bool:
        """Return whether there is any condition."""
        return self != _NOTHING

    @property
    def match(self) -> str:
        """The terms as an FTS5 expression; empty if there are none.

        Every term is a quoted string. A space joins them as the implicit AND, which ignores strings
        without a token.
        """
        return " ".join(
            '"{}"{}'.format(term.text.replace('"', '""'), "*" * term.is_prefix)
            for term in self.terms
        )


_NOTHING = Query()


def parse_query(text: str, is_typing: bool = False) -> Query:
    """Parse a query.

    Args:
        text: The text as typed.
        is_typing: Whether the user may still be typing the last word; it is a prefix then, unless
            white space or a quote follows it.

    Raises:
        UsageError: For an unknown filter, an invalid value, or a query that is too long.
    """
    text = storable(text).replace("\0", " ")
    if len(text) > LONGEST:
        raise UsageError(
            "The search is too long",
            f"It has {len(text)} characters, and {LONGEST} are the most",
            "Take a few words of it",
        )
    query, terms = Query(), []
    for part in _PART.finditer(text):
        name = part["name"]
        if name is not None:
            value = part["quoted"] if part["value"] is None else part["value"]
            query = _with_filter(query, name.lower(), value.strip())
        elif part["phrase"] is not None:
            terms.append(Term(part["phrase"]))
        elif part["word"][:-1].lower() in FILTERS and part["word"].endswith(":"):
            raise _no_value(part["word"][:-1].lower())
        else:
            is_last = is_typing and part.end() == len(text)
            is_prefix = is_last or part["word"].endswith("*")
            terms.append(Term(part["word"].rstrip("*"), is_prefix))
    terms = [term for term in terms if _has_token(term.text)]
    if len(terms) > MOST_TERMS:
        raise UsageError(
            "The search has too many words",
            f"It has {len(terms)}, and {MOST_TERMS} are the most",
            "Take a few of them",
        )
    return replace(query, terms=tuple(terms))


def _has_token(text: str) -> bool:
    """Return whether the index would find a token: a letter, a digit or a private-use character."""
    return any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "Co" for c in text)


def _with_filter(query: Query, name: str, value: str) -> Query:
    """Return the query with one more filter."""
    if name not in FILTERS:
        near = get_close_matches(name, FILTERS, n=1)
        raise UsageError(
            f"There is no filter {safe_line(name, 40)!r}",
            f"Did you mean {near[0]}:?" if near else "",
            f"{_HINT}. In quotes it is searched for as it stands",
        )
    if not value:
        raise _no_value(name)
    if name == "tag":
        return replace(query, tags=(*query.tags, value))
    field, read = _READERS[name]
    if getattr(query, field) != getattr(_NOTHING, field):
        raise UsageError(f"The filter {name}: is there twice", "", "Leave one of them")
    return replace(query, **{field: read(name, value)})


def _no_value(name: str) -> UsageError:
    return UsageError(f"The filter {name}: has no value", "", f"Write {_EXAMPLES[name]}")


def _text(_: str, value: str) -> str:
    return value


def _one_of(*known: str) -> Callable[[str, str], str]:
    def read(name: str, value: str) -> str:
        if value.lower() not in known:
            raise UsageError(
                f"The filter {name}: cannot be {safe_line(value, 40)!r}",
                "",
                f"Write {_EXAMPLES[name]}",
            )
        return value.lower()

    return read


def _archived(name: str, value: str) -> bool:
    return _one_of("archived", "active")(name, value) == "archived"


def _day(name: str, value: str) -> date:
    try:
        if _DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise UsageError(
        f"The filter {name}: needs a day, and {safe_line(value, 40)!r} is none",
        "",
        f"Write {_EXAMPLES[name]}",
    )


_READERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "model": ("model", _text),
    "role": ("role", _one_of(*_ROLES)),
    "before": ("before", _day),
    "after": ("after", _day),
    "rated": ("rated", _one_of(*get_args(Rating))),
    "is": ("archived", _archived),
}
_EXAMPLES = {
    "model": "a part of a model's name, as model:guide",
    "role": "role:user or role:assistant",
    "before": "a day as before:2026-03-31",
    "after": "a day as after:2026-03-01",
    "rated": "rated:up, rated:down or rated:any",
    "tag": "a tag, as tag:work",
    "is": "is:archived or is:active",
}
