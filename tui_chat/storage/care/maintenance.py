"""Maintenance of the transcript database: check and repair it, back it up, compact it.

The chat itself needs none of this. `check` examines the rows and the search index as well as the
pages, whereas `database.file.open_database` examines the pages only and sets a damaged file aside.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tui_chat.chat.conversation import now
from tui_chat.errors import StoreError
from tui_chat.storage.atomic import put_in_place
from tui_chat.storage.database.connection import (
    NO_WRITING,
    connect,
    is_damage,
    primary_code,
    transaction,
    unusable,
)
from tui_chat.storage.database.file import open_database
from tui_chat.storage.database.leases import has_living_process, repair_lock
from tui_chat.storage.database.migrations import MIGRATIONS, refuse_foreign, schema_version
from tui_chat.storage.database.reading import TranscriptReader
from tui_chat.storage.database.records import RECOUNT_CHAT
from tui_chat.storage.database.salvage import damage_of

ProblemKind = Literal["damage", "pages", "index", "chat", "parent", "leaf", "count"]
"""`damage`, `pages`: the file itself is damaged. `index`: the search index differs from the
messages. `chat`: a message has no chat. `parent`: a message's parent is missing, or a message is
its own ancestor. `leaf`: the message at the end of a chat's active path is missing. `count`: the
stored number of turns or messages of a chat is wrong."""
_MOST_PAGE_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a database."""

    kind: ProblemKind
    text: str
    """One sentence without a full stop."""
    chat_id: str = ""
    """Id of the chat concerned; empty if the fault is not in a single chat."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The size of a database and its faults."""

    chats: int
    messages: int
    problems: tuple[Problem, ...] = ()
    """Faults that remain, after a repair if there was one."""
    repaired: tuple[Problem, ...] = ()
    """Faults that the repair removed."""
    is_index_checked: bool = True
    """False for a read-only database: SQLite compares the index in a write transaction."""


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Size of the database file before and after compaction, in bytes."""

    before: int
    after: int


def check(path: Path, *, repair: bool = False) -> CheckReport:
    """Check the pages, rows and search index of a database.

    If the pages are damaged, the report holds only those faults, because the rows cannot be
    trusted. A database with an older schema is migrated first.

    Args:
        path: The database; it must exist.
        repair: Repair the rows and rebuild the search index. Damaged pages stay: the next start of
            the chat salvages the readable rows.

    Raises:
        StoreError: If the file is missing or locked, or belongs to another program or to a newer
            version of this one.
    """
    _require(path)
    try:
        with closing(connect(path)) as connection:
            damage = damage_of(connection, path, len(MIGRATIONS))
            if damage:
                return CheckReport(0, 0, (*_page_problems(connection, damage),))
        with _current(path) as connection:
            problems = [*_row_problems(connection)]
            in_index = _index_problem(connection)
            found = (*problems, *([in_index] if isinstance(in_index, Problem) else []))
            if repair and found:
                _repair(connection)
                after = check(path)
                mended = tuple(problem for problem in found if problem not in after.problems)
                return CheckReport(after.chats, after.messages, after.problems, mended)
            chats, messages = connection.execute(
                "SELECT (SELECT count(*) FROM chats), (SELECT count(*) FROM messages)"
            ).fetchone()
            return CheckReport(chats, messages, found, is_index_checked=in_index != "unchecked")
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise unusable(path, error) from error


def backup(path: Path, target: Path, *, overwrite: bool = False) -> int:
    """Copy a consistent snapshot of a database, even while other programs write to it.

    Args:
        path: The database.
        target: The copy, written atomically and readable by its owner only.
        overwrite: Replace an existing file.

    Returns:
        Size of the copy, in bytes.

    Raises:
        StoreError: If `path` does not exist, `target` is the database itself, `target` exists and
            `overwrite` is false, or `target` cannot be written. An existing target is left
            unchanged.
    """
    _require(path)
    if target.exists() and target.samefile(path):
        raise StoreError(f"{target} is the database itself", "", "Name another file")
    try:
        with (
            put_in_place(target, overwrite=overwrite, mode=0o600) as partial,
            closing(connect(path, query_only=True)) as source,
        ):
            refuse_foreign(source, path)
            with closing(sqlite3.connect(partial)) as copy:
                source.backup(copy)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise unusable(path, error) from error
    return target.stat().st_size


def vacuum(path: Path) -> Vacuumed:
    """Shrink a database file by returning the space of deleted rows to the disk.

    Returns:
        The sizes before and after.

    Raises:
        StoreError: If there is no database, another program has it open for writing, or the disk
            has no room for the temporary copy that SQLite makes.
    """
    _require(path)
    before = path.stat().st_size
    with repair_lock(path):  # a program that starts now waits until the vacuum is done
        if has_living_process(path):
            raise StoreError(
                "The transcript database was left as it is",
                "Another program has it open for writing",
                "Close every other tui-chat and try again",
            )
        try:
            with closing(connect(path)) as connection:
                refuse_foreign(connection, path)
                connection.execute("VACUUM")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise unusable(path, error) from error
    return Vacuumed(before, path.stat().st_size)


def _require(path: Path) -> None:
    if not path.exists():
        raise StoreError("There is no transcript database yet", f"{path} is missing", "")


@contextmanager
def _current(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to an undamaged database, migrated to the newest schema if needed."""
    with closing(connect(path)) as connection:
        refuse_foreign(connection, path)
        version = schema_version(connection)
        if version == len(MIGRATIONS):
            yield connection
            return
    database = open_database(path)
    with closing(database.connection):
        yield database.connection


def _page_problems(connection: sqlite3.Connection, damage: str) -> Iterator[Problem]:
    yield Problem("damage", f"The file is damaged: {damage}")
    try:
        rows = connection.execute(f"PRAGMA integrity_check({_MOST_PAGE_PROBLEMS})").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return
    for (line,) in rows:
        if line != "ok":
            yield Problem("pages", str(line))


def _index_problem(connection: sqlite3.Connection) -> Problem | Literal["", "unchecked"]:
    """Compare the search index with the messages.

    Returns:
        The fault if they differ, "" if they agree, or "unchecked" for a read-only database.
    """
    problem = Problem("index", "The search index does not fit the messages")
    unfinished = connection.execute("SELECT 1 FROM messages WHERE owner <> '' LIMIT 1").fetchone()
    try:
        # With rank 1, FTS5 also compares the index with the text of every row. Replies that are
        # still being written are not in the index, so with one of them that check would fail:
        # rank 0 checks the structure only, and the query below compares the row ids.
        with transaction(connection):
            connection.execute(
                "INSERT INTO messages_found (messages_found, rank) VALUES ('integrity-check', ?)",
                (0 if unfinished else 1,),
            )
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return problem
        if primary_code(error) in NO_WRITING:
            return "unchecked"
        raise
    differing = connection.execute(
        "SELECT EXISTS (SELECT seq FROM messages WHERE owner = ''"
        " EXCEPT SELECT id FROM messages_found_docsize)"
        " OR EXISTS (SELECT id FROM messages_found_docsize"
        " EXCEPT SELECT seq FROM messages WHERE owner = '')"
    ).fetchone()[0]
    return problem if differing else ""


def _row_problems(connection: sqlite3.Connection) -> Iterator[Problem]:
    for row in connection.execute("PRAGMA foreign_key_check").fetchall():
        yield Problem("chat", f"Row {row['rowid']} of {row['table']} belongs to no chat")
    chats = connection.execute("SELECT id, leaf, turns, messages FROM chats").fetchall()
    for chat in chats:
        rows = connection.execute(
            "SELECT id, parent_id, role, deleted FROM messages WHERE chat_id = ?", (chat["id"],)
        ).fetchall()
        yield from _chat_problems(chat, {row["id"]: row for row in rows})


def _chat_problems(chat: sqlite3.Row, rows: dict[str, sqlite3.Row]) -> Iterator[Problem]:
    name = f"Chat {str(chat['id'])[:8]}"
    for row in rows.values():
        if row["parent_id"] is not None and row["parent_id"] not in rows:
            text = f"{name}: the parent of message {str(row['id'])[:8]} is missing"
            yield Problem("parent", text, chat["id"])
    if chat["leaf"] is not None and chat["leaf"] not in rows:
        yield Problem("leaf", f"{name}: the end of its active path is missing", chat["id"])
    path: set[str] = set()
    cursor = chat["leaf"]
    while cursor in rows and cursor not in path:
        path.add(cursor)
        cursor = rows[cursor]["parent_id"]
    if cursor in path:
        yield Problem("parent", f"{name}: a message is its own ancestor", chat["id"])
    turns = sum(rows[i]["role"] == "user" for i in path)
    shown = sum(not row["deleted"] for row in rows.values())
    if (chat["turns"], chat["messages"]) != (turns, shown):
        yield Problem("count", f"{name}: its turns or messages are counted wrong", chat["id"])


def _repair(connection: sqlite3.Connection) -> None:
    """Save broken trees in the form in which they are loaded, recount, and rebuild the index."""
    broken = {p.chat_id for p in _row_problems(connection) if p.kind in ("parent", "leaf")}
    with transaction(connection):
        connection.execute(
            "INSERT OR IGNORE INTO chats (id, created, updated, title)"
            " SELECT chat_id, min(created), max(created), 'Recovered' FROM messages"
            " WHERE chat_id NOT IN (SELECT id FROM chats) GROUP BY chat_id"
        )
        reader = TranscriptReader(connection)
        for chat_id in broken:
            chat = reader.load(chat_id)
            connection.executemany(
                "UPDATE messages SET parent_id = ? WHERE chat_id = ? AND id = ?",
                [(m.parent_id, chat_id, m.id) for m in chat.messages()],
            )
            connection.execute("UPDATE chats SET leaf = ? WHERE id = ?", (chat.leaf_id, chat_id))
        for row in connection.execute("SELECT id FROM chats").fetchall():
            connection.execute(RECOUNT_CHAT, {"chat": row["id"]})
        # The rebuild indexes every row. Unfinished replies must not be in the index, because the
        # triggers add them when they are finished.
        connection.execute("INSERT INTO messages_found (messages_found) VALUES ('rebuild')")
        connection.execute(
            "INSERT INTO messages_found (messages_found, rowid, text)"
            " SELECT 'delete', seq, text FROM messages WHERE owner <> ''"
        )


def dated_copy(path: Path) -> Path:
    """Return a file name with the current local time for a copy, in the database's folder."""
    return path.with_name(f"{path.stem}-{now().astimezone():%Y%m%d-%H%M%S}.db")
