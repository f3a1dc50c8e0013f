"""The schema of the transcript database, as a list of migrations that only ever grows.

Each migration is one transaction together with the new `user_version`, so that a database is
never half migrated. Before an existing database is changed, a copy is put beside it. New columns
go to the end of their table: `salvage` reads rows of a damaged file by position.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tui_chat.errors import StoreError
from tui_chat.storage.database.connection import transaction

APPLICATION_ID = 0x54434854
"""`TCHT`: marks a SQLite file as a transcript database of this program."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    name: str
    statements: tuple[str, ...]
    """Run one by one: `executescript` would commit before it starts."""


MIGRATIONS: tuple[Migration, ...] = (
    # A chat is a tree of messages from the first version on, with one active leaf.
    Migration(
        "chats and messages",
        (
            f"PRAGMA application_id = {APPLICATION_ID}",
            """CREATE TABLE chats (
                id TEXT NOT NULL PRIMARY KEY,
                created TEXT NOT NULL,
                updated TEXT NOT NULL,
                title TEXT NOT NULL DEFAULT '',
                system TEXT NOT NULL DEFAULT '',
                model TEXT NOT NULL DEFAULT '',
                params TEXT NOT NULL DEFAULT '{}',
                leaf TEXT,
                turns INTEGER NOT NULL DEFAULT 0,
                messages INTEGER NOT NULL DEFAULT 0,
                deleted_at TEXT
            )""",
            # `seq` keeps the order in which messages were added. `owner` names the process that
            # still writes to an unfinished message.
            """CREATE TABLE messages (
                seq INTEGER PRIMARY KEY,
                chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
                id TEXT NOT NULL,
                parent_id TEXT,
                role TEXT NOT NULL,
                created TEXT NOT NULL,
                status TEXT NOT NULL,
                deleted INTEGER NOT NULL DEFAULT 0,
                text TEXT NOT NULL,
                finish_reason TEXT NOT NULL DEFAULT '',
                error TEXT NOT NULL DEFAULT '',
                token_ids BLOB,
                tokenizer TEXT NOT NULL DEFAULT '',
                model TEXT NOT NULL DEFAULT '',
                precision TEXT NOT NULL DEFAULT '',
                seed TEXT,
                params TEXT NOT NULL DEFAULT '{}',
                stats TEXT NOT NULL DEFAULT '{}',
                owner TEXT NOT NULL DEFAULT '',
                UNIQUE (chat_id, id)
            )""",
            "CREATE INDEX chats_by_update ON chats (updated)",
            # Few rows are unfinished, so that finding them at start costs nothing.
            "CREATE INDEX messages_unfinished ON messages (owner) WHERE owner <> ''",
            # Files with unsaved changes that were read in, so that each is read in once.
            """CREATE TABLE imported_files (
                name TEXT NOT NULL PRIMARY KEY,
                imported TEXT NOT NULL
            )""",
        ),
    ),
    # What the user says about messages and chats, the steps that can be undone, and a draft.
    Migration(
        "marks, details, history and work under way",
        (
            "ALTER TABLE messages ADD COLUMN marks TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE chats ADD COLUMN details TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE chats ADD COLUMN history TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE chats ADD COLUMN working TEXT NOT NULL DEFAULT '{}'",
        ),
    ),
    # Finished messages are found by their words. The index reads the texts where they are; words
    # of which one or two letters are typed have an index of their own, as what is known of
    # messages beside their words.
    Migration(
        "search",
        (
            """CREATE VIRTUAL TABLE messages_found USING fts5 (
                text, content = 'messages', content_rowid = 'seq',
                tokenize = "unicode61 remove_diacritics 2", prefix = '1 2'
            )""",
            """CREATE TRIGGER found_inserted AFTER INSERT ON messages
            WHEN new.owner = '' BEGIN
                INSERT INTO messages_found (rowid, text) VALUES (new.seq, new.text);
            END""",
            """CREATE TRIGGER found_deleted AFTER DELETE ON messages
            WHEN old.owner = '' BEGIN
                INSERT INTO messages_found (messages_found, rowid, text)
                VALUES ('delete', old.seq, old.text);
            END""",
            # A reply is not in the index while it is written. Both steps in one trigger: the order
            # of two is not defined.
            """CREATE TRIGGER found_updated AFTER UPDATE OF text, owner ON messages
            WHEN old.text <> new.text OR old.owner <> new.owner BEGIN
                INSERT INTO messages_found (messages_found, rowid, text)
                SELECT 'delete', old.seq, old.text WHERE old.owner = '';
                INSERT INTO messages_found (rowid, text)
                SELECT new.seq, new.text WHERE new.owner = '';
            END""",
            """INSERT INTO messages_found (rowid, text)
            SELECT seq, text FROM messages WHERE owner = ''""",
            "CREATE INDEX messages_by_time ON messages (created, model)",
            "CREATE INDEX messages_marked ON messages (chat_id) WHERE marks <> '{}'",
        ),
    ),
)


def schema_version(connection: sqlite3.Connection) -> int:
    """The number of migrations that a database has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_foreign(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Refuse a database that a newer program wrote, or that is not a transcript database.

    Raises:
        StoreError: In both cases; the file stays as it is.
    """
    version = schema_version(connection)
    if version > len(migrations):
        raise StoreError(
            f"The transcript database {path} is newer than this program",
            f"It has version {version}, this program knows versions up to {len(migrations)}",
            "Update tui-chat, or set TUI_CHAT_HOME to another folder",
        )
    application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
    has_tables = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if has_tables and application_id != APPLICATION_ID:
        raise StoreError(
            f"{path} is not a transcript database",
            "It is a SQLite database that another program made",
            "Move it elsewhere, or set TUI_CHAT_HOME to another folder",
        )


def migrate(
    connection: sqlite3.Connection,
    path: Path | None,
    moment: datetime,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> Path | None:
    """Bring a database to the newest version.

    Args:
        connection: In autocommit mode (`isolation_level=None`).
        path: The database file; None for one in memory, which needs no copy.
        moment: Dates the name of the copy.
        migrations: All migrations, oldest first.

    Returns:
        The copy that was made before an existing database was changed; None if none was needed.

    Raises:
        StoreError: If the copy cannot be made; nothing is changed then.
        sqlite3.Error: If a migration fails; the database is as the last good one left it.
    """
    version = schema_version(connection)
    copy = None
    if path is not None and 0 < version < len(migrations):
        copy = _copy_beside(connection, path, version, moment)
    while version < len(migrations):
        with transaction(connection):
            # Another process may have migrated while this one waited for the lock.
            version = schema_version(connection)
            if version < len(migrations):
                for statement in migrations[version].statements:
                    connection.execute(statement)
                version += 1
                connection.execute(f"PRAGMA user_version = {version}")
    return copy


def _copy_beside(
    connection: sqlite3.Connection, path: Path, version: int, moment: datetime
) -> Path:
    """Copy a database to a dated file in the same folder."""
    copy = path.with_name(f"{path.name}.v{version}-{moment:%Y%m%d-%H%M%S}.bak")
    partial = copy.with_name(copy.name + ".part")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        target = sqlite3.connect(partial)
        try:
            connection.backup(target)
        finally:
            target.close()
        os.replace(partial, copy)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            partial.unlink()
        raise StoreError(
            f"The transcript database {path} cannot be updated",
            f"A copy of it could not be made first: {error}",
            "Free some disk space and start again",
        ) from error
    return copy
