"""A notice over the prompt: what failed, why, and what to press. It stays until it is read.

Owns the laying out of the three parts of an error. When it goes is up to the screen.
"""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.reactive import reactive
from textual.widgets import Static

from tui_chat.errors import TuiChatError
from tui_chat.ui.safe_text import plain, plain_line

READING_S = 1.0
"""A key does not send a notice away before it has been there this long."""


class Notice(Vertical):
    """Title, detail and hint; hidden while there is nothing to say."""

    DEFAULT_CSS = """
    Notice {
        height: auto;
        max-height: 8;
        display: none;
        padding: 0 1;
        border-left: wide $error;
        &.-shown { display: block; }
        &.-quiet { border-left: wide $warning; }
        .notice-title { color: $error; text-style: bold; }
        &.-quiet .notice-title { color: $warning; }
        .notice-detail { color: $foreground; }
        .notice-hint { color: $text-muted; }
        Static { height: auto; display: none; }
        Static.-filled { display: block; }
    }
    """

    error: reactive[TuiChatError | None] = reactive(None)
    reading_s = READING_S
    """Least seconds that it stays."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - the name Textual uses
        super().__init__(id=id)
        self._shown_at = 0.0

    def compose(self) -> ComposeResult:
        """The three parts."""
        for part in ("title", "detail", "hint"):
            yield Static("", classes=f"notice-{part}", markup=False)

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
        """Fill the parts, and leave out those that are empty."""
        self.set_class(error is not None, "-shown")
        if error is None:
            return
        contents = {
            "title": plain_line(error.title),
            "detail": plain(error.detail),
            "hint": plain(error.hint),
        }
        for part, content in contents.items():
            static = self.query_one(f".notice-{part}", Static)
            static.update(content)
            static.set_class(bool(content), "-filled")

    def dismiss_if_read(self) -> None:
        """Go, unless it has only just come."""
        if self.error is not None and time.monotonic() - self._shown_at >= self.reading_s:
            self.error = None
