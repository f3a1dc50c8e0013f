"""What the parts of the chat screen share: the session, the widgets and the clock.

The parts (status, outbox, find, side panel...) are given a page and know nothing of `ChatScreen`,
which stands above them.
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

Work = Callable[[], Coroutine[Any, Any, None]]
NARROW = 50
"""With fewer columns there is room for the most important things only."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The two times of the screen; tests hold them still."""

    now: Callable[[], datetime] = lambda: datetime.now().astimezone()
    """The time of day, in the user's zone."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds that only go forward."""


class Page:
    """The widgets of the chat screen, and what is done with several of them.

    Args:
        screen: Which composes them.
        session: What they show.
        clock: The times.
    """

    def __init__(self, screen: Screen[None], session: ChatSession, clock: Clock) -> None:
        self.screen = screen
        self.session = session
        self.clock = clock
        self.title_line = SplitLine(id="title-line")
        self.transcript = Transcript(session.versions, clock.now, id="transcript")
        self.empty = EmptyState()
        """Stands in place of the transcript while there is nothing to read."""
        self.notice = Notice(id="notice")
        self.loading_line = LoadingLine(clock.monotonic)
        self.bar = PromptBar(id="prompt-bar")
        self.meter = TokenMeter(id="meter")

    @property
    def width(self) -> int:
        """Columns of the screen; 0 before it has a size."""
        return self.screen.size.width

    @property
    def is_narrow(self) -> bool:
        """Whether there is room for the most important things only."""
        return self.width < NARROW

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self.transcript.path

    def tell(
        self, text: str, severity: SeverityLevel = "information", timeout: float | None = None
    ) -> None:
        """Show a short notice that goes away by itself."""
        notify_plain(self.screen, text, severity=severity, timeout=timeout)

    def say(self, error: TuiChatError) -> None:
        """Show an error above the prompt, where it stays until it is read."""
        self.notice.say(in_screens(error, self.screen.app))

    def focus(self, widget: Widget) -> None:
        """Give the keys to a widget, at once: the next key may be here before any message."""
        self.screen.set_focus(widget, scroll_visible=False)

    def focus_prompt(self) -> None:
        """Go on typing."""
        self.transcript.selected = None
        self.focus(self.bar.prompt)

    def run(
        self, work: Callable[[], Coroutine[Any, Any, None]], group: str, **options: Any
    ) -> None:
        """Run a coroutine beside the handlers, until the screen closes.

        Args:
            work: Makes it; a coroutine that never began would be complained about.
            group: Of workers, for `cancel`.
            options: Of `Widget.run_worker`.
        """
        self.screen.run_worker(work, group=group, **options)  # type: ignore[arg-type]

    def cancel(self, group: str) -> None:
        """Cancel what runs in a group."""
        self.screen.workers.cancel_group(self.screen, group)
