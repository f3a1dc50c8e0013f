"""The context object that the parts of the chat screen share.

A `Page` holds the session, the main widgets and the clock. The status view, outbox, find, side
panel and the other parts take a `Page` rather than the `ChatScreen`, so they can be used without
importing the screen that composes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from textual.screen import Screen
from textual.widget import Widget

from tui_chat.errors import TuiChatError
from tui_chat.session import ChatSession
from tui_chat.ui.chat.empty_state import EmptyState
from tui_chat.ui.chat.loading_line import LoadingLine
from tui_chat.ui.chat.notice import Notice
from tui_chat.ui.chat.split_line import SplitLine
from tui_chat.ui.chat.token_meter import TokenMeter
from tui_chat.ui.plain_text import notify_plain
from tui_chat.ui.prompt.prompt_bar import PromptBar
from tui_chat.ui.remedies import in_screens
from tui_chat.ui.transcript.transcript import Transcript

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

NARROW = 50
"""Below this many columns the screen shows the essentials only."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock and the monotonic clock of the screen, which tests replace."""

    now: Callable[[], datetime] = lambda: datetime.now().astimezone()
    """Returns the current local time, with its time zone."""
    monotonic: Callable[[], float] = time.monotonic
    """Returns seconds from a clock that never goes backwards."""


class Page:
    """The session and widgets of the chat screen, with helpers that several parts need.

    Args:
        screen: The screen that composes the widgets.
        session: The session that the widgets show.
        clock: The clocks to use.
    """

    def __init__(self, screen: Screen[None], session: ChatSession, clock: Clock) -> None:
        self.screen = screen
        self.session = session
        self.clock = clock
        self.title_line = SplitLine(id="title-line")
        self.transcript = Transcript(session.versions, clock.now, id="transcript")
        self.empty = EmptyState()
        """Shown in place of the transcript while the chat has no messages."""
        self.notice = Notice(id="notice")
        self.loading_line = LoadingLine(clock.monotonic)
        self.bar = PromptBar(id="prompt-bar")
        self.meter = TokenMeter(id="meter")

    @property
    def width(self) -> int:
        """Width of the screen in columns; 0 before the first layout."""
        return self.screen.size.width

    @property
    def is_narrow(self) -> bool:
        """Whether the screen is narrower than `NARROW` columns."""
        return self.width < NARROW

    @property
    def is_empty(self) -> bool:
        """Whether the transcript has no messages."""
        return not self.transcript.path

    def tell(
        self, text: str, severity: SeverityLevel = "information", timeout: float | None = None
    ) -> None:
        """Show a toast, which disappears on its own.

        Args:
            text: The plain text to show; markup is not interpreted.
            severity: The severity of the notification.
            timeout: Seconds until it disappears; Textual's default if None.
        """
        notify_plain(self.screen, text, severity=severity, timeout=timeout)

    def say(self, error: TuiChatError) -> None:
        """Show an error above the prompt, where it stays until the user dismisses it."""
        self.notice.say(in_screens(error, self.screen.app))

    def focus(self, widget: Widget) -> None:
        """Focus a widget immediately.

        `Widget.focus` only schedules the change; by then the next key may already have gone to the
        widget that had the focus before.
        """
        self.screen.set_focus(widget, scroll_visible=False)

    def focus_prompt(self) -> None:
        """Focus the prompt and clear the selection in the transcript."""
        self.transcript.selected = None
        self.focus(self.bar.prompt)

    def run(
        self, work: Callable[[], Coroutine[Any, Any, None]], group: str, **options: Any
    ) -> None:
        """Run a coroutine in a worker of the screen, which Textual cancels when the screen closes.

        Args:
            work: Returns the coroutine. A coroutine object that never starts would cause a
                "never awaited" warning.
            group: The worker group, for `cancel`.
            options: Further arguments of `Widget.run_worker`.
        """
        self.screen.run_worker(work, group=group, **options)  # type: ignore[arg-type]

    def cancel(self, group: str) -> None:
        """Cancel all workers of a group."""
        self.screen.workers.cancel_group(self.screen, group)
