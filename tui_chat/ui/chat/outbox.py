"""Sending of drafts to the session, in order and in a worker thread.

`ChatSession.send` counts tokens, which takes a moment for a long draft. The outbox calls it in a
thread, so that the prompt is free at once. If the session rejects a draft, the outbox puts it back
into the prompt, so nothing the user has typed is lost.
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
    """Sends drafts one after the other.

    Args:
        page: The page with the prompt and the session.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lock = asyncio.Lock()
        self._underway = 0

    @property
    def is_busy(self) -> bool:
        """Whether a draft or an action is still waiting or being sent."""
        return self._underway > 0

    def after(self, act: Callable[[], Awaitable[object]]) -> None:
        """Queue an action to run after all drafts and actions that were queued before it."""

        async def in_turn() -> None:
            try:
                async with self._lock:  # asyncio.Lock is fair, so the order of calls is kept
                    await act()
            finally:
                self._underway -= 1

        self._underway += 1
        self._page.run(in_turn, "outbox")

    async def emptied(self) -> None:
        """Wait until everything queued so far is done."""
        async with self._lock:
            pass

    def send(self, draft: Draft, counted: ContextCounted | None) -> None:
        """Send a draft as a message, unless its count already says that it is too long.

        Args:
            draft: The draft as the user typed it.
            counted: The latest count, which may belong to an earlier draft.
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
        """Request several candidate replies to a message.

        Args:
            draft: The message as the user typed it; empty for the last user message of the chat.
            count: The number of candidates.
            show: Called with the candidates, still without text, once the session has queued them.
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
        """Send an edited message, which the session adds as a new version of the old one."""
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
        """Put a rejected draft back into the prompt, as an edit if it was one, and show why."""
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
