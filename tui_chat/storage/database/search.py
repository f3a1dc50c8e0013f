"""Messages of all saved chats, found by their words and by what is known of them.

Owns the way from a `Query` to rows of the index, best first, and where in a text the words are; and
which chats a query means, for lists and exports.
Deleted messages and chats are never found. Refuses to parse what was typed, and to mark text up.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime, time

from tui_chat.chat.matching import Range, Snippet, snippet
from tui_chat.chat.query import Query
from tui_chat.storage.database.records import as_moment, as_text, utc_text

RANKED = 1000
"""Of so many matching messages, the newest, the best are looked for.

Ranking reads every match. A word that stands in most messages says little about which is meant, so
that the newest of them are as good as any.
"""
_OPENING_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Found:
    """One message that matches."""

    chat_id: str
    title: str
    """Of the chat."""
    message_id: str
    role: str
    model: str
    """What wrote the reply; empty for other messages."""
    created: datetime
    snippet: str
    """The part of its text with the words in it, as stored; `…` where it is cut."""
    ranges: tuple[Range, ...]
    """Where the words are in the snippet: first character, and the one after the last."""


def search(connection: sqlite3.Connection, query: Query, limit: int = 50) -> list[Found]:
    """The messages that a query finds: the best first, or the newest where it has no words.

    Args:
        connection: To a database of the newest version, with `sqlite3.Row` as its row factory.
        query: What to look for; an empty one finds nothing.
        limit: At most so many, at least 1.

    Raises:
        sqlite3.Error: If the database cannot be read; no query causes it.
    """
    if not query:
        return []
    conditions, values = _filters(query)
    indexed, indexed_values = _indexed_filters(query)
    if not query.match:
        rows = connection.execute(
            f"SELECT {_COLUMNS}, substr(m.text, 1, {_OPENING_CHARACTERS}) AS text"
            f" FROM messages AS m {_CHAT} WHERE m.owner = '' AND {conditions}"
            f"{f'AND {indexed}' if indexed else ''} ORDER BY m.created DESC, m.seq DESC LIMIT ?",
            (*values, *indexed_values, limit),
        )
        return [_found(row, snippet(as_text(row["text"]), ())) for row in rows]
    if query.rated is not None or query.tags or query.archived:
        # Few messages have these, and they are found without the index of words. The plus keeps
        # SQLite from asking that index once for each of them.
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
    """What must hold of a row of `chats`, as SQL, with its values: that a search finds it.

    A chat is found if one of its messages is, all in one. Where only tags and the archive are asked
    for, a chat without messages is found too.
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
    """What must hold of a message `m` beside the words, as SQL, with its values."""
    conditions, values = ["NOT m.deleted"], []
    chats, chat_values = _chat_filters(query)
    if chats:
        conditions.append(
            f"m.chat_id IN (SELECT id FROM chats WHERE deleted_at IS NULL AND {chats})"
        )
        values += chat_values
    else:  # most often there is none
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
    """What must hold of a message and stands in the index by time; empty for nothing."""
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
    """What must hold of a chat, as SQL, with its values; empty for nothing."""
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
    """When a day begins on this machine, as it is stored; the first days of time as they are."""
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
