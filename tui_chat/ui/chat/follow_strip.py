"""The strip at the bottom of the transcript that counts the new lines below the visible part.

The widget only shows the count; the chat screen scrolls when the user clicks it.
"""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.ui.widgets.numbers import grouped


class FollowStrip(Widget):
    """A line such as `↓ 34 new lines   End`; hidden while there are none."""

    ALLOW_SELECT = False
    lines: reactive[int] = reactive(0)
    """Number of new lines below the visible part."""

    class Pressed(Message):
        """Posted when the user clicks the strip."""

    def watch_lines(self, lines: int) -> None:
        """Show the strip while there are new lines."""
        self.set_class(lines > 0, "-shown")

    def render(self) -> Content:
        """Return the number of lines, and the key that scrolls to the end."""
        return Content(f"↓ {grouped(self.lines)} new line{'s' if self.lines != 1 else ''}   End")

    def on_click(self, event: events.Click) -> None:
        """Post `Pressed`, which makes the screen follow the end again."""
        event.stop()
        self.post_message(self.Pressed())
