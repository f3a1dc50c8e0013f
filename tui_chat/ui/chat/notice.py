"""The notice above the prompt that shows an error: what failed, why, and what to do.

It stays until the user presses a key after having had time to read it, or until the screen clears
it.
"""

from __future__ import annotations

import time

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.errors import TuiChatError
from tui_chat.ui.plain_text import plain, plain_line

READING_S = 1.0
"""Seconds during which a key does not dismiss a new notice."""


class Notice(Widget):
    """Title, detail and hint of an error; hidden while `error` is None."""

    error: reactive[TuiChatError | None] = reactive(None, layout=True)
    reading_s = READING_S
    """Seconds during which `dismiss_if_read` keeps a new notice."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - the name Textual uses
        super().__init__(id=id)
        self._shown_at = 0.0

    def say(self, error: TuiChatError, is_quiet: bool = False) -> None:
        """Show an error.

        Args:
            error: The error to show.
            is_quiet: Whether to show it as a warning rather than a failure.
        """
        self.set_class(is_quiet, "-quiet")
        self._shown_at = time.monotonic()
        self.error = error

    def watch_error(self, error: TuiChatError | None) -> None:
        """Show the notice while it has an error."""
        self.set_class(error is not None, "-shown")

    def render(self) -> Content:
        """Return title, detail and hint on separate lines, without the empty ones."""
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
        """Clear the notice if it has been visible for at least `reading_s` seconds."""
        if self.error is not None and time.monotonic() - self._shown_at >= self.reading_s:
            self.error = None
