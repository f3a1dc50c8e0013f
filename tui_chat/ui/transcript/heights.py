"""Heights in rows of a vertical stack of items, most of which are estimates."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


class Heights:
    """The height of each item of a stack, and the row at which each begins.

    The height of an item is an estimate until the item comes near the screen and is measured. A
    lookup is a binary search; after a change, the next lookup sums the heights below it again.
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
        """Rows of all items."""
        return self.top(len(self._rows))

    def top(self, index: int) -> int:
        """Return the row at which an item begins; for `len(self)`, the row after the last item."""
        tops, rows = self._tops, self._rows
        while len(tops) <= index:
            tops.append(tops[-1] + rows[len(tops) - 1])
        return tops[index]

    def at(self, row: int) -> tuple[int, int]:
        """Return the item at a row and the row within it; rows outside count as the nearest one."""
        row = max(0, min(row, self.total - 1))
        # `bisect_right` skips items of height 0, which begin where the next item does.
        index = max(0, bisect_right(self._tops, row, 0, len(self._rows)) - 1)
        return index, row - self._tops[index]

    def is_measured(self, index: int) -> bool:
        """Return whether the height of an item is exact."""
        return bool(self._is_measured[index])

    def measure(self, index: int, rows: int) -> bool:
        """Set the exact height of an item; return whether it differs from the old one."""
        self._is_measured[index] = 1
        if self._rows[index] == rows:
            return False
        self._rows[index] = rows
        del self._tops[index + 1 :]
        return True

    def estimate_from(self, index: int, rows: Sequence[int]) -> None:
        """Replace all items from an index on by new ones with estimated heights."""
        self._rows[index:] = rows
        self._is_measured[index:] = bytes(len(rows))
        del self._tops[index + 1 :]
