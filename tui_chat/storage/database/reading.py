"""Saved chats as they are listed, found and loaded.

`read_transcripts(path)` opens a short-lived connection in whatever thread asks, and sees what is
committed. Refuses to change anything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tui_chat.chat.conversation import Conversation
from tui_chat.chat.marks import ChatDetails
from tui_chat.errors import Remedy, StoreError, TranscriptNotFoundError
from tui_chat.safe_text import safe_line, storable
from tui_chat.storage.database.file import open_reader
from tui_chat.storage.database.records import (
    MESSAGE_COLUMNS,
    ChatSummary,
    as_moment,
    as_text,
    json_values,
    message_from_row,
    plant,
)

if TYPE_CHECKING:
    from tui_chat.chat.query import Query
    from tui_chat.storage.database.search import Found

R = TypeVar("R")

FOUND_AT_MOST = 50
"""Messages that a search finds, unless said otherwise."""


class TranscriptReader:
    """Reads saved chats through one connection, which the caller opens and closes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def list_chats(
        self,
        limit: int | None = None,
        offset: int = 0,
        include_deleted: bool = False,
        query: Query | None = None,
    ) -> list[ChatSummary]:
        """Saved chats, the one changed last first.

        Args:
            limit: At most so many.
            offset: Without so many of the first.
            include_deleted: Whether deleted chats count; never with a query.
            query: Only chats with a message that it finds; see `search.of_chats`.
        """
        condition, values = _of_query(query)
        rows = self._rows(
            "SELECT id, title, model, created, updated, turns, messages, deleted_at, details"
            f" FROM chats WHERE (? OR deleted_at IS NULL) AND {condition}"
            " ORDER BY updated DESC, id LIMIT ? OFFSET ?",
            include_deleted,
            *values,
            -1 if limit is None else limit,
            offset,
        )
        return [_summary(row) for row in rows]

    def chat_ids(self, query: Query | None = None) -> list[str]:
        """The ids of the saved chats, or of those with a message that a query finds.

        The one changed last is the last one: in this order they are exported, and imported again.
        """
        condition, values = _of_query(query)
        rows = self._rows(
            f"SELECT id FROM chats WHERE deleted_at IS NULL AND {condition}"
            " ORDER BY updated, id DESC",
            *values,
        )
        return [as_text(row["id"]) for row in rows]

    def find(self, name: str, include_deleted: bool = False) -> str:
        """The full id of a chat, by its id, the beginning of its id, or `last`.

        Args:
            name: `last` means the chat changed last. Case does not matter in ids.
            include_deleted: Whether deleted chats count.

        Raises:
            TranscriptNotFoundError: If no chat matches.
            StoreError: If several do.
        """
        if name == "last":
            newest = self.list_chats(limit=1, include_deleted=include_deleted)
            if not newest:
                raise TranscriptNotFoundError("There is no saved chat yet", "", "Start one")
            return newest[0].id
        prefix = storable(name.strip())
        rows = self._rows(
            "SELECT id, title FROM chats WHERE (? OR deleted_at IS NULL)"
            " AND (id = ? OR substr(id, 1, ?) = ?) ORDER BY id <> ?, updated DESC LIMIT 6",
            include_deleted,
            prefix,
            len(prefix),
            prefix.lower(),
            prefix,
        )
        if not rows or not prefix:
            raise TranscriptNotFoundError(
                f"There is no saved chat {safe_line(name, 80)!r}",
                "",
                "The list of chats shows the ids",
                Remedy.CHOOSE_CHAT,
            )
        if len(rows) > 1 and rows[0]["id"] != prefix:
            ids = ", ".join(
                f"{row['id'][: len(prefix) + 6]} ({safe_line(row['title'], 30)})"
                for row in rows[:5]
            )
            raise StoreError(
                f"Several saved chats begin with {safe_line(name, 80)!r}",
                ids + (", and more" if len(rows) > 5 else ""),
                "Give more characters of the id",
            )
        return str(rows[0]["id"])

    def load(self, chat_id: str) -> Conversation:
        """A whole chat: every message, deleted ones too, in order, with its active leaf.

        Raises:
            TranscriptNotFoundError: If there is no chat with that full id.
        """
        header = self._row(chat_id)
        conversation = Conversation(
            *(as_text(header[name]) for name in ("id", "title", "system", "model"))
        )
        columns = ", ".join(MESSAGE_COLUMNS)
        query = f"SELECT {columns} FROM messages WHERE chat_id = ? ORDER BY seq"
        rows = self._rows(query, chat_id)
        plant(conversation, map(message_from_row, rows))
        leaf = header["leaf"]
        if leaf is not None and leaf not in conversation:  # its row was lost
            leaf = rows[-1]["id"] if rows else None
        conversation.set_leaf(leaf)
        conversation.created = as_moment(header["created"])
        conversation.updated = as_moment(header["updated"])
        conversation.details = ChatDetails.from_values(json_values(as_text(header["details"])))
        conversation.working = json_values(as_text(header["working"]))
        conversation.restore_history(json_values(as_text(header["history"])))
        return conversation

    def stored_update(self, chat_id: str) -> datetime | None:
        """When a saved chat was changed last; None if it is not saved."""
        row = self._connection.execute(
            "SELECT updated FROM chats WHERE id = ?", (storable(chat_id),)
        ).fetchone()
        return None if row is None else as_moment(row["updated"])

    def search(self, query: Query, limit: int = FOUND_AT_MOST) -> list[Found]:
        """The messages that a query finds: the best first, or the newest where it has no words."""
        from tui_chat.storage.database.search import search  # not needed to start

        return self._tolerating(lambda: search(self._connection, query, limit))

    def params(self, chat_id: str) -> dict[str, Any]:
        """The sampling parameters saved with a chat; empty if there are none.

        Raises:
            TranscriptNotFoundError: If there is no chat with that full id.
        """
        return json_values(self._row(chat_id)["params"])

    def _row(self, chat_id: str) -> sqlite3.Row:
        rows = self._rows("SELECT * FROM chats WHERE id = ?", storable(chat_id))
        if not rows:
            raise TranscriptNotFoundError(
                f"There is no saved chat {safe_line(chat_id, 80)!r}",
                "",
                "The list of chats shows the ids",
                Remedy.CHOOSE_CHAT,
            )
        return rows[0]

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        return self._tolerating(lambda: self._connection.execute(query, values).fetchall())

    def _tolerating(self, read: Callable[[], list[R]]) -> list[R]:
        """All rows; a byte in a text that is not UTF-8 costs that byte only."""
        try:
            return read()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
        self._connection.text_factory = lambda content: content.decode(errors="replace")
        return read()


def _of_query(query: Query | None) -> tuple[str, list[str]]:
    """What must hold of a row of `chats`, as SQL, with its values."""
    if query is None:
        return "1", []
    from tui_chat.storage.database.search import of_chats  # not needed to start

    return of_chats(query)


def _summary(row: sqlite3.Row) -> ChatSummary:
    details = ChatDetails.from_values(json_values(as_text(row["details"])))
    return ChatSummary(
        as_text(row["id"]),
        as_text(row["title"]),
        as_text(row["model"]),
        as_moment(row["created"]),
        as_moment(row["updated"]),
        row["turns"],
        row["messages"],
        None if row["deleted_at"] is None else as_moment(row["deleted_at"]),
        details.tags,
        details.archived,
    )


@contextmanager
def read_transcripts(path: Path) -> Iterator[TranscriptReader]:
    """Read saved chats in any thread; without a database there are none.

    Raises:
        StoreError: If the database cannot be read, is damaged or belongs to a newer version.
    """
    with open_reader(path) as connection:
        yield TranscriptReader(connection)
