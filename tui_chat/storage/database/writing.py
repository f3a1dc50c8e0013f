"""Writing of chats and messages to the database, through `TranscriptStore`.

A `TranscriptStore` belongs to one thread; during a chat that is the thread of
`saving.writer.TranscriptWriter`, which adds the queue and the retries.

A crash leaves no message unfinished for ever: a row that is `streaming` or `waiting` carries the
lease of the process that writes it, and `recover_interrupted` marks it `interrupted` after that
process has ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tui_chat.chat.conversation import Conversation, Message, now
from tui_chat.safe_text import storable
from tui_chat.storage.database.connection import transaction
from tui_chat.storage.database.file import open_database
from tui_chat.storage.database.leases import ProcessLease, is_live, sweep
from tui_chat.storage.database.reading import TranscriptReader
from tui_chat.storage.database.records import (
    MESSAGE_COLUMNS,
    RECOUNT_CHAT,
    ChatHeader,
    json_text,
    message_row,
    utc_text,
)
from tui_chat.storage.save_state import Notice

KEEP_DELETED = timedelta(days=30)
"""How long a deleted chat can be restored."""


class TranscriptStore(TranscriptReader):
    """The open database of one thread. Call the methods that write in `with store.change():`.

    Args:
        path: The database file; `database.file.open_database` creates, repairs and migrates it.
        clock: Returns the current time in UTC.
        lease: Shows other processes that this one is running. By default the store makes its own
            and releases it in `close`.
        factory: The connection class; tests inject faults with it.

    Raises:
        StoreError: If the database cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], datetime] = now,
        *,
        lease: ProcessLease | None = None,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        database = open_database(path, clock(), factory=factory)
        super().__init__(database.connection)
        self.path = database.path
        self.notices: tuple[Notice, ...] = database.notices
        self.is_read_only = database.is_read_only
        self.failed_write = database.failed_write
        """The error of the trial write at opening, if a later write may succeed; else None."""
        self._clock = clock
        self._lease = lease or ProcessLease(self.path)
        self._lends_lease = lease is not None
        if not self.is_read_only:
            self._lease.hold()
        self._recount: set[str] = set()

    def close(self) -> None:
        """Close the connection, and release the lease if the store made it."""
        self._connection.close()
        if not self._lends_lease:
            self._lease.release()

    def __enter__(self) -> TranscriptStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """Commit all changes of the block in one transaction, or none if the block raises.

        The turns and messages of the changed chats are recounted before the commit.

        Raises:
            sqlite3.Error: If the transaction cannot be committed.
        """
        self._recount.clear()
        with transaction(self._connection):
            yield
            for chat_id in self._recount:
                self._connection.execute(RECOUNT_CHAT, {"chat": chat_id})

    def save_header(self, header: ChatHeader) -> None:
        """Write everything of a chat apart from its messages; create the chat if it is new."""
        values = (
            utc_text(header.created),
            utc_text(header.updated),
            storable(header.title),
            storable(header.system),
            storable(header.model),
            None if header.leaf is None else storable(header.leaf),
        )
        said = (header.details, header.history, header.working)
        chat_id = storable(header.id)
        self._ensure_chat(chat_id, header.created)
        self._connection.execute(
            "UPDATE chats SET created = ?, updated = ?, title = ?, system = ?, model = ?,"
            " leaf = ?, details = ?, history = ?, working = ? WHERE id = ?",
            (*values, *map(json_text, said), chat_id),
        )
        if header.params is not None:
            self._connection.execute(
                "UPDATE chats SET params = ? WHERE id = ?", (json_text(header.params), chat_id)
            )
        self._recount.add(chat_id)

    def save_message(self, chat_id: str, message: Message) -> None:
        """Insert or update a message; create its chat if that is new."""
        row = message_row(chat_id, message)
        chat_id = row[0]
        before = self._connection.execute(
            "SELECT deleted FROM messages WHERE chat_id = ? AND id = ?", row[:2]
        ).fetchone()
        if before is None:
            self._ensure_chat(chat_id, message.created)
        if before is None or before["deleted"] != message.deleted:
            self._recount.add(chat_id)
        owner = self._lease.owner if message.is_unfinished else ""
        self._connection.execute(_UPSERT_MESSAGE, (*row, owner))

    def save_conversation(
        self, conversation: Conversation, params: Mapping[str, Any] | None = None
    ) -> None:
        """Write a whole chat, for example an imported one.

        Args:
            conversation: The chat.
            params: Its sampling parameters; None keeps the stored ones.
        """
        self.save_header(ChatHeader.of(conversation, params))
        for message in conversation.messages():
            self.save_message(conversation.id, message)

    def mark_deleted(self, chat_id: str, message_ids: Iterable[str], deleted: bool = True) -> None:
        """Mark messages as deleted, or restore them if `deleted` is false."""
        self._connection.executemany(
            "UPDATE messages SET deleted = ? WHERE chat_id = ? AND id = ?",
            [(int(deleted), storable(chat_id), storable(i)) for i in message_ids],
        )
        self._recount.add(storable(chat_id))

    def discard_message(self, chat_id: str, message_id: str) -> None:
        """Remove the row of a message that has no replies, as `Conversation.discard` does."""
        self._connection.execute(
            "DELETE FROM messages WHERE chat_id = ? AND id = ?",
            (storable(chat_id), storable(message_id)),
        )
        self._recount.add(storable(chat_id))

    def set_leaf(self, chat_id: str, leaf: str | None) -> None:
        """Save which message is the end of the active path; None for an empty path."""
        self._set(chat_id, "leaf", None if leaf is None else storable(leaf))
        self._recount.add(storable(chat_id))

    def rename(self, chat_id: str, title: str) -> None:
        """Save a new title of a chat."""
        self._set(chat_id, "title", storable(title))

    def delete(self, chat_id: str) -> None:
        """Mark a chat as deleted; `undelete` can restore it for `KEEP_DELETED`."""
        self._set(chat_id, "deleted_at", utc_text(self._clock()))

    def undelete(self, chat_id: str) -> None:
        """Restore a deleted chat."""
        self._set(chat_id, "deleted_at", None)

    def purge(self, older_than: timedelta = KEEP_DELETED) -> int:
        """Remove the chats for good that were deleted longer ago than `older_than`.

        This runs in its own transaction; do not call it inside `change`.

        Returns:
            The number of removed chats.
        """
        condition = "deleted_at IS NOT NULL AND deleted_at < ?"
        limit = (utc_text(self._clock() - older_than),)
        if not self._connection.execute(
            f"SELECT 1 FROM chats WHERE {condition} LIMIT 1", limit
        ).fetchone():
            return 0
        with self.change():
            removed = self._connection.execute(f"DELETE FROM chats WHERE {condition}", limit)
            return removed.rowcount

    def recover_interrupted(self) -> int:
        """Mark the messages that ended processes were writing as interrupted.

        Their text stays, and messages of running processes are left alone. This runs in its own
        transaction; do not call it inside `change`.

        Returns:
            The number of marked messages.
        """
        own = self._lease.owner
        sweep(self.path)
        owners = [
            row["owner"]
            for row in self._connection.execute(
                "SELECT DISTINCT owner FROM messages WHERE owner <> ''"
            )
        ]
        ended = [o for o in owners if o != own and not is_live(self.path, o)]
        if not ended:
            return 0
        count = 0
        with self.change():
            for owner in ended:
                count += self._connection.execute(
                    "UPDATE messages SET status = 'interrupted', owner = '' WHERE owner = ?",
                    (owner,),
                ).rowcount
        return count

    def claim_import(self, name: str) -> bool:
        """Record that a file is being imported, in the transaction of that import.

        Args:
            name: A name that identifies the file and its content.

        Returns:
            False if the file was imported before.
        """
        changed = self._connection.execute(
            "INSERT OR IGNORE INTO imported_files (name, imported) VALUES (?, ?)",
            (name, utc_text(self._clock())),
        )
        return changed.rowcount == 1

    def stored_status(self, chat_id: str, message_id: str) -> str | None:
        """Return the status of a saved message; None if it is not saved."""
        row = self._connection.execute(
            "SELECT status FROM messages WHERE chat_id = ? AND id = ?",
            (storable(chat_id), storable(message_id)),
        ).fetchone()
        return None if row is None else str(row["status"])

    def _set(self, chat_id: str, column: str, value: str | None) -> None:
        self._connection.execute(
            f"UPDATE chats SET {column} = ? WHERE id = ?", (value, storable(chat_id))
        )

    def _ensure_chat(self, chat_id: str, created: datetime) -> None:
        """Create the row of a chat if it does not exist."""
        moment = utc_text(created)
        self._connection.execute(
            "INSERT OR IGNORE INTO chats (id, created, updated) VALUES (?, ?, ?)",
            (chat_id, moment, moment),
        )


_UPSERT_MESSAGE = (
    f"INSERT INTO messages ({', '.join(MESSAGE_COLUMNS)}, owner)"
    f" VALUES ({', '.join('?' * (len(MESSAGE_COLUMNS) + 1))})"
    " ON CONFLICT (chat_id, id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in (*MESSAGE_COLUMNS[2:], "owner"))
)
