"""A scrolling container in which nothing moves by itself.

Owns the reader's place alone. At the end it follows the end; anywhere else the child at the top of
the window stays where it is, whatever is mounted, removed or laid out anew above it. Textual's
anchor does the first of the two, but pushes short texts down to the end.
"""

from __future__ import annotations

from typing import Any

from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.layout import DockArrangeResult
from textual.scrollbar import ScrollBar
from textual.widget import Widget

from tui_chat.ui.widgets.foldable import Foldable
from tui_chat.ui.widgets.laid_out_once import LaidOutOnce


class SteadyScroll(LaidOutOnce, VerticalScroll):
    """Follows the end until the reader scrolls away from it."""

    _arranged: DockArrangeResult | None = None
    _most = 0
    """The furthest place of the last layout."""
    _wants_end = True
    _held: tuple[Widget, int] | None = None
    """A child and which of its lines is to stay at the top, until the reader scrolls."""

    @property
    def is_following(self) -> bool:
        """Whether the end stays in view as it grows."""
        is_at_end = self._held is None and round(self.scroll_y) >= self._most
        return self._wants_end or is_at_end

    def hold(self, child: Widget, line: int) -> None:
        """Have a line of a child at the top from the next layout on, until the reader scrolls."""
        self._wants_end, self._held = False, (child, line)
        self.refresh(layout=True)

    def go_to_end(self) -> None:
        """Go to the end, and follow it from the next layout on."""
        self._wants_end, self._held = True, None
        self.scroll_end(animate=False, immediate=True)
        self.refresh(layout=True)

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """Scroll at once, and without animation.

        A row is a place in the layout of this moment. By the next refresh something may have been
        mounted above, and another text would stand there.
        """
        self._held = None
        super().scroll_to(x, y, **(options | {"animate": False, "immediate": True}))

    def release_anchor(self) -> None:
        """Stay where the reader scrolls to; Textual calls this with every such step."""
        self._wants_end, self._held = False, None
        super().release_anchor()

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """Lay out the children; here the new places are known and nothing is drawn yet."""
        result = super().arrange(size, optimal)
        most = max(0, result.total_region.bottom - size.height)
        if not optimal and (result is not self._arranged or most != self._most):
            held = self._held_place(result)
            if held is not None:
                self._jump(min(most, held))
            elif self.is_following:
                self._jump(most)
            elif self._arranged is not None:
                self._jump(min(most, self._kept_place(self._arranged, result)))
            self._arranged, self._most = result, most
        if not optimal:
            self._fold_far(result, size.height)
        return result

    def _fold_far(self, result: DockArrangeResult, height: int) -> None:
        """Leave out of the layout what is more than a window away."""
        top = round(self.scroll_y) - height
        for placement in result.placements:
            if isinstance(placement.widget, Foldable):
                first = top - placement.region.y
                placement.widget.see(first, first + 3 * height)

    def _scroll_update(self, virtual_size: Size) -> None:
        """Bring the scrollbar up to date, in the frame that is about to be painted.

        By itself it asks for another frame, as if each layout were two.
        """
        super()._scroll_update(virtual_size)
        if self.show_vertical_scrollbar:
            self.screen._compositor.update_widgets({self.vertical_scrollbar})

    def _held_place(self, after: DockArrangeResult) -> int | None:
        """Where to scroll to so that the held line is at the top; None where none is held."""
        if self._held is None:
            return None
        child, line = self._held
        for placement in after.placements:
            if placement.widget is child:
                return placement.region.y + max(0, min(line, placement.region.height - 1))
        return None

    def _kept_place(self, before: DockArrangeResult, after: DockArrangeResult) -> int:
        """Where to scroll to so that the first child in view stays where it is."""
        places = {placement.widget: placement.region for placement in after.placements}
        top = round(self.scroll_y)
        for placement in before.placements:
            if placement.region.bottom > top and placement.widget in places:
                return top + places[placement.widget].y - placement.region.y
        return top

    def _jump(self, scroll_y: int) -> None:
        """Set the position as the compositor does for an anchor, in the middle of a layout."""
        place = float(max(0, scroll_y))
        if place != self.scroll_y:
            self.set_reactive(Widget.scroll_y, place)
            self.set_reactive(Widget.scroll_target_y, place)
            self.vertical_scrollbar.set_reactive(ScrollBar.position, place)
