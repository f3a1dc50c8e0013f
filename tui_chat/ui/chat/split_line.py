"""A line with something at each end, the left part giving way; the title line is one.

Owns the fitting alone.
"""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


class SplitLine(Widget):
    """One line: `left` and `right`, at least two cells apart."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    SplitLine { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: clip; }
    """

    left: reactive[Content] = reactive(Content(""))
    right: reactive[Content] = reactive(Content(""))

    def render(self) -> Content:
        """Both parts, each cut where there is no room for it."""
        width = self.size.width
        right = self.right.truncate(max(0, width // 2), ellipsis=True)
        if self.left.cell_length + 2 + right.cell_length <= width:
            right = self.right.truncate(max(0, width - self.left.cell_length - 2), ellipsis=True)
        gap = 2 if right else 0
        left = self.left.truncate(max(0, width - right.cell_length - gap), ellipsis=True)
        space = max(0, width - left.cell_length - right.cell_length)
        return Content.assemble(left, " " * space, right)
