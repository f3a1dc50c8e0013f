"""Make untrusted text safe to show in a terminal, without changing what is stored.

Model output, titles, model names, file names, errors and imports can contain escape sequences,
bidirectional overrides and other invisible characters. Everything that is shown, printed to a
terminal, logged or copied passes through this module; stored text does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_INVISIBLE = (
    0x00AD,  # soft hyphen: some terminals give it a cell, some none
    *range(0x200B, 0x200D),  # zero-width space and non-joiner; the joiner (200D) makes emoji
    0x200E, 0x200F, 0x061C,  # direction marks
    *range(0x202A, 0x202F),  # embeddings and overrides
    *range(0x2060, 0x2070),  # word joiner, invisible operators, isolates
    0xFEFF, 0x180E, *range(0xFFF9, 0xFFFC),  # byte order mark, annotations
    0x3164, 0xFFA0,  # letters without a shape
    *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B),  # shorthand and musical controls
)  # fmt: skip
_TAGS = range(0xE0000, 0xE1000)
"""Tag characters, and variation selectors that can carry hidden bytes."""
_C0 = tuple(code for code in range(0x20) if code not in (0x09, 0x0A))
_C1 = range(0x80, 0xA0)
_SURROGATES = range(0xD800, 0xE000)
_SEPARATORS = (0x2028, 0x2029)
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class _Table(dict[int, str | None]):
    """Replacements by code point. The two long ranges are computed, as listing them is slow."""

    def __missing__(self, code: int) -> str | None:
        if code in _SURROGATES:
            return _UNKNOWN
        if code in _TAGS:
            return None
        raise KeyError(code)


_SHOWN = _Table(
    {
        **{code: chr(0x2400 + code) for code in _C0},
        0x7F: "␡",
        **dict.fromkeys(_C1, _UNKNOWN),
        **dict.fromkeys(_SEPARATORS, "\n"),
        **dict.fromkeys(_INVISIBLE),
    }
)
_DELETED = _Table(
    {
        **dict.fromkeys((*_C0, 0x7F, *_C1, *_INVISIBLE)),
        **dict.fromkeys(_SEPARATORS, "\n"),
    }
)


def _one_of(codes: Iterable[int], *ranges: range) -> str:
    """Return a regular expression that matches any one of the code points."""
    runs = [[run[0], run[-1]] for run in ranges]
    for code in sorted(codes):
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in runs) + "]"


_BAD = re.compile(_one_of(_SHOWN, _SURROGATES, _TAGS) + "+")
# Marks that stack on one character without taking a cell. Scripts that need marks need fewer
# than five in a row; joiners and emoji selectors count, or they could hide a longer stack.
_MARK = (
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u06d6-\u06dc\u0e31\u0e34-\u0e3a"
    "\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff\u200d\u20d0-\u20ff\ufe0e\ufe0f\ufe20-\ufe2f]"
)
_MANY_MARKS = re.compile(f"({_MARK}{{4}}){_MARK}+")


def safe_text(text: str) -> str:
    """Return the text with everything that could steer a terminal made visible or removed.

    Control characters become their Unicode pictures; C1 controls and lone surrogates become the
    replacement character. Bidirectional controls, zero-width characters and tag characters are
    removed, and so are combining marks after the fourth in a row. Newlines and tabs stay; CR LF and
    the Unicode line separators become a newline. Idempotent.
    """
    return _cleaned(text, _SHOWN)


def without_controls(text: str) -> str:
    """Return the text with everything that could steer a terminal removed.

    Use it for the clipboard, where the picture of a control character would be pasted as text.
    Newlines and tabs stay; CR LF and the Unicode line separators become a newline, and a lone
    surrogate becomes the replacement character. Idempotent.
    """
    return _cleaned(text, _DELETED)


def _cleaned(text: str, table: dict[int, str | None]) -> str:
    if text.isascii():
        if text.isprintable() or not _BAD.search(text):
            return text
        return text.replace("\r\n", "\n").translate(table)
    if _BAD.search(text):
        text = text.replace("\r\n", "\n")
        text = _BAD.sub(lambda match: match[0].translate(table), text)
    return _MANY_MARKS.sub(r"\1", text)


def safe_line(text: str, limit: int = 0) -> str:
    """Return `safe_text` on one line, with runs of white space as one space.

    Args:
        text: Any text.
        limit: Longest result in characters, with an ellipsis where it is cut; 0 for no limit.
    """
    line = " ".join(safe_text(text).split())
    return line[: limit - 1] + "…" if limit and len(line) > limit else line


def safe_line_parts(text: str, ranges: Iterable[tuple[int, int]]) -> list[str]:
    """Split a text at ranges and return `safe_line` of each part.

    The parts alternate: the text before the first range, the first range, the text up to the second
    range, and so on to the end. Each part is cleaned by itself, because cleaning changes lengths;
    joined together they make one line.

    Args:
        text: Any text.
        ranges: Start and end (exclusive) of each range in characters, in order, not overlapping.
    """
    parts: list[str] = []
    at = 0
    for start, end in ranges:
        parts += [text[at:start], text[start:end]]
        at = end
    return [_inner_line(part) for part in (*parts, text[at:])]


def _inner_line(part: str) -> str:
    """Return `safe_line` of a part, with a space at each end that has white space."""
    line = safe_line(part)
    if not line:
        return " " * bool(part)
    return " " * part[0].isspace() + line + " " * part[-1].isspace()


def storable(text: str) -> str:
    """Replace lone surrogates, which no encoding can write; leave everything else unchanged."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
