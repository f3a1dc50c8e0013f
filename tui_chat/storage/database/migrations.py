"""The schema of the transcript database, as an append-only list of migrations.

Each migration and its new `user_version` are committed in one transaction, so that a database is
never half migrated. Before an existing database is changed, a copy is made beside it. Add new
columns at the end of their table: `salvage` reads the rows of a damaged file by position.
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
    """One change of the schema."""

    name: str
    statements: tuple[str, ...]
    """SQL statements, run one by one: `executescript` would first commit the transaction."""


MIGRATIONS: tuple[Migration, ...] = (
    # A chat is a tree of messages with one active leaf.
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
            # `seq` keeps the order in which messages were added. `owner` is the lease of the
            # process that is writing an unfinished message, and empty for a finished one.
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
            # Few messages are unfinished, so this partial index finds them at once at the start.
            "CREATE INDEX messages_unfinished ON messages (owner) WHERE owner <> ''",
            # Spill files that have been imported, so that none is imported twice.
            """CREATE TABLE imported_files (
                name TEXT NOT NULL PRIMARY KEY,
                imported TEXT NOT NULL
            )""",
        ),
    ),
    # `marks` and `details`: what the user says about messages and chats. `history`: the steps that
    # can be undone. `working`: the draft and the parameters in use.
    Migration(
        "marks, details, history and work under way",
        (
            "ALTER TABLE messages ADD COLUMN marks TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE chats ADD COLUMN details TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE chats ADD COLUMN history TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE chats ADD COLUMN working TEXT NOT NULL DEFAULT '{}'",
        ),
    ),
    # Full-text search over finished messages. The FTS5 table has no copy of the texts: it reads
    # them from `messages`. `prefix` speeds up words of which one or two letters are typed; the two
    # indexes at the end serve the filters.
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
            # A reply enters the index when it is finished. One trigger does both steps, because
            # SQLite does not define the order of two triggers.
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
    """Return the number of migrations that a database has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_foreign(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Check that a database is a transcript database that this version of the program knows.

    Raises:
        StoreError: If a newer version of the program or another program made it.
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
    """Run the migrations that a database has not had yet.

    Args:
        connection: A connection in autocommit mode (`isolation_level=None`).
        path: The database file; None for a new or in-memory database, which needs no copy.
        moment: Time for the name of the copy.
        migrations: All migrations, oldest first.

    Returns:
        The copy of an existing database from before the change; None if there was nothing to copy.

    Raises:
        StoreError: If the copy cannot be made; the database is unchanged.
        sqlite3.Error: If a migration fails; the migrations before it stay committed.
    """
    version = schema_version(connection)
    copy = None
    if path is not None and 0 < version < len(migrations):
        copy = _copy_beside(connection, path, version, moment)
    while version < len(migrations):
        with transaction(connection):
            # Read the version again: another process may have migrated while this one waited for
            # the write lock.
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
    """Copy a database to a file in the same folder, named after its version and the time."""
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
