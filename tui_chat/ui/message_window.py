"""Which part of a long path is mounted: a window that moves in pages.

Pure arithmetic on indices. A path may have ten thousand messages; widgets are made for a few.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

NEWEST = 20
"""Messages mounted at the end of a path,"""
PAGE = 8
"""mounted at a time while scrolling,"""
MOST = 40
"""and kept mounted at most."""


@dataclass(frozen=True, slots=True)
class MessageWindow:
    """The messages `first` up to but not including `last`, of `total`."""

    first: int = 0
    last: int = 0
    total: int = 0

    @property
    def is_at_start(self) -> bool:
        """Whether there is nothing earlier."""
        return self.first == 0

    @property
    def is_at_end(self) -> bool:
        """Whether there is nothing later."""
        return self.last == self.total

    def newest(self, size: int = NEWEST) -> MessageWindow:
        """The end of the path."""
        return replace(self, first=max(0, self.total - size), last=self.total)

    def oldest(self) -> MessageWindow:
        """The beginning of the path."""
        return replace(self, first=0, last=min(NEWEST, self.total))

    def earlier(self) -> MessageWindow:
        """One page up; what is far below is let go."""
        first = max(0, self.first - PAGE)
        return replace(self, first=first, last=min(self.last, first + MOST))

    def later(self) -> MessageWindow:
        """One page down; what is far above is let go."""
        last = min(self.total, self.last + PAGE)
        return replace(self, first=max(self.first, last - MOST), last=last)

    def moved_to(self, total: int) -> MessageWindow:
        """The window after the path has changed its length; it stays at the end if it was there."""
        if self.is_at_end or self.last > total:
            first = min(self.first, max(0, total - NEWEST))
            return MessageWindow(max(first, total - MOST), total, total)
        return replace(self, total=total)

    def holding(self, index: int) -> MessageWindow:
        """A window that has a message in it: this one if it does."""
        if self.first <= index < self.last:
            return self
        first = max(0, min(index - NEWEST // 2, self.total - NEWEST))
        return replace(self, first=first, last=min(self.total, first + NEWEST))
