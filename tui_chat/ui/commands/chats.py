"""The actions on a whole chat: title, tags, archiving, permission to use its data, and compaction.

The session stores the results; the methods here check the arguments and word the toasts.
"""

from __future__ import annotations

import asyncio

from tui_chat.errors import UsageError
from tui_chat.safe_text import safe_line
from tui_chat.ui.commands.host import Command, Host

_MOST_TAGS = 20
_MOST_TURNS = 1_000_000
_LONGEST_TAG = 40


class ChatCommands:
    """The actions on the open chat as a whole.

    Args:
        host: The app to act on.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.table: dict[str, Command] = {
            "title": self._title,
            "tag": self._tag,
            "archive": self._archive,
            "data_use": self._data_use,
            "compact": self._compact,
        }

    async def _title(self, text: str) -> None:
        conversation = self._host.session.conversation
        if not text:
            self._host.tell(
                f"Title: {conversation.title}" if conversation.title else "It has no title."
            )
            return
        self._host.session.rename_chat(conversation.id, text)
        self._host.tell("The chat is renamed.")

    async def _tag(self, text: str) -> None:
        """Add the tags in `text`, and remove those with a leading minus; then list all tags."""
        session = self._host.session
        tags = list(session.conversation.details.tags)
        for word in text.replace(",", " ").split():
            name = safe_line(word.lstrip("#-"), _LONGEST_TAG).lower()
            if not name:
                raise UsageError(f"{word!r} is no tag", "", "Write a word, or -word to remove it")
            if word.startswith("-"):
                tags = [tag for tag in tags if tag != name]
            elif name not in tags:
                tags.append(name)
        if len(tags) > _MOST_TAGS:
            raise UsageError("Too many tags", f"A chat has at most {_MOST_TAGS}", "Remove some")
        if text:
            session.set_details(tags=tuple(tags))
        self._host.tell("Tags: " + ", ".join(tags) if tags else "It has no tags.")

    async def _archive(self, _: str) -> None:
        session = self._host.session
        archived = not session.conversation.details.archived
        session.set_details(archived=archived)
        self._host.tell(
            "Archived: it is listed only if you filter for `archived`."
            if archived
            else "It is listed with the other chats again."
        )

    async def _compact(self, text: str) -> None:
        """Start a note that summarises the older turns, and scroll it into view.

        Args:
            text: How many of the newest turns to leave as they are; empty to summarise only the
                turns that no longer fit the context.
        """
        if text and not (text.isdecimal() and 0 < int(text) < _MOST_TURNS):
            raise UsageError(
                "/compact takes a number of turns", f"not {safe_line(text, 20)!r}",
                "/compact 4 keeps the newest 4",
            )  # fmt: skip
        session = self._host.session
        await asyncio.to_thread(session.compact, int(text) if text else None)
        growing = next((m for m in session.messages() if m.is_note and m.is_unfinished), None)
        if growing is not None:
            await self._host.chat.go_to(growing.id, takes_focus=False)

    async def _data_use(self, text: str) -> None:
        session = self._host.session
        allowed = session.conversation.details.allow_data_use
        if text:
            if text.lower() not in ("on", "off"):
                raise UsageError("/datause is on or off", f"not {safe_line(text, 20)!r}", "")
            allowed = text.lower() == "on"
            session.set_details(allow_data_use=allowed)
        self._host.tell(
            "This chat may be exported for training."
            if allowed
            else "This chat never leaves through an export for training."
        )
