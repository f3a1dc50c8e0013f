"""Find search terms in a text, and cut the snippet that shows them best.

Words are split as the search index splits them: letters and digits form words, and case and accents
do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tui_chat.chat.query import Term

Range = tuple[int, int]
"""Start and end (exclusive), in characters."""
MOST_PLACES = 400
"""Largest number of matches considered in one text."""
_NEAR_PLACES = 60
_SPACE = re.compile(r"\s")
_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*|[\ue000-\uf8ff]+")


@dataclass(frozen=True, slots=True)
class Snippet:
    """An excerpt of a text, verbatim except for ellipses."""

    text: str
    """The excerpt, with `…` where it is cut."""
    ranges: tuple[Range, ...] = ()
    """The matches, as ranges in `text`."""


def folded(word: str) -> str:
    """Return a word in the form used for comparison: lower case, without accents."""
    lowered = word.lower()
    if lowered.isascii():
        return lowered
    parts = unicodedata.normalize("NFD", lowered)
    return "".join(c for c in parts if not unicodedata.combining(c))


def places(text: str, terms: Sequence[Term], most: int = MOST_PLACES) -> list[tuple[Range, int]]:
    """Return the matches of search terms in a text, in order.

    Args:
        text: Any text.
        terms: The terms to find.
        most: Number of matches after which the search stops.

    Returns:
        The range of each match with the index of its term.
    """
    wanted = [
        (index, [folded(m[0]) for m in _WORD.finditer(term.text)], term.is_prefix)
        for index, term in enumerate(terms)
    ]
    wanted = [(index, words, is_prefix) for index, words, is_prefix in wanted if words]
    longest = max((len(words) for _, words, _ in wanted), default=0)
    if not longest:
        return []
    found: list[tuple[Range, int]] = []
    recent: list[tuple[str, int, int]] = []
    for word, start, end in _words(text):
        recent = [*recent, (word, start, end)][-longest:]
        for index, words, is_prefix in wanted:
            last = recent[-len(words) :]
            if len(last) == len(words) and _fits([w for w, _, _ in last], words, is_prefix):
                found.append(((last[0][1], end), index))
        if len(found) >= most:
            break
    return found


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _WORD.finditer(text):
        yield folded(match[0]), match.start(), match.end()


def _fits(said: list[str], wanted: list[str], is_prefix: bool) -> bool:
    if is_prefix:
        return said[:-1] == wanted[:-1] and said[-1].startswith(wanted[-1])
    return said == wanted


def snippet(text: str, terms: Sequence[Term], width: int = 160) -> Snippet:
    """Return the excerpt of a text with the most different terms; its beginning if none occurs.

    Args:
        text: Any text.
        terms: The terms that were searched for.
        width: Approximate length in characters.
    """
    found = places(text, terms)
    if not found:
        cut = _word_end(text, width)
        return Snippet(text[:cut] + "…" * (cut < len(text)))
    # Ties go to the earliest match.
    begin = max(range(len(found)), key=lambda i: (_worth(found, i, width), -i))
    first = found[begin][0][0]
    last = max(
        end for (start, end), _ in found if start == first or first < start <= end <= first + width
    )
    lead = min(40, max(0, width - (last - first)) // 2)
    start = _word_start(text, first - lead)
    end = _word_end(text, max(last, start + width))
    opening = "…" * (start > 0)
    shift = len(opening) - start
    ranges = _merged([(s + shift, e + shift) for (s, e), _ in found if start <= s and e <= end])
    return Snippet(opening + text[start:end] + "…" * (end < len(text)), ranges)


def _worth(found: Sequence[tuple[Range, int]], begin: int, width: int) -> int:
    """Return how many different terms occur within `width` characters after a match."""
    first = found[begin][0][0]
    near = found[begin : begin + _NEAR_PLACES]
    return len({index for (_, end), index in near if end <= first + width})


def _word_start(text: str, at: int) -> int:
    """Return the start of the next word at or shortly after a position."""
    if at <= 0:
        return 0
    space = _SPACE.search(text, at, at + 30)
    return space.end() if space else at


def _word_end(text: str, at: int) -> int:
    """Return the end of the last word at or shortly before a position."""
    if at >= len(text):
        return len(text)
    for back in range(at, max(0, at - 30), -1):
        if text[back].isspace():
            return back
    return at


def _merged(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Return the ranges in order, with overlapping ones merged."""
    result: list[Range] = []
    for start, end in sorted(ranges):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return tuple(result)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A match in the messages of a chat."""

    message_id: str
    part: int
    """Index of the text within the message, from 0."""
    ordinal: int
    """Index of the match within that text, from 0."""


def pattern_of(text: str) -> re.Pattern[str] | None:
    """Return a pattern that finds a text regardless of case and of the white space between words.

    Returns:
        None if the text has no visible character.
    """
    words = text.split()
    if not words:
        return None
    return re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE)


def occurrences(
    messages: Iterable[tuple[str, Iterable[str]]], pattern: re.Pattern[str], most: int
) -> list[Occurrence]:
    """Return every match in some messages, in order.

    Args:
        messages: Ids and texts; no match spans two texts.
        pattern: The pattern to search for.
        most: Largest number of matches returned.
    """
    found: list[Occurrence] = []
    for message_id, texts in messages:
        for part, text in enumerate(texts):
            count = sum(1 for _ in pattern.finditer(text))
            found += [Occurrence(message_id, part, ordinal) for ordinal in range(count)]
        if len(found) >= most:
            return found[:most]
    return found
