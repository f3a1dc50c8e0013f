"""Stop strings: literal texts that end a reply, found while the reply is being written.

Owns what may be shown already and what has to wait because it could be the beginning of a stop
string. Refuses patterns; a stop string means itself.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text on piece by piece, up to the first stop string.

    The stop string that is complete first counts, of several the longest, as if the text came
    character by character. Text is held back only while it could become a stop string.

    Args:
        stops: The literal stop strings, none of them empty.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.stops = tuple(stops)
        """May be replaced at any time; text held back is judged anew with the next piece."""
        self.found: str | None = None
        """The stop string that ended the text."""
        self._held = ""

    def feed(self, piece: str) -> str:
        """Add a piece and return what may be shown now; nothing after a stop string."""
        if self.found is not None:
            return ""
        if not self.stops and not self._held:
            return piece
        text = self._held + piece
        hits = [(at + len(stop), at, stop) for stop in self.stops if (at := text.find(stop)) >= 0]
        if hits:
            _, at, self.found = min(hits)
            self._held = ""
            return text[:at]
        keep = max((_overlap(text, stop) for stop in self.stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return what is still held back: no more text will come."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that is a beginning of the stop string."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
