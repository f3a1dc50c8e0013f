"""One connection to the transcript database: its settings, and its errors in plain words.

A rollback journal with full synchronisation: a commit survives a killed process and a power cut.
Write-ahead logging is not used; SQLite before 3.51.3 can corrupt it when two processes write, and
it cannot be read in a read-only folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tui_chat.errors import StoreError

BUSY_TIMEOUT_MS = 5000
"""How long a connection waits for another process's lock."""

REPAIR_HINT = "Start tui-chat: it sets the file aside and saves what is readable"
NO_WRITING = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)
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
    """A connection to an existing database, with the settings that every one has.

    Falls back to SQLite's read-only mode where the file cannot be opened for writing.

    Raises:
        sqlite3.Error: If it cannot be opened. A missing file is never made.
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

    Damage is not reported here: `damage_of` looks for it and can say more.
    """
    connection.row_factory = sqlite3.Row
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = EXTRA")
        # What is deleted is overwritten: it is gone for a reader of the file, and for `salvage`.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA journal_mode = DELETE")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # These statements are right, so that an error in one of them is the file's.
        if not is_damage(error) and primary_code(error) != sqlite3.SQLITE_ERROR:
            raise


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A write transaction: all of it is committed, or nothing.

    It takes the write lock at once; a transaction that begins by reading can't wait for the lock
    later, SQLite fails it without a time-out.
    """
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
    """The error to show when the database cannot be used."""
    hint = "Check the folder's permissions and the disk, then start again"
    if is_damage(error):
        hint = REPAIR_HINT
    return StoreError(f"The transcript database {path} cannot be used", reason(error), hint)


def primary_code(error: BaseException | None) -> int:
    """The primary result code of SQLite in an error; 0 for any other error, and for none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_damage(error: BaseException) -> bool:
    """Whether an error says that the content of a database file is broken.

    Rotten names in the schema reach Python as text that is not UTF-8.
    """
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(error, UnicodeDecodeError) or primary_code(error) in codes


def is_environment(error: BaseException) -> bool:
    """Whether the disk or the file is to blame, so that the same change can work later."""
    return is_damage(error) or isinstance(
        error, sqlite3.OperationalError | OSError | StoreError | MemoryError
    )


def reason(error: BaseException) -> str:
    """Why the database could not be written or read, in one clause for people."""
    if isinstance(error, StoreError):
        return _REASONS.get(primary_code(error.__cause__), error.one_line)
    if code := primary_code(error):
        return _REASONS.get(code, str(error))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
