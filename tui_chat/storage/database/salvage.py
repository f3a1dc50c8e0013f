"""Rescue from a damaged transcript database: detect damage, set the file aside, save its rows.

The damaged file is renamed but never changed. Rows are read from a copy of it, on which SQLite can
first roll back an unfinished transaction. Rows that are not intact are left out rather than
guessed, and the caller gets the number of chats and messages that were saved.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tui_chat.chat.conversation import title_from
from tui_chat.storage.database.connection import is_damage, primary_code
from tui_chat.storage.database.damaged_pages import rows_on_leaf_pages
from tui_chat.storage.database.migrations import APPLICATION_ID, schema_version
from tui_chat.storage.database.records import (
    MESSAGE_COLUMNS,
    RECOUNT_CHAT,
    ROLES,
    utc_text,
    utc_time,
)

_CHAT_COLUMNS = (
    "id", "created", "updated", "title", "system", "model", "params", "leaf",
    "turns", "messages", "deleted_at",
)  # fmt: skip
_STORED_MESSAGE_COLUMNS = ("seq", *(name for name in MESSAGE_COLUMNS if name != "marks"), "owner")
_LATER_CHAT_COLUMNS = ("details", "history", "working")
_LATER_MESSAGE_COLUMNS = ("marks",)
"""Columns added by a migration. A row that was written before ends without them."""
_TABLES = {"chats": _CHAT_COLUMNS, "messages": _STORED_MESSAGE_COLUMNS}
"""Columns of every schema version, in their order in the file."""
_HIGHEST_FORMAT = 2
"""Highest file format write version: 1 is a rollback journal, 2 a write-ahead log."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Numbers of the chats and messages saved from a damaged database."""

    chats: int
    messages: int


def damage_of(connection: sqlite3.Connection, path: Path, newest_version: int) -> str:
    """Return how a database file is damaged, as one clause; empty if it is not.

    Args:
        connection: A connection to the file.
        path: The file.
        newest_version: The highest schema version that this program knows. A file with a higher
            version is not checked.

    Raises:
        sqlite3.Error: If the file cannot be read for another reason, for example a lock.
        OSError: If the file cannot be opened.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        return "it is empty (0 bytes)"
    if len(header) < 100:
        return "it is too short"
    if header[18] > _HIGHEST_FORMAT:  # SQLite would open the file as read-only
        return "its header is damaged"
    try:
        version = schema_version(connection)
        if version > newest_version:
            return ""  # only the newer program knows what is right
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version <= 0:
            application_id = connection.execute("PRAGMA application_id").fetchone()[0]
            return "" if tables and application_id != APPLICATION_ID else "its version is lost"
        for table, columns in _TABLES.items():
            connection.execute(f"SELECT {', '.join(columns)} FROM {table} LIMIT 0")
        verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        return "" if verdict == "ok" else "its pages contradict each other"
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if primary_code(error) == sqlite3.SQLITE_ERROR:
            return "its tables are not as they were made"
        if is_damage(error):
            return "a part of it cannot be read"
        raise


def set_aside(path: Path, moment: datetime, successor: Path) -> Path:
    """Give a damaged database a dated name and put its successor in its place.

    Args:
        path: The damaged database.
        moment: Time for the dated name.
        successor: The new database, in the same folder.

    Returns:
        The new path of the damaged file.

    Raises:
        OSError: If a file cannot be renamed.
    """
    base = path.with_name(f"{path.name}.damaged-{moment:%Y%m%d-%H%M%S}")
    aside, count = base, 1
    while aside.exists():
        count += 1
        aside = base.with_name(f"{base.name}-{count}")
    journal = path.with_name(path.name + "-journal")
    if journal.exists():  # SQLite would roll the new database back with the old journal
        os.rename(journal, aside.with_name(aside.name + "-journal"))
    try:
        os.link(path, aside)  # a link and a replace leave no moment without a database
    except OSError:
        os.rename(path, aside)
    os.replace(successor, path)
    return aside


def salvage(damaged: Path, fresh: sqlite3.Connection, moment: datetime) -> Salvaged:
    """Save the readable chats and messages of a damaged file into a fresh database.

    Args:
        damaged: The damaged file, which is only read.
        fresh: A connection to an empty database of the newest schema version, inside a transaction
            of the caller.
        moment: The time for a chat whose own times are lost.

    Returns:
        The numbers of saved chats and messages.
    """
    with tempfile.TemporaryDirectory(prefix="tui-chat-") as folder:
        source = damaged
        with suppress(OSError):  # if there is no room for a copy, read the file itself
            source = _rolled_back_copy(damaged, Path(folder))
        for row_id, values in rows_on_leaf_pages(source):
            _save_row(fresh, row_id, values)
    _adopt_orphans(fresh, moment)
    for row in fresh.execute("SELECT id FROM chats").fetchall():
        fresh.execute(RECOUNT_CHAT, {"chat": row[0]})
    chats, messages = (
        fresh.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("chats", "messages")
    )
    return Salvaged(chats, messages)


def _rolled_back_copy(damaged: Path, folder: Path) -> Path:
    """Copy a database with its journal and let SQLite roll back an unfinished transaction."""
    copy = folder / "copy.db"
    shutil.copyfile(damaged, copy)
    journal = damaged.with_name(damaged.name + "-journal")
    if journal.exists():
        shutil.copyfile(journal, folder / "copy.db-journal")
        with suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return copy


def _save_row(fresh: sqlite3.Connection, row_id: int, values: list[Any]) -> None:
    """Insert a row if it has the shape of a message or a chat; ignore any other row.

    If a chat occurs several times, the most recently updated row wins.
    """
    row = _as_message(row_id, values)
    table = "messages"
    if row is None:
        row = _as_chat(values)
        table = "chats"
    if row is None:
        return
    names = ", ".join(row)
    marks = ", ".join("?" * len(row))
    with suppress(sqlite3.Error):
        if table == "messages":
            # The chat's row may come later or be lost. This placeholder satisfies the foreign key:
            # with its empty times, any real row replaces it, and `_adopt_orphans` finds it.
            fresh.execute(
                "INSERT OR IGNORE INTO chats (id, created, updated) VALUES (?, '', '')",
                (row["chat_id"],),
            )
            fresh.execute(
                f"INSERT OR IGNORE INTO messages ({names}) VALUES ({marks})", tuple(row.values())
            )
        else:
            updates = ", ".join(f"{name} = excluded.{name}" for name in row if name != "id")
            fresh.execute(
                f"INSERT INTO chats ({names}) VALUES ({marks}) ON CONFLICT (id) "
                f"DO UPDATE SET {updates} WHERE excluded.updated > chats.updated",
                tuple(row.values()),
            )


def _as_message(row_id: int, values: list[Any]) -> dict[str, Any] | None:
    # SQLite stores the INTEGER PRIMARY KEY `seq` as NULL, because it is the row id.
    if len(values) < len(_STORED_MESSAGE_COLUMNS) or values[0] is not None:
        return None
    columns = (*_STORED_MESSAGE_COLUMNS, *_LATER_MESSAGE_COLUMNS)
    row = dict(zip(columns, values, strict=False))
    if row["role"] not in ROLES or not _is_moment(row["created"]):
        return None
    return row | {"seq": row_id}


def _as_chat(values: list[Any]) -> dict[str, Any] | None:
    if len(values) < len(_CHAT_COLUMNS) or not isinstance(values[0], str):
        return None
    row = dict(zip((*_CHAT_COLUMNS, *_LATER_CHAT_COLUMNS), values, strict=False))
    if not (_is_moment(row["created"]) and _is_moment(row["updated"])):
        return None
    return row


def _is_moment(value: object) -> bool:
    try:
        utc_time(str(value))
    except ValueError:
        return False
    return True


def _adopt_orphans(fresh: sqlite3.Connection, moment: datetime) -> None:
    """Replace missing leaves, and fill in the rows of chats of which only messages are left."""
    fresh.execute(
        "UPDATE chats SET leaf = (SELECT id FROM messages WHERE chat_id = chats.id"
        " ORDER BY seq DESC LIMIT 1) WHERE leaf IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM messages WHERE chat_id = chats.id AND id = chats.leaf)"
    )
    for chat_id, text in _orphans(fresh):
        last, created, updated = fresh.execute(
            "SELECT id, min(created), max(created), max(seq) FROM messages WHERE chat_id = ?",
            (chat_id,),
        ).fetchone()[:3]
        title = title_from(text) or "Recovered chat"
        fresh.execute(
            "UPDATE chats SET title = ?, created = ?, updated = ?, leaf = ? WHERE id = ?",
            (title, created or utc_text(moment), updated or utc_text(moment), last, chat_id),
        )


def _orphans(fresh: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    rows = fresh.execute(
        "SELECT chats.id, coalesce((SELECT text FROM messages WHERE chat_id = chats.id"
        " ORDER BY seq LIMIT 1), '') FROM chats WHERE created = ''"
    ).fetchall()
    yield from ((row[0], row[1]) for row in rows)
