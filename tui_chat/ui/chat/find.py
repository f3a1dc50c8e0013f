"""Finding something in the open chat: what matches, which match the reader is at, and going there.

Owns the search over what the whole active path shows, mounted or not, in a thread. The bar shows
how far it is, the transcript selects and marks.
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
"""Places that are counted."""
REST_S = 0.3
"""Seconds between two looks at a chat that changes."""
LONG_S = 0.3
"""Seconds after which a search says that it goes on."""


class Find:
    """Finds in the open chat.

    Args:
        page: Where it is shown.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self.bar: FindBar | None = None
        """The line to type in; made when it is first asked for."""
        self._texts: ShownTexts | None = None
        self._text = ""
        self._found: list[Occurrence] = []
        self._at = -1
        self._seen_version = -1
        self._is_due = False

    @property
    def is_open(self) -> bool:
        """Whether the bar is shown."""
        return self.bar is not None and self.bar.display

    @property
    def has_focus(self) -> bool:
        """Whether keys go to the bar."""
        return self.bar is not None and self.bar.has_focus_within

    async def open(self, text: str = "") -> None:
        """Show the bar and type into it.

        Args:
            text: What to look for; what was looked for last by default.
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
        """Hide the bar; the message that was found stays selected."""
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
        """Look for something else."""
        if self.is_open and text != self._text:
            self._look(text, moves=True)

    def chat_changed(self) -> None:
        """Look again, not too often, while the chat grows."""
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
        """Find, show how often, and go to the place nearest to where the reader is."""
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
        """Every place in what a path shows; a search that nobody waits for any more ends."""
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
        """The place to be at: the same as before, else the first from the selected message on."""
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
        """Go to the next place (+1) or the one before (-1), round the ends."""
        if self._found:
            self._at = (self._at + step) % len(self._found)
            self._show()
            await self.go()

    async def go(self) -> None:
        """Select the message of the current place and bring that into view."""
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
