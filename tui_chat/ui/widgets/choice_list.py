"""A list in which the user chooses one row with keys, with the mouse, or from an input above it.

It draws only the rows in view, so thousands of rows cost no more than ten. The owner of the list
says how to draw a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from tui_chat.ui.widgets.line_view import LineView

R = TypeVar("R")

GUTTER = 2
"""Cells to the left of each row, for the mark of the highlighted one."""


class ChoiceList(LineView, Generic[R], inherit_bindings=False):
    """Rows of one line each. The screen handles Enter and calls `choose`.

    Args:
        draw: Draws a row for a width in cells.
        rows: The first rows.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "move_page(-1)", "Page up", show=False),
        Binding("pagedown", "move_page(1)", "Page down", show=False),
        Binding("home", "move_to(0)", "First", show=False),
        Binding("end", "move_to(-1)", "Last", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "choice-list--mark",
        "choice-list--highlighted",
        "choice-list--hover",
    }
    highlighted: reactive[int] = reactive(-1)
    """Index of the highlighted row; -1 for none."""
    hovered: reactive[int] = reactive(-1)
    """Index of the row under the mouse; -1 for none."""

    class ListMessage(Message):
        """Base of the messages about a row."""

        def __init__(self, choice_list: ChoiceList[Any], index: int) -> None:
            super().__init__()
            self.choice_list = choice_list
            self.index = index

        @property
        def control(self) -> ChoiceList[Any]:
            """The list."""
            return self.choice_list

    class Moved(ListMessage):
        """Posted when another row is highlighted, or none."""

    class Chosen(ListMessage):
        """Posted when the highlighted row is chosen."""

    def __init__(
        self,
        draw: Callable[[R, int], Content],
        rows: Sequence[R] = (),
        *,
        id: str | None = None,  # noqa: A002 - the name Textual uses
    ) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._rows: Sequence[R] = rows
        self.set_reactive(ChoiceList.highlighted, 0 if rows else -1)

    @property
    def rows(self) -> Sequence[R]:
        """The rows, in order."""
        return self._rows

    @property
    def row(self) -> R | None:
        """The highlighted row; None for none."""
        return self._rows[self.highlighted] if 0 <= self.highlighted < len(self._rows) else None

    def show_rows(self, rows: Sequence[R], highlighted: int = 0) -> None:
        """Show other rows, and post `Moved` even if the highlighted index stays the same."""
        self._rows = rows
        self.hovered = -1
        index = min(max(highlighted, 0), len(rows) - 1)
        self.set_reactive(ChoiceList.highlighted, index)
        self._lay_out()
        self.call_after_refresh(self._scroll_to_highlighted)
        self.post_message(self.Moved(self, index))

    def redraw(self) -> None:
        """Draw the rows again after a change to what they show."""
        self.refresh()

    def choose(self) -> None:
        """Choose the highlighted row, as Enter does."""
        if self.row is not None:
            self.post_message(self.Chosen(self, self.highlighted))

    # Moving ---------------------------------------------------------------------------------------

    def validate_highlighted(self, index: int) -> int:
        """Clamp the index to the rows."""
        return min(max(index, 0), len(self._rows) - 1)

    def watch_highlighted(self, old: int, new: int) -> None:
        """Show the newly highlighted row, and post `Moved`."""
        if old != new:
            self.refresh()
            self._scroll_to_highlighted()
            self.post_message(self.Moved(self, new))

    def watch_hovered(self, old: int, new: int) -> None:
        """Show the row under the mouse."""
        if old != new:
            self.refresh()

    def action_move(self, step: int) -> None:
        """Highlight the next row (1) or the previous one (-1)."""
        self.highlighted += step

    def action_move_page(self, step: int) -> None:
        """Highlight the row one page down (1) or up (-1)."""
        self.highlighted += step * max(1, self.scrollable_content_region.height - 1)

    def action_move_to(self, index: int) -> None:
        """Highlight the first row (0) or the last (-1)."""
        self.highlighted = index if index >= 0 else len(self._rows) + index

    def _scroll_to_highlighted(self) -> None:
        if self.highlighted >= 0:
            region = Region(0, self.highlighted, 1, 1)
            self.scroll_to_region(region, animate=False, force=True, immediate=True)

    # Mouse ----------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Highlight the row under the mouse, or choose it if it is highlighted already."""
        index = self._row_at(event)
        if index < 0:
            return
        event.stop()
        if index == self.highlighted:
            self.choose()
        else:
            self.highlighted = index

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Highlight the row under the mouse more faintly, as the one that a click acts on."""
        self.hovered = self._row_at(event)

    def on_leave(self) -> None:
        """Remove the mark of the hovered row."""
        self.hovered = -1

    def _row_at(self, event: events.MouseEvent) -> int:
        offset = event.get_content_offset(self)
        if offset is None:
            return -1
        index = offset.y + self.scroll_offset.y
        return index if index < len(self._rows) else -1

    # Drawing --------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        self._made_for = width
        self.virtual_size = Size(width, len(self._rows))
        self.refresh(layout=True)

    def on_mount(self) -> None:
        """Lay out the first rows."""
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        """Draw one row of those in view."""
        index = self.scroll_offset.y + y
        if index >= len(self._rows):
            return self.render_content(Content(""), self.visual_style)
        style = self.visual_style
        if index == self.highlighted:
            style = self.get_visual_style("choice-list--highlighted")
        elif index == self.hovered:
            style = self.get_visual_style("choice-list--hover")
        width = self.scrollable_content_region.width - GUTTER - 1
        mark = self.get_visual_style("choice-list--mark", partial=True)
        gutter = Content.styled("› ", mark) if index == self.highlighted else Content(" " * GUTTER)
        drawn = self._draw(self._rows[index], width) if width > 0 else Content("")
        return self.render_content(Content.assemble(gutter, drawn), style)
