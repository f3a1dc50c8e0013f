"""The strip over the end of the transcript that says how much was written out of sight.

Owns its wording. Going there is up to the screen.
"""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.ui.widgets.numbers import grouped


class FollowStrip(Widget):
    """`↓ 34 new lines`; hidden while the end is in view."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    FollowStrip {
        layer: above;
        dock: bottom;
        height: 1;
        width: 100%;
        content-align: center middle;
        text-wrap: nowrap; text-overflow: clip;
        color: $primary;
        background: $surface;
        display: none;
        &.-shown { display: block; }
        &:hover { text-style: underline; }
    }
    """

    lines: reactive[int] = reactive(0)

    class Pressed(Message):
        """The strip was clicked."""

    def watch_lines(self, lines: int) -> None:
        """Appear with the first line."""
        self.set_class(lines > 0, "-shown")

    def render(self) -> Content:
        """How many lines, and the key that leads there."""
        return Content(f"↓ {grouped(self.lines)} new line{'s' if self.lines != 1 else ''}   End")

    def on_click(self, event: events.Click) -> None:
        """Ask to follow again."""
        event.stop()
        self.post_message(self.Pressed())
