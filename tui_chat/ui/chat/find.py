"""Find in the open chat: searching the active path and moving between the matches.

The search runs in a worker thread over the displayed text of all messages on the path, including
those that have no mounted widget. `FindBar` shows the count, and the transcript selects and marks
the current match.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING

from tui_chat.ui.chat.page import Page

if TYPE_CHECKING:
    from tui_chat.chat.conversation import Message
    from tui_chat.chat.matching import Occurrence
    from tui_chat.ui.chat.find_bar import FindBar
    from tui_chat.ui.transcript.shown_text import ShownTexts

MOST = 9999
"""Most matches that are collected; the bar shows `9999+` beyond."""
REST_S = 0.3
"""Seconds from a change of the chat to the next search."""
LONG_S = 0.3
"""Seconds after which the bar shows that a search is still running."""


class Find:
    """Controls the find bar and the search of a page.

    Args:
        page: The page whose transcript is searched.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self.bar: FindBar | None = None
        """The find bar; None until it is first opened."""
        self._texts: ShownTexts | None = None
        self._text = ""
        self._found: list[Occurrence] = []
        self._at = -1
        self._seen_version = -1
        self._is_due = False

    @property
    def is_open(self) -> bool:
        """Whether the bar is visible."""
        return self.bar is not None and self.bar.display

    @property
    def has_focus(self) -> bool:
        """Whether the bar or its field has the focus."""
        return self.bar is not None and self.bar.has_focus_within

    async def open(self, text: str = "") -> None:
        """Show the bar, focus its field and search.

        Args:
            text: The text to search for; the previous one if empty.
        """
        if self.bar is None:
            from tui_chat.ui.chat.find_bar import FindBar

            self.bar = FindBar(id="find-bar")
            bar = self._page.bar
            await self._page.screen.query_one("#page").mount(self.bar, before=bar)
        self.bar.display = True
        field = self.bar.field
        if text:
            field.value = text
        field.select_all()
        self._page.focus(field)
        self._look(field.value, moves=True)

    async def close(self) -> None:
        """Hide the bar and remove the marks; the message with the current match stays selected."""
        if self.bar is None:
            return
        self.bar.display = False
        self._page.cancel("find")
        self._texts = None
        self._page.transcript.mark_found(None)
        if self._at >= 0 and self._page.transcript.selected is not None:
            self._page.focus(self._page.transcript)
        else:
            self._page.focus_prompt()

    def typed(self, text: str) -> None:
        """Search for a new text and go to its nearest match."""
        if self.is_open and text != self._text:
            self._look(text, moves=True)

    def chat_changed(self) -> None:
        """Search again after `REST_S` seconds if the chat has changed since the last search."""
        if not self.is_open or self._is_due:
            return
        if self._page.session.conversation.version != self._seen_version:
            self._is_due = True
            self._page.screen.set_timer(REST_S, self._look_again)

    def _look_again(self) -> None:
        self._is_due = False
        if self.is_open:
            self._look(self._text, moves=False)

    def _look(self, text: str, moves: bool) -> None:
        async def find() -> None:
            await self._find(text, moves)

        self._page.run(find, "find", exclusive=True, exit_on_error=False)

    async def _find(self, text: str, moves: bool) -> None:
        """Search the path, show the count and mark the match nearest to the reader.

        Args:
            text: The text to search for.
            moves: Whether to select the match and scroll to it; False for a repeated search.
        """
        from tui_chat.chat.matching import pattern_of

        transcript = self._page.transcript
        self._text, self._seen_version = text, self._page.session.conversation.version
        pattern = pattern_of(text)
        path = transcript.path
        before = self._found[self._at] if 0 <= self._at < len(self._found) else None
        found: list[Occurrence] = []
        if pattern is not None:
            found = await self._places(path, text, pattern)
        self._found = found
        order = {message.id: index for index, message in enumerate(path)}
        self._at = self._nearest(order, before)
        self._show()
        if moves:
            await self.go()
        else:
            transcript.mark_found(pattern, self._found[self._at] if self._at >= 0 else None)

    async def _places(
        self, path: Sequence[Message], text: str, pattern: re.Pattern[str]
    ) -> list[Occurrence]:
        """Return every match in the displayed text of a path, at most `MOST`.

        Cancelling the coroutine also stops the search thread, before its next message.
        """
        from tui_chat.chat.matching import occurrences
        from tui_chat.ui.transcript.shown_text import ShownTexts

        if self._texts is None:
            self._texts = ShownTexts()
        over = Event()
        texts = self._texts.of(path, text.split(), over.is_set)
        search = asyncio.ensure_future(asyncio.to_thread(occurrences, texts, pattern, MOST))
        try:
            done, _ = await asyncio.wait([search], timeout=LONG_S)
            if not done and self.bar is not None:
                self.bar.show_count("searching")
            return await search
        finally:
            over.set()

    def _nearest(self, order: dict[str, int], before: Occurrence | None) -> int:
        """Return the index of the match to show; -1 if there is none.

        This is the previous match if it still exists, else the first one at or after the selected
        message, else the first. If no message is selected it is the last match.
        """
        if not self._found:
            return -1
        if before in self._found:
            return self._found.index(before)
        selected = self._page.transcript.selected
        if selected not in order:
            return len(self._found) - 1
        start = order[selected]
        return next((i for i, o in enumerate(self._found) if order[o.message_id] >= start), 0)

    async def step(self, step: int) -> None:
        """Go to the next match (+1) or the previous one (-1), wrapping at both ends."""
        if self._found:
            self._at = (self._at + step) % len(self._found)
            self._show()
            await self.go()

    async def go(self) -> None:
        """Select the message with the current match, and scroll the match into view."""
        from tui_chat.chat.matching import pattern_of

        transcript, pattern = self._page.transcript, pattern_of(self._text)
        if self._at < 0 or pattern is None:
            transcript.mark_found(None)
            return
        place = self._found[self._at]
        transcript.select_message(place.message_id)
        transcript.mark_found(pattern, place)
        transcript.reveal_found()

    def _show(self) -> None:
        assert self.bar is not None
        if not self._text.strip():
            self.bar.show_count("")
        elif not self._found:
            self.bar.show_count("no match", is_none=True)
        else:
            more = "+" if len(self._found) >= MOST else ""
            self.bar.show_count(f"↑ ↓  {self._at + 1}/{len(self._found)}{more}")
