"""Full-text search over the messages of all saved chats, and the SQL for a `Query`.

`search` returns matching messages with snippets, the best first; `of_chats` selects the chats that
match, for lists and exports. Deleted messages and chats are never found. `chat.query` parses what
the user types.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime, time

from tui_chat.chat.matching import Range, Snippet, snippet
from tui_chat.chat.query import Query
from tui_chat.storage.database.records import as_moment, as_text, utc_text

RANKED = 1000
"""Number of matching messages that are ranked, the newest ones.

Ranking reads every match, which is slow for a common word. A word that occurs in most messages says
little about which of them the user wants, so the newest are as good as any.
"""
_OPENING_CHARACTERS = 400
"""Characters read of a message for its snippet, if the query has no words to look for."""


@dataclass(frozen=True, slots=True)
class Found:
    """One message that matches a query."""

    chat_id: str
    title: str
    """Title of the chat."""
    message_id: str
    role: str
    model: str
    """Name of the model that wrote the reply; empty for other messages."""
    created: datetime
    snippet: str
    """The part of the message that contains the words, unescaped, with `…` where it is cut."""
    ranges: tuple[Range, ...]
    """Positions of the words in the snippet, as half-open ranges of characters."""


def search(connection: sqlite3.Connection, query: Query, limit: int = 50) -> list[Found]:
    """Return the messages that match a query, the best first.

    Args:
        connection: To a database of the newest schema version, with `sqlite3.Row` as row factory.
        query: If it has filters but no words, the newest messages come first. An empty query
            finds nothing.
        limit: Maximum number of messages, at least 1.

    Raises:
        sqlite3.Error: If the database cannot be read.
    """
    if not query:
        return []
    conditions, values = _filters(query)
    indexed, indexed_values = _indexed_filters(query)
    if not query.match:
        rows = connection.execute(
            f"SELECT {_COLUMNS}, substr(m.text, 1, {_OPENING_CHARACTERS}) AS text"
            f" FROM messages AS m {_CHAT} WHERE m.owner = '' AND {conditions}"
            f"{f' AND {indexed}' if indexed else ''} ORDER BY m.created DESC, m.seq DESC LIMIT ?",
            (*values, *indexed_values, limit),
        )
        return [_found(row, snippet(as_text(row["text"]), ())) for row in rows]
    if query.rated is not None or query.tags or query.archived:
        # Few messages pass these filters, so it is fastest to collect their row ids first. The
        # unary plus keeps SQLite from querying the full-text index once for each of those ids.
        joined, condition = "", f"+f.rowid IN (SELECT m.seq FROM messages AS m WHERE {conditions})"
    else:
        joined, condition = "JOIN messages AS m ON m.seq = f.rowid", conditions
    if indexed:
        condition = f"+f.rowid IN (SELECT m.seq FROM messages AS m WHERE {indexed}) AND {condition}"
        values = [*indexed_values, *values]
    rows = connection.execute(
        f"SELECT {_COLUMNS}, m.text FROM (SELECT seq, badness FROM (SELECT f.rowid AS seq,"
        f" bm25(messages_found) AS badness FROM messages_found AS f {joined}"
        f" WHERE messages_found MATCH ? AND {condition} ORDER BY f.rowid DESC LIMIT {RANKED})"
        " ORDER BY badness, seq DESC LIMIT ?) AS best"
        f" JOIN messages AS m ON m.seq = best.seq {_CHAT} ORDER BY best.badness, best.seq DESC",
        (query.match, *values, limit),
    )
    return [_found(row, snippet(as_text(row["text"]), query.terms)) for row in rows]


def of_chats(query: Query) -> tuple[str, list[str]]:
    """Return an SQL condition on a row of `chats` that a query matches, and its parameters.

    A chat matches if one of its messages passes all filters and has all words. If the query has
    only filters on chats (tags, archived), a chat without messages can match too.
    """
    about_chats = Query(tags=query.tags, archived=query.archived)
    if query == about_chats:
        condition, values = _chat_filters(query)
        return f"deleted_at IS NULL AND {condition or '0'}", values
    conditions, values = _filters(query)
    indexed, indexed_values = _indexed_filters(query)
    values += indexed_values
    if indexed:
        conditions += f" AND {indexed}"
    if query.match:
        conditions += (
            " AND m.seq IN (SELECT rowid FROM messages_found WHERE messages_found MATCH ?)"
        )
        values.append(query.match)
    return (
        f"id IN (SELECT m.chat_id FROM messages AS m WHERE m.owner = '' AND {conditions})",
        values,
    )


_COLUMNS = "m.chat_id, c.title, m.id, m.role, m.model, m.created"
_CHAT = "JOIN chats AS c ON c.id = m.chat_id"


def _filters(query: Query) -> tuple[str, list[str]]:
    """Return the SQL condition of the filters on a message `m`, and its parameters.

    The words and the filters of `_indexed_filters` are not in it.
    """
    conditions, values = ["NOT m.deleted"], []
    chats, chat_values = _chat_filters(query)
    if chats:
        conditions.append(
            f"m.chat_id IN (SELECT id FROM chats WHERE deleted_at IS NULL AND {chats})"
        )
        values += chat_values
    else:  # few chats are deleted, so this is the smaller set
        conditions.append("m.chat_id NOT IN (SELECT id FROM chats WHERE deleted_at IS NOT NULL)")
    if query.role:
        conditions.append("m.role = ?")
        values.append(query.role)
    if query.rated is not None:
        wanted = {"up": "= 1", "down": "= -1", "any": "IN (1, -1)"}[query.rated]
        conditions.append(
            "m.marks <> '{}' AND CASE WHEN json_valid(m.marks)"
            f" THEN json_extract(m.marks, '$.rating') {wanted} END"
        )
    return " AND ".join(conditions), values


def _indexed_filters(query: Query) -> tuple[str, list[str]]:
    """Return the SQL condition of the filters that the index `messages_by_time` answers.

    It is empty if the query has none of them. The parameters come second.
    """
    conditions, values = [], []
    if query.after is not None:
        conditions.append("m.created >= ?")
        values.append(_start_of(query.after))
    if query.before is not None:
        conditions.append("m.created < ?")
        values.append(_start_of(query.before))
    if query.model:
        conditions.append("instr(lower(m.model), lower(?))")
        values.append(query.model)
    return " AND ".join(conditions), values


def _chat_filters(query: Query) -> tuple[str, list[str]]:
    """Return the SQL condition of the filters on a chat, and its parameters; empty for none."""
    wanted = [
        "EXISTS (SELECT 1 FROM json_each(details, '$.tags') WHERE lower(value) = lower(?))"
    ] * len(query.tags)
    if query.archived:
        wanted.append(f"{_ARCHIVED} = 1")
    conditions = []
    if wanted:
        said = " AND ".join(wanted)
        conditions.append(f"details <> '{{}}' AND CASE WHEN json_valid(details) THEN {said} END")
    if query.archived is False:
        conditions.append(f"CASE WHEN json_valid(details) THEN {_ARCHIVED} IS NOT 1 ELSE 1 END")
    return " AND ".join(conditions), list(query.tags)


_ARCHIVED = "json_extract(details, '$.archived')"


def _start_of(day: date) -> str:
    """Return the beginning of a day in local time, in the form of the column `created`.

    A day at either end of the calendar, which has no such time in UTC, is taken as UTC.
    """
    moment = datetime.combine(day, time())
    try:
        return utc_text(moment.astimezone())
    except (OverflowError, ValueError, OSError):
        return utc_text(moment)


def _found(row: sqlite3.Row, shown: Snippet) -> Found:
    return Found(
        as_text(row["chat_id"]),
        as_text(row["title"]),
        as_text(row["id"]),
        as_text(row["role"]),
        as_text(row["model"]),
        as_moment(row["created"]),
        shown.text,
        shown.ranges,
    )
