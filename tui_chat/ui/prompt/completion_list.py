"""The list of slash commands over the prompt, shown while the user types one.

`slash` supplies the rows, and the prompt bar accepts the marked one.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.ui.plain_text import plain_line
from tui_chat.ui.prompt.slash import Completion

MOST_ROWS = 6
"""Rows shown at once; the list scrolls to keep the marked row in view."""
_MARKED = "$primary bold"


class CompletionList(Widget):
    """A few rows, one of them marked; hidden while there are no rows."""

    ALLOW_SELECT = False
    rows: reactive[Sequence[Completion]] = reactive((), layout=True)
    marked: reactive[int] = reactive(0)

    class Taken(Message):
        """Posted when a row is clicked."""

        def __init__(self, completion: Completion) -> None:
            super().__init__()
            self.completion = completion

    def watch_rows(self, rows: Sequence[Completion]) -> None:
        """Show the list if it has rows, and mark the first one."""
        self.set_class(bool(rows), "-open")
        self.marked = 0

    @property
    def is_open(self) -> bool:
        """Whether the list has any rows."""
        return bool(self.rows)

    @property
    def current(self) -> Completion | None:
        """The marked row; None if there are no rows."""
        return self.rows[self.marked] if self.rows else None

    def move(self, step: int) -> None:
        """Move the mark by some rows, and wrap around at the ends."""
        if self.rows:
            self.marked = (self.marked + step) % len(self.rows)

    @property
    def _first(self) -> int:
        return max(0, min(self.marked - MOST_ROWS // 2, len(self.rows) - MOST_ROWS))

    def render(self) -> Content:
        """Draw the rows around the marked one."""
        shown = self.rows[self._first : self._first + MOST_ROWS]
        wide = max((len(row.label) for row in self.rows), default=0)
        lines = []
        for index, row in enumerate(shown, self._first):
            is_marked = index == self.marked
            colour = _MARKED if is_marked else "$foreground"
            label = plain_line(row.label).pad_right(max(0, wide - len(row.label)))
            lines.append(
                Content.assemble(
                    ("› " if is_marked else "  ", _MARKED),
                    label.stylize(colour),
                    "  ",
                    plain_line(row.help).stylize("$text-muted"),
                )
            )
        return Content("\n").join(lines)

    def on_click(self, event: events.Click) -> None:
        """Post the row under the pointer as taken."""
        index = self._first + event.y
        if 0 <= index < len(self.rows):
            self.post_message(self.Taken(self.rows[index]))
