"""A notice over the prompt: what failed, why, and what to press. It stays until it is read.

Owns the laying out of the three parts of an error. When it goes is up to the screen.
"""

from __future__ import annotations

import time

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.errors import TuiChatError
from tui_chat.ui.plain_text import plain, plain_line

READING_S = 1.0
"""A key does not send a notice away before it has been there this long."""


class Notice(Widget):
    """Title, detail and hint; hidden while there is nothing to say."""

    DEFAULT_CSS = """
    Notice {
        width: 1fr;
        height: auto;
        max-height: 8;
        display: none;
        padding: 0 1;
        border-left: wide $error;
        &.-shown { display: block; }
        &.-quiet { border-left: wide $warning; }
    }
    """

    error: reactive[TuiChatError | None] = reactive(None, layout=True)
    reading_s = READING_S
    """Least seconds that it stays."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - the name Textual uses
        super().__init__(id=id)
        self._shown_at = 0.0

    def say(self, error: TuiChatError, is_quiet: bool = False) -> None:
        """Show an error.

        Args:
            error: What to show.
            is_quiet: Whether it is worth knowing rather than a failure.
        """
        self.set_class(is_quiet, "-quiet")
        self._shown_at = time.monotonic()
        self.error = error

    def watch_error(self, error: TuiChatError | None) -> None:
        """Appear while there is something to say."""
        self.set_class(error is not None, "-shown")

    def render(self) -> Content:
        """The parts below each other, without those that are empty."""
        if self.error is None:
            return Content("")
        colour = "$warning" if self.has_class("-quiet") else "$error"
        parts = (
            plain_line(self.error.title).stylize(f"{colour} bold"),
            plain(self.error.detail).stylize("$foreground"),
            plain(self.error.hint).stylize("$text-muted"),
        )
        return Content("\n").join(part for part in parts if part)

    def dismiss_if_read(self) -> None:
        """Go, unless it has only just come."""
        if self.error is not None and time.monotonic() - self._shown_at >= self.reading_s:
            self.error = None
