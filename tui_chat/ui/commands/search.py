"""The `search` and `find` actions: search all saved chats, or find text in the open one.

The search screen and the find bar do the searching; the code here opens them, and opens the chat
with the message that the user chose.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tui_chat.errors import TuiChatError
from tui_chat.ui.commands.host import Command, Host
from tui_chat.ui.remedies import notify_error

if TYPE_CHECKING:
    from tui_chat.ui.screens.search import Place


class SearchCommands:
    """The `search` and `find` actions.

    Args:
        host: The app to act on.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.table: dict[str, Command] = {"search": self._search, "find": self._find}

    async def _search(self, text: str) -> None:
        from tui_chat.ui.screens.search import SearchScreen

        async def chosen(place: Place | None) -> None:
            if place is None:
                return
            outbox = self._host.chat.outbox
            if outbox.is_busy:  # drafts that are being sent belong to the chat that is open now
                outbox.after(lambda: self._open_at(place))
            else:
                await self._open_at(place)

        self._host.push_screen(SearchScreen(self._host.session, text), chosen)

    async def _open_at(self, place: Place) -> None:
        chat = self._host.chat
        chat.drafts.keep_place()
        try:
            await asyncio.to_thread(self._host.session.open_at, place.chat_id, place.message_id)
        except TuiChatError as error:
            notify_error(chat, error, timeout=6)
            return
        await chat.go_to(place.message_id)

    async def _find(self, text: str) -> None:
        await self._host.chat.find.open(text)
