"""Counting what a draft would cost, beside the UI loop: the newest draft wins.

Owns when to count. The counting itself is `ChatSession.context_view`, which tokenizes and may take
a while with a long paste, so it runs in a thread and never twice at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from textual.message import Message

from tui_chat.chat.budget import ContextView
from tui_chat.session import ChatSession
from tui_chat.ui.chat.messages import ContextCounted

DEBOUNCE_S = 0.04
"""Typing has to pause this long before the draft is counted."""
BUSY_INTERVAL_S = 1.0
"""While a reply is written the history grows; it is counted this often."""


class TokenCounter:
    """Counts drafts in the background and posts the newest result.

    Args:
        session: Whose context it is.
        post: Takes a `ContextCounted`, as `MessagePump.post_message` does.
    """

    def __init__(self, session: ChatSession, post: Callable[[Message], object]) -> None:
        self._session = session
        self._post = post
        self._draft = ""
        self._is_stale = False
        self._task: asyncio.Task[None] | None = None
        self._counted_at = 0.0

    def count(self, draft: str) -> None:
        """Count a draft soon; a newer one takes its place."""
        self._draft = draft
        self._is_stale = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def recount(self) -> None:
        """Count the same draft again, since the chat or the model has changed."""
        self.count(self._draft)

    def recount_at_leisure(self) -> None:
        """The same while a reply grows: only if the last count is old enough."""
        if time.monotonic() - self._counted_at >= BUSY_INTERVAL_S:
            self.recount()

    async def view_of(self, text: str) -> ContextView:
        """How the context would be used with another text as the draft."""
        return await asyncio.to_thread(self._session.context_view, text)

    def stop(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._is_stale:
            self._is_stale = False
            await asyncio.sleep(DEBOUNCE_S)
            if self._is_stale:
                continue
            draft = self._draft
            view, before = await asyncio.to_thread(self._views, draft)
            self._counted_at = time.monotonic()
            pushed = max(0, view.dropped_turns - before.dropped_turns)
            self._post(ContextCounted(draft, view, pushed))

    def _views(self, draft: str) -> tuple[ContextView, ContextView]:
        """The use of the context with the draft and without it."""
        view = self._session.context_view(draft)
        if not draft or not view.dropped_turns:
            return view, view
        return view, self._session.context_view("")
