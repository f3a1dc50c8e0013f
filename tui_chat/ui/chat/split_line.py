"""A one-line widget with a text at each end, used for the title line."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


class SplitLine(Widget):
    """One line with `left` and `right` at its ends, at least two cells apart.

    Where both do not fit, `right` is cut to half the width at most, and `left` to the rest.
    """

    ALLOW_SELECT = False
    left: reactive[Content] = reactive(Content(""))
    right: reactive[Content] = reactive(Content(""))

    def render(self) -> Content:
        """Return both texts, cut to the width of the line."""
        width = self.size.width
        right = self.right.truncate(max(0, width // 2), ellipsis=True)
        if self.left.cell_length + 2 + right.cell_length <= width:
            right = self.right.truncate(max(0, width - self.left.cell_length - 2), ellipsis=True)
        gap = 2 if right else 0
        left = self.left.truncate(max(0, width - right.cell_length - gap), ellipsis=True)
        space = max(0, width - left.cell_length - right.cell_length)
        return Content.assemble(left, " " * space, right)
