"""A scrolling view of many lines of text, and helpers that make aligned lines.

The view draws only the lines in view, so a long list costs no more than a short one. Lines are
`Content`; markup is never parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual

from tui_chat.safe_text import safe_line

Layout = Callable[[int], Sequence[Content]]
"""Returns the lines for a width in cells, each at most that wide."""


def fitted(text: str, width: int, align: Literal["left", "right"] = "left") -> str:
    """Return a string on one line of exactly `width` cells, cut with an ellipsis or padded.

    Args:
        text: Any string; characters that could steer the terminal are made harmless.
        width: Cells, 0 or more. Wide characters count as two.
        align: The side of the cells on which the text stands.
    """
    if width <= 0:
        return ""
    line = safe_line(text)
    if cell_len(line) > width:
        line = set_cell_size(line, width - 1).rstrip() + "…"
    padding = " " * (width - cell_len(line))
    return padding + line if align == "right" else line + padding


def wrapped(text: str, width: int) -> list[str]:
    """Return a string as lines of at most `width` cells, broken between words if possible."""
    if not text:
        return []
    return [line.plain.rstrip() for line in Content(text).wrap(max(2, width))]


class LineView(ScrollView, can_focus=True):
    """Lines of content with a scrollbar.

    Args:
        layout: Returns the lines; called again when the width changes.
        follow: Whether a view that is at the end stays there when the lines change.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown,space", "page_down", "Page down", show=False),
        Binding("home,g", "scroll_home", "Start", show=False),
        Binding("end,G", "scroll_end", "End", show=False),
    ]

    def __init__(
        self,
        layout: Layout = lambda width: (),
        *,
        follow: bool = False,
        id: str | None = None,  # noqa: A002 - the name Textual uses
    ) -> None:
        super().__init__(id=id)
        self._make_lines = layout
        self._lines: Sequence[Content] = ()
        self._follow = follow
        self._made_for = -1

    @property
    def lines(self) -> Sequence[Content]:
        """The lines as laid out now."""
        return self._lines

    def show_lines(self, layout: Layout) -> None:
        """Show other lines, from the start, or at the end if the view follows it."""
        at_end = self._follow and self._is_at_end
        self._make_lines = layout
        self._lay_out()
        if at_end:
            self._go_to_end()
        elif not self._follow:
            self.scroll_home(animate=False)

    @property
    def _is_at_end(self) -> bool:
        return self.scroll_offset.y >= self.max_scroll_y

    def _go_to_end(self) -> None:
        self.call_after_refresh(self.scroll_end, animate=False, force=True, immediate=True)

    def on_resize(self, event: events.Resize) -> None:
        """Lay out the lines for the new width."""
        if self.scrollable_content_region.width != self._made_for:
            at_end = self._follow and self._is_at_end
            self._lay_out()
            if at_end:
                self._go_to_end()

    def watch_show_vertical_scrollbar(self, is_shown: bool) -> None:
        """Set the position of a scrollbar that appears after the view has scrolled."""
        if is_shown:
            self.vertical_scrollbar.position = self.scroll_y

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            return
        self._made_for = width
        self._lines = self._make_lines(width)
        self.virtual_size = Size(width, len(self._lines))
        self.refresh(layout=True)

    def render_line(self, y: int) -> Strip:
        """Draw one line of those in view."""
        index = self.scroll_offset.y + y
        line = self._lines[index] if index < len(self._lines) else Content("")
        return self.render_content(line, self.visual_style)

    def render_content(self, line: Content, style: Style) -> Strip:
        """Draw a line of content as wide as the view."""
        width = self.scrollable_content_region.width
        strips = Visual.to_strips(
            self, line.truncate(width), width, 1, style, apply_selection=False, pad=True
        )
        return strips[0] if strips else Strip.blank(width, style.rich_style)
