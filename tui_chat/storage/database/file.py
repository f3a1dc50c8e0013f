"""Opening the transcript database file: create, check, repair and migrate it.

The database is one SQLite file that only its owner can read. It appears under its name only when
it is complete, and a damaged file is never deleted: it gets a dated name, and its readable rows go
into a new file.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tui_chat.chat.conversation import now
from tui_chat.config.paths import private_dir
from tui_chat.errors import StoreError
from tui_chat.storage.atomic import sync_folder
from tui_chat.storage.database.connection import (
    NO_WRITING,
    REPAIR_HINT,
    connect,
    primary_code,
    transaction,
    unusable,
)
from tui_chat.storage.database.leases import repair_lock
from tui_chat.storage.database.migrations import (
    MIGRATIONS,
    Migration,
    migrate,
    refuse_foreign,
    schema_version,
)
from tui_chat.storage.database.salvage import damage_of, salvage, set_aside
from tui_chat.storage.save_state import Notice


@dataclass(frozen=True, slots=True)
class Database:
    """An open database and what was found while opening it."""

    path: Path
    connection: sqlite3.Connection
    notices: tuple[Notice, ...] = ()
    is_read_only: bool = False
    failed_write: sqlite3.OperationalError | None = None
    """The error of the trial write, if a later write may succeed, for example on a full disk."""


def open_database(
    path: Path,
    moment: datetime | None = None,
    *,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> Database:
    """Open the database for writing; create, repair and migrate it if needed.

    Args:
        path: The file. A missing folder is created with mode 0700.
        moment: Time for the names of files that are set aside or copied; now by default.
        factory: The connection class; tests inject faults with it.
        migrations: All migrations, oldest first.

    Returns:
        The database with its connection, in autocommit mode, and notices for the user. It is
        read-only if the file or its folder is.

    Raises:
        StoreError: If the file cannot be opened, or belongs to another program or to a newer
            version of this one.
    """
    moment = moment or now()
    path = Path(os.path.realpath(path))  # a repair must rename the file, not a link to it
    notices: list[Notice] = []
    try:
        private_dir(path.parent)
        with repair_lock(path):
            if path.exists():
                notices += _repair(path, moment, factory, migrations)
            else:
                _create(path, moment, factory, migrations)
        connection = connect(path, factory=factory)
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise unusable(path, error) from error
    try:
        refuse_foreign(connection, path, migrations)
        failed_write = _try_to_write(connection)
        if is_read_only := primary_code(failed_write) in NO_WRITING:
            notices.append(_read_only_notice(path))
        elif copy := migrate(connection, path, moment, migrations):
            notices.append(
                Notice("migrated", f"The chats were updated; a copy from before is {copy}.", copy)
            )
        _make_private(path)
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise unusable(path, error) from error
    except StoreError:
        connection.close()
        raise
    may_succeed = None if is_read_only else failed_write
    return Database(path, connection, tuple(notices), is_read_only, may_succeed)


@contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a short-lived connection for the calling thread that only reads committed data.

    If there is no file yet, the connection is to an empty database in memory. A file with an older
    schema is migrated first.

    Raises:
        StoreError: If the database cannot be read, is damaged, or belongs to another program or to
            a newer version of this one.
    """
    try:
        if not path.exists():
            connection = sqlite3.connect(":memory:", isolation_level=None)
            connection.row_factory = sqlite3.Row
            migrate(connection, None, now())
        else:
            connection = connect(path, query_only=True)
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise unusable(path, error) from error
    with closing(connection):
        try:
            refuse_foreign(connection, path)
            version = schema_version(connection)
            if version == 0:
                raise StoreError(
                    f"The transcript database {path} is damaged", "It holds nothing", REPAIR_HINT
                )
            if version == len(MIGRATIONS):
                yield connection
                return
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise unusable(path, error) from error
    open_database(path).connection.close()
    with open_reader(path) as migrated:
        yield migrated


def _create(
    path: Path,
    moment: datetime,
    factory: type[sqlite3.Connection],
    migrations: Sequence[Migration],
) -> None:
    """Create an empty database atomically."""
    with _fresh_beside(path, moment, factory, migrations) as (partial, _):
        pass
    os.rename(partial, path)  # overwrites nothing: the caller holds `repair_lock`
    sync_folder(path.parent)


@contextmanager
def _fresh_beside(
    path: Path,
    moment: datetime,
    factory: type[sqlite3.Connection],
    migrations: Sequence[Migration],
) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """Create a database under a temporary name, so that no process sees an incomplete file.

    Yields its path and a connection, which is closed when the block ends. The caller renames the
    file; if the block raises, it is deleted.
    """
    partial = path.with_name(f"{path.name}.new-{uuid.uuid4().hex[:8]}")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(connect(partial, factory=factory)) as connection:
            migrate(connection, None, moment, migrations)
            yield partial, connection
    except BaseException:
        for leftover in (partial, partial.with_name(partial.name + "-journal")):
            with suppress(OSError):
                leftover.unlink()
        raise


def _repair(
    path: Path,
    moment: datetime,
    factory: type[sqlite3.Connection],
    migrations: Sequence[Migration],
) -> list[Notice]:
    """If the database is damaged, replace it by a new file with its readable rows.

    The damaged file is kept under a dated name.

    Returns:
        A notice for the user; nothing if the database is not damaged.
    """
    with closing(connect(path)) as connection:
        damage = damage_of(connection, path, len(migrations))
    if not damage:
        return []
    with (
        _fresh_beside(path, moment, factory, migrations) as (partial, fresh),
        transaction(fresh),
    ):
        rows = salvage(path, fresh, moment)
    aside = set_aside(path, moment, partial)
    sync_folder(path.parent)
    saved = (
        f"{rows.messages} messages of {rows.chats} chats could be read and are in a new one"
        if rows.chats
        else "no chat in it could be read"
    )
    return [
        Notice(
            "damaged",
            f"The transcript database was damaged: {damage}. It was moved to {aside}; {saved}.",
            aside,
        )
    ]


def _try_to_write(connection: sqlite3.Connection) -> sqlite3.OperationalError | None:
    """Try a write that changes nothing; return its error, or None if it worked."""
    try:
        with transaction(connection):
            connection.execute(f"PRAGMA user_version = {schema_version(connection)}")
    except sqlite3.OperationalError as error:
        return error
    return None


def _read_only_notice(path: Path) -> Notice:
    return Notice(
        "read-only",
        f"{path} can only be read: chats can be opened, but nothing is saved. "
        "Make the file and its folder writable.",
        path,
    )


def _make_private(path: Path) -> None:
    """Remove the permissions of group and others from a file that came from elsewhere."""
    with suppress(OSError):
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            path.chmod(mode & 0o700)
