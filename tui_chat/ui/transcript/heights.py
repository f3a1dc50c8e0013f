"""Rows of things that stand one below the other, most of which nobody has measured yet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


class Heights:
    """How many rows each of many things takes, and where each begins.

    A thing is estimated until it comes near the screen, and then measured. Looking up costs
    a binary search; changing one costs a sum over what is below it, with the next look-up.
    """

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._is_measured = bytearray()
        self._tops = [0]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> int:
        return self._rows[index]

    @property
    def total(self) -> int:
        """Rows of all of them."""
        return self.top(len(self._rows))

    def top(self, index: int) -> int:
        """The row at which one of them begins; with their number, the row after the last."""
        tops, rows = self._tops, self._rows
        while len(tops) <= index:
            tops.append(tops[-1] + rows[len(tops) - 1])
        return tops[index]

    def at(self, row: int) -> tuple[int, int]:
        """Which of them a row belongs to, and which row of it that is; the nearest if none."""
        row = max(0, min(row, self.total - 1))
        # those without rows begin where the next one does
        index = max(0, bisect_right(self._tops, row, 0, len(self._rows)) - 1)
        return index, row - self._tops[index]

    def is_measured(self, index: int) -> bool:
        """Whether one of them is known exactly."""
        return bool(self._is_measured[index])

    def measure(self, index: int, rows: int) -> bool:
        """Take how many rows one of them really takes; whether that is news."""
        self._is_measured[index] = 1
        if self._rows[index] == rows:
            return False
        self._rows[index] = rows
        del self._tops[index + 1 :]
        return True

    def estimate_from(self, index: int, rows: Sequence[int]) -> None:
        """Replace all from an index on by others that are not measured."""
        self._rows[index:] = rows
        self._is_measured[index:] = bytes(len(rows))
        del self._tops[index + 1 :]
