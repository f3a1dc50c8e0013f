"""Background counting of the tokens of the draft.

`ChatSession.context_view` does the counting. It tokenizes the draft, which may take a while for a
long paste, so it runs in a worker thread. Only one count of the draft runs at a time, and the
newest draft replaces one that is waiting.
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
"""Seconds without a change before the draft is counted."""
BUSY_INTERVAL_S = 1.0
"""Least seconds between two counts while a growing reply changes the history."""


class TokenCounter:
    """Counts drafts in the background and posts each result as a `ContextCounted`.

    Args:
        session: The session whose context is counted.
        post: Called with a `ContextCounted` on the UI loop, such as `MessagePump.post_message`.
    """

    def __init__(self, session: ChatSession, post: Callable[[Message], object]) -> None:
        self._session = session
        self._post = post
        self._draft = ""
        self._is_stale = False
        self._task: asyncio.Task[None] | None = None
        self._counted_at = 0.0

    def count(self, draft: str) -> None:
        """Schedule the count of a draft; a later call replaces one that is waiting."""
        self._draft = draft
        self._is_stale = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def recount(self) -> None:
        """Schedule another count of the same draft, after the chat or the model has changed."""
        self.count(self._draft)

    def recount_at_leisure(self) -> None:
        """Call `recount`, unless the last count is newer than `BUSY_INTERVAL_S`.

        Used while a reply grows.
        """
        if time.monotonic() - self._counted_at >= BUSY_INTERVAL_S:
            self.recount()

    async def view_of(self, text: str) -> ContextView:
        """Return the use of the context with `text` as the draft, counted in a worker thread."""
        return await asyncio.to_thread(self._session.context_view, text)

    def stop(self) -> None:
        """Cancel a count that is waiting or running, so that its result is not posted."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._is_stale:
            self._is_stale = False
            await asyncio.sleep(DEBOUNCE_S)
            if self._is_stale:  # the draft changed during the pause, so wait again
                continue
            draft = self._draft
            view, before = await asyncio.to_thread(self._views, draft)
            self._counted_at = time.monotonic()
            pushed = max(0, view.dropped_turns - before.dropped_turns)
            self._post(ContextCounted(draft, view, pushed))

    def _views(self, draft: str) -> tuple[ContextView, ContextView]:
        """Return the use of the context with the draft and without it."""
        view = self._session.context_view(draft)
        if not draft or not view.dropped_turns:
            return view, view
        return view, self._session.context_view("")
