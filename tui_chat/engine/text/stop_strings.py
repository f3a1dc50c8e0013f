"""Finds stop strings, the literal texts that end a reply, while the reply is being written.

Text that may be the beginning of a stop string is held back until more text decides. Stop strings
are not patterns: each matches only itself.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Filter that passes text on piece by piece, up to the first stop string.

    The stop string that is complete first wins; of several, the longest. The result does not depend
    on how the text is divided into pieces. Text is held back only while it could become a stop
    string.

    Args:
        stops: The stop strings, none of them empty.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.stops = tuple(stops)
        """May be replaced at any time. The new strings then also apply to text held back."""
        self.found: str | None = None
        """The stop string that ended the text; None if there is none yet."""
        self._held = ""

    def feed(self, piece: str) -> str:
        """Add a piece of text, and return what may be shown now; nothing after a stop string."""
        if self.found is not None:
            return ""
        if not self.stops and not self._held:
            return piece
        text = self._held + piece
        hits = [(at + len(stop), at, stop) for stop in self.stops if (at := text.find(stop)) >= 0]
        if hits:
            # The smallest end is complete first, and of these the smallest start is the longest.
            _, at, self.found = min(hits)
            self._held = ""
            return text[:at]
        keep = max((_overlap(text, stop) for stop in self.stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return the text held back. Call it when no more text will come."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of the text that begins the stop string."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
