"""Drafts on their way into the session: in order, off the loop, and back if they are refused.

Owns that nothing typed is ever lost. Sending counts tokens, which takes a moment for a long draft,
so it happens in a thread; the prompt is free at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tui_chat.chat.conversation import Message
from tui_chat.errors import ContextError, TuiChatError
from tui_chat.ui.chat.messages import ContextCounted
from tui_chat.ui.chat.page import Page
from tui_chat.ui.prompt.prompt_history import Draft
from tui_chat.ui.prompt.slash import literal
from tui_chat.ui.widgets.numbers import grouped


class Outbox:
    """Sends drafts.

    Args:
        page: Whose prompt and session it is.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lock = asyncio.Lock()
        self._underway = 0

    @property
    def is_busy(self) -> bool:
        """Whether something typed is still on its way."""
        return self._underway > 0

    def after(self, act: Callable[[], Awaitable[object]]) -> None:
        """Do something once all that was typed before it is sent, and before what comes after."""

        async def in_turn() -> None:
            try:
                async with self._lock:  # serves in the order of asking
                    await act()
            finally:
                self._underway -= 1

        self._underway += 1
        self._page.run(in_turn, "outbox")

    async def emptied(self) -> None:
        """Wait until everything is sent."""
        async with self._lock:
            pass

    def send(self, draft: Draft, counted: ContextCounted | None) -> None:
        """Send a message, unless it is known to be too long.

        Args:
            draft: As typed.
            counted: The newest count of a draft, which may be an older one.
        """
        text = literal(draft.full)
        if counted is not None and counted.draft == text and counted.view.is_too_long:
            self._page.bar.give_back(draft)
            self._page.say(_too_long(counted))
            return
        self._page.bar.past.add(draft)
        self._page.transcript.follow()
        self._deliver(draft, lambda: self._page.session.send(text))

    def send_for_best(
        self, draft: Draft, count: int, show: Callable[[Sequence[Message]], object]
    ) -> None:
        """Have a message answered several times.

        Args:
            draft: As typed; empty for the last message that was sent.
            count: How many times.
            show: Takes the candidates once they are begun.
        """
        session, text = self._page.session, literal(draft.full)

        async def deliver() -> None:
            try:
                candidates = await asyncio.to_thread(session.best_of, count, text)
            except TuiChatError as error:
                self._refused(draft, None, error)
            else:
                show(candidates)

        self.after(deliver)

    def send_edit(self, draft: Draft, message_id: str) -> None:
        """Put an edited message beside the old one."""
        self._page.transcript.follow()
        text = draft.full
        self._deliver(draft, lambda: self._page.session.edit(message_id, text), message_id)

    def _deliver(
        self, draft: Draft, send: Callable[[], object], editing: str | None = None
    ) -> None:
        async def deliver() -> None:
            try:
                await asyncio.to_thread(send)
            except TuiChatError as error:
                self._refused(draft, editing, error)

        self.after(deliver)

    def _refused(self, draft: Draft, editing: str | None, error: TuiChatError) -> None:
        """Put a refused draft back where it came from."""
        bar = self._page.bar
        if editing is not None and self._page.session.is_here(editing):
            message = self._page.session.message(editing)
            bar.edit(editing, draft.full, message.role != "user", message.is_note)
        elif draft:
            bar.give_back(draft)
        self._page.say(error)


def _too_long(counted: ContextCounted) -> ContextError:
    view = counted.view
    return ContextError(
        "The message is too long",
        f"It has {grouped(view.draft)} tokens, and {grouped(view.longest_draft)} fit",
        "Shorten it; nothing was sent",
    )
