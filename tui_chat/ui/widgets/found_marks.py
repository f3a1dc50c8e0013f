"""The places in one message that match what is looked for, marked in what is on the screen.

Owns the marks alone: they are laid over texts that others have made, and taken off again. A text
that has changed meanwhile stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from textual.content import Content
from textual.visual import VisualType
from textual.widgets import Static

MATCH = "underline on $warning 30%"
CURRENT = "bold reverse"
"""Both with attributes, for terminals without colours."""


class FoundMarks:
    """Marks in the texts of one message."""

    def __init__(self) -> None:
        self._marked: dict[Static, tuple[VisualType, Content]] = {}

    @property
    def count(self) -> int:
        """Texts that have marks."""
        return len(self._marked)

    def clear(self) -> None:
        """Take all marks off."""
        for part, (before, marked) in self._marked.items():
            if part.is_attached and part.visual is marked:
                part.update(before, layout=False)
        self._marked.clear()

    def mark(
        self, parts: Iterable[Static], pattern: re.Pattern[str], current: int | None = None
    ) -> tuple[Static, int] | None:
        """Mark every match; marks from before are taken off.

        Args:
            parts: The texts of the message, in order.
            pattern: What is looked for.
            current: Which match is the one that the reader is at, from 0; None for none of them.

        Returns:
            The text that has the current match, and the character where that begins. While a reply
            grows it may show less than was searched: the last match stands for those after it.
        """
        self.clear()
        place: tuple[Static, int] | None = None
        ranges = [
            (part, visual, [m.span() for m in pattern.finditer(visual.plain)])
            for part in parts
            if isinstance(visual := part.visual, Content) and visual.plain
        ]
        total = sum(len(spans) for _, _, spans in ranges)
        wanted = None if current is None else min(current, total - 1)
        number = 0
        for part, visual, spans in ranges:
            marked = visual
            for start, end in spans:
                is_current = number == wanted
                marked = marked.stylize(CURRENT if is_current else MATCH, start, end)
                if is_current:
                    place = part, start
                number += 1
            if spans:
                self._marked[part] = visual, marked
                part.update(marked, layout=False)
        return place
