"""Reading of saved chats: list, find, search and load them.

`read_transcripts(path)` opens a short-lived connection in the calling thread, which sees all
committed data. Changes are in `database.writing`.
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
"""Default limit for the number of messages that a search returns."""


class TranscriptReader:
    """A reader of saved chats on a connection that the caller opens and closes.

    A text that is not valid UTF-8, as in a damaged database, is read with replacement characters.

    Args:
        connection: To a database of the newest schema version, with `sqlite3.Row` as row factory.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def list_chats(
        self,
        limit: int | None = None,
        offset: int = 0,
        include_deleted: bool = False,
        query: Query | None = None,
    ) -> list[ChatSummary]:
        """Return summaries of saved chats, the most recently changed first.

        Args:
            limit: Maximum number of chats; None for all.
            offset: Number of chats to skip at the beginning.
            include_deleted: Include deleted chats. With a query this has no effect, because a query
                never matches deleted chats.
            query: Return only chats that match; see `search.of_chats`.
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
        """Return the ids of the saved chats, or of those that match a query.

        The most recently changed chat comes last. An export uses this order, so that an import of
        the exported file adds the chats in the same order.
        """
        condition, values = _of_query(query)
        rows = self._rows(
            f"SELECT id FROM chats WHERE deleted_at IS NULL AND {condition}"
            " ORDER BY updated, id DESC",
            *values,
        )
        return [as_text(row["id"]) for row in rows]

    def find(self, name: str, include_deleted: bool = False) -> str:
        """Return the full id of a chat, given its id, the beginning of its id, or `last`.

        Args:
            name: An id as it is stored, or its beginning, which is compared in lower case. `last`
                means the most recently changed chat.
            include_deleted: Include deleted chats.

        Raises:
            TranscriptNotFoundError: If no chat matches.
            StoreError: If several chats match.
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
        """Load a whole chat: all messages, deleted ones included, the active leaf and the history.

        Args:
            chat_id: The full id.

        Raises:
            TranscriptNotFoundError: If there is no chat with that id.
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
        if leaf is not None and leaf not in conversation:  # its row is lost: use the last message
            leaf = rows[-1]["id"] if rows else None
        conversation.set_leaf(leaf)
        conversation.created = as_moment(header["created"])
        conversation.updated = as_moment(header["updated"])
        conversation.details = ChatDetails.from_values(json_values(as_text(header["details"])))
        conversation.working = json_values(as_text(header["working"]))
        conversation.restore_history(json_values(as_text(header["history"])))
        return conversation

    def stored_update(self, chat_id: str) -> datetime | None:
        """Return the time of the last change of a chat; None if it is not saved."""
        row = self._connection.execute(
            "SELECT updated FROM chats WHERE id = ?", (storable(chat_id),)
        ).fetchone()
        return None if row is None else as_moment(row["updated"])

    def search(self, query: Query, limit: int = FOUND_AT_MOST) -> list[Found]:
        """Return the messages that match a query, the best first.

        Args:
            query: If it has filters but no words, the newest messages come first.
            limit: Maximum number of messages, at least 1.
        """
        from tui_chat.storage.database.search import search  # here: the start does not need it

        return self._tolerating(lambda: search(self._connection, query, limit))

    def params(self, chat_id: str) -> dict[str, Any]:
        """Return the sampling parameters saved with a chat; empty if there are none.

        Args:
            chat_id: The full id.

        Raises:
            TranscriptNotFoundError: If there is no chat with that id.
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
        """Call `read`, and once more with replacement characters if a text is not valid UTF-8."""
        try:
            return read()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
        self._connection.text_factory = lambda content: content.decode(errors="replace")
        return read()


def _of_query(query: Query | None) -> tuple[str, list[str]]:
    """Return an SQL condition on a row of `chats` for a query, and its parameters."""
    if query is None:
        return "1", []
    from tui_chat.storage.database.search import of_chats  # here: the start does not need it

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
    """Open a short-lived reader for the calling thread.

    If there is no database file yet, the reader finds no chats.

    Args:
        path: The database file.

    Raises:
        StoreError: If the database cannot be read, is damaged, or belongs to another program or to
            a newer version of this one.
    """
    with open_reader(path) as connection:
        yield TranscriptReader(connection)
