"""Connections to the transcript database: settings, transactions and error messages.

Every connection uses a rollback journal with `synchronous = EXTRA`, so that a commit survives a
killed process and a power cut. Write-ahead logging is not used: SQLite before 3.51.3 can corrupt
such a log when two processes write, and a database with one cannot be read in a read-only folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tui_chat.errors import StoreError

BUSY_TIMEOUT_MS = 5000
"""How long a connection waits for another process's lock, in milliseconds."""

REPAIR_HINT = "Start tui-chat: it sets the file aside and saves what is readable"
NO_WRITING = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)
"""Primary result codes that mean the database cannot be opened for writing."""
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reported an input/output error",
    sqlite3.SQLITE_READONLY: "the database or its folder is read-only",
    sqlite3.SQLITE_PERM: "the database or its folder is read-only",
    sqlite3.SQLITE_CANTOPEN: "the database or its folder cannot be opened",
    sqlite3.SQLITE_BUSY: "another program has locked the database",
    sqlite3.SQLITE_LOCKED: "another program has locked the database",
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
}


def connect(
    path: Path,
    *,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
    query_only: bool = False,
) -> sqlite3.Connection:
    """Open an existing database in autocommit mode, with the settings of every connection.

    If the file cannot be opened for writing, SQLite's read-only mode is used instead. A missing
    file is never created.

    Args:
        path: The database file.
        factory: The connection class; tests inject faults with it.
        query_only: Refuse writes on this connection.

    Raises:
        sqlite3.Error: If the file cannot be opened.
    """
    try:
        connection = _connect(path, "rw", factory)
    except sqlite3.OperationalError as error:
        if primary_code(error) not in NO_WRITING:
            raise
        connection = _connect(path, "ro", factory)
    if query_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: Path, mode: str, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_MS / 1000,
        factory=factory,
    )
    try:
        _configure(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    """Apply the settings of every connection.

    Errors from a damaged file are ignored here; `salvage.damage_of` reports damage in more detail.
    """
    connection.row_factory = sqlite3.Row
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = EXTRA")
        # Overwrite deleted rows: otherwise anyone who reads the raw file could see them, and
        # `salvage` would restore them.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA journal_mode = DELETE")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # These statements are valid, so even SQLITE_ERROR comes from the file.
        if not is_damage(error) and primary_code(error) != sqlite3.SQLITE_ERROR:
            raise


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one write transaction; roll it back if the block raises."""
    # Take the write lock now. If a transaction that began with a read needs the lock later, SQLite
    # can fail it at once instead of waiting for the busy timeout.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def unusable(path: Path, error: Exception) -> StoreError:
    """Return the error that tells the user why the database cannot be used, and what to do."""
    hint = "Check the folder's permissions and the disk, then start again"
    if is_damage(error):
        hint = REPAIR_HINT
    return StoreError(f"The transcript database {path} cannot be used", reason(error), hint)


def primary_code(error: BaseException | None) -> int:
    """Return the primary SQLite result code of an error; 0 for None and for any other error."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_damage(error: BaseException) -> bool:
    """Return whether an error means that the content of a database file is damaged.

    `UnicodeDecodeError` counts as well: damaged names in the schema are no longer valid UTF-8.
    """
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(error, UnicodeDecodeError) or primary_code(error) in codes


def is_environment(error: BaseException) -> bool:
    """Return whether the disk or the file caused an error, so that a retry can succeed later."""
    return is_damage(error) or isinstance(
        error, sqlite3.OperationalError | OSError | StoreError | MemoryError
    )


def reason(error: BaseException) -> str:
    """Return the cause of a database error as one clause for the user."""
    if isinstance(error, StoreError):
        return _REASONS.get(primary_code(error.__cause__), error.one_line)
    if code := primary_code(error):
        return _REASONS.get(code, str(error))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
