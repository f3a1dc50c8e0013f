"""What the keys and commands for finding do: all saved chats, and the chat that is open.

Owns the way from a found message to the transcript. What is found is the business of the screen
and of the bar.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tui_chat.errors import TuiChatError
from tui_chat.ui.commands.host import Command, Host
from tui_chat.ui.remedies import in_screens

if TYPE_CHECKING:
    from tui_chat.ui.screens.search import Place


class SearchCommands:
    """The actions `search` and `find`.

    Args:
        host: Whose chat screen it is.
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
            if outbox.is_busy:  # what was sent before belongs to the chat that is open now
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
            self._host.tell(in_screens(error, chat.app).one_line, "warning", timeout=6)
            return
        await chat.go_to(place.message_id)

    async def _find(self, text: str) -> None:
        await self._host.chat.find.open(text)
