"""The mapping between chats and messages and the columns of their database rows.

No content of a message makes writing fail: lone surrogates are replaced, and values that JSON
cannot express become text. Reading tolerates damaged values: a bad value is replaced, and the rest
of the message stays. Nothing here needs a connection or a transaction.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, get_args

from tui_chat.chat.conversation import Conversation, Message, Role, Status
from tui_chat.chat.marks import Marks
from tui_chat.safe_text import storable


@dataclass(frozen=True, slots=True)
class ChatHeader:
    """Everything that is saved of a chat apart from its messages."""

    id: str
    title: str
    system: str
    model: str
    created: datetime
    updated: datetime
    leaf: str | None
    """Id of the last message of the active path; None while the path is empty."""
    params: Mapping[str, Any] | None = None
    """Sampling parameters of the chat; None keeps the stored ones."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The result of `ChatDetails.to_values`."""
    history: Mapping[str, Any] = field(default_factory=dict)
    """The result of `Conversation.history_values`."""
    working: Mapping[str, Any] = field(default_factory=dict)
    """A copy of `Conversation.working`."""

    @classmethod
    def of(cls, conversation: Conversation, params: Mapping[str, Any] | None = None) -> ChatHeader:
        """Return the header of a conversation in its present state."""
        return cls(
            conversation.id,
            conversation.title,
            conversation.system,
            conversation.model,
            conversation.created,
            conversation.updated,
            conversation.leaf_id,
            None if params is None else dict(params),
            conversation.details.to_values(),
            conversation.history_values(),
            dict(conversation.working),
        )


@dataclass(frozen=True, slots=True)
class ChatSummary:
    """One row of the list of chats."""

    id: str
    title: str
    model: str
    created: datetime
    updated: datetime
    turns: int
    """Number of the user's messages on the active path."""
    messages: int
    """Number of messages in the tree that are not deleted."""
    deleted_at: datetime | None = field(default=None)
    """Time of deletion; None for a chat that is not deleted."""
    tags: tuple[str, ...] = ()
    archived: bool = False


ROLES = frozenset(get_args(Role))
STATUSES = frozenset(get_args(Status))
MESSAGE_COLUMNS = (
    "chat_id", "id", "parent_id", "role", "created", "status", "deleted", "text",
    "finish_reason", "error", "token_ids", "tokenizer", "model", "precision", "seed",
    "params", "stats", "marks",
)  # fmt: skip
"""Columns of the table `messages`, in the order of `message_row`."""


RECOUNT_CHAT = """
    WITH RECURSIVE path (id, parent_id, role) AS (
        SELECT messages.id, messages.parent_id, messages.role
        FROM chats JOIN messages ON messages.chat_id = chats.id AND messages.id = chats.leaf
        WHERE chats.id = :chat
        UNION
        SELECT messages.id, messages.parent_id, messages.role
        FROM path JOIN messages ON messages.chat_id = :chat AND messages.id = path.parent_id
    )
    UPDATE chats SET
        turns = (SELECT count(*) FROM path WHERE role = 'user'),
        messages = (SELECT count(*) FROM messages WHERE chat_id = :chat AND NOT deleted)
    WHERE id = :chat
"""
"""SQL that recounts the turns and messages of the chat `:chat`.

`UNION`, not `UNION ALL`, makes the recursion end even if damaged parents form a cycle.
"""


def utc_text(moment: datetime) -> str:
    """Format a time as ISO 8601 in UTC with microseconds, so that texts sort like times.

    A time without a time zone is taken as UTC.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def utc_time(text: str) -> datetime:
    """Parse the result of `utc_text`, or any other ISO 8601 time; return it in UTC.

    Raises:
        ValueError: If the text is not such a time.
        OverflowError: If the time in UTC is out of range.
    """
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def json_text(values: Mapping[str, Any]) -> str:
    """Format a mapping as compact JSON; values that JSON cannot express become text."""
    text = json.dumps(
        dict(values), ensure_ascii=False, separators=(",", ":"), default=str, skipkeys=True
    )
    return storable(text)


def json_values(text: str) -> dict[str, Any]:
    """Parse the result of `json_text`; return an empty mapping for damaged text."""
    if text == "{}":
        return {}
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def pack_token_ids(token_ids: Sequence[int]) -> bytes | str:
    """Pack token ids as unsigned 32-bit little-endian integers; as JSON text if one is larger."""
    try:
        return struct.pack(f"<{len(token_ids)}I", *token_ids)
    except struct.error:
        return json.dumps(list(token_ids))


def unpack_token_ids(stored: bytes | str | None) -> tuple[int, ...]:
    """Unpack the result of `pack_token_ids`; None gives no ids."""
    if not stored:
        return ()
    if isinstance(stored, str):
        return tuple(json.loads(stored))
    return struct.unpack(f"<{len(stored) // 4}I", stored[: len(stored) // 4 * 4])


def message_row(chat_id: str, message: Message) -> tuple[Any, ...]:
    """Return the values of a message in the order of `MESSAGE_COLUMNS`.

    The seed is stored as text, because it can be an unsigned 64-bit integer and SQLite's integers
    are signed.
    """
    return (
        storable(chat_id),
        storable(message.id),
        None if message.parent_id is None else storable(message.parent_id),
        message.role,
        utc_text(message.created),
        message.status,
        int(message.deleted),
        storable(message.text),
        message.finish_reason,
        storable(message.error),
        pack_token_ids(message.token_ids),
        storable(message.tokenizer),
        storable(message.model),
        storable(message.precision),
        None if message.seed is None else str(message.seed),
        json_text(message.params),
        json_text(message.stats),
        json_text(message.marks.to_values()),
    )


def message_from_row(row: sqlite3.Row) -> Message:
    """Return the message of a row that has the columns of `MESSAGE_COLUMNS`, in that order.

    If any value is damaged, wrong types become text, an unknown role or status gets a default, and
    the token ids and seed are dropped, so that the rest of the chat can still be loaded.
    """
    try:
        return _message(row)
    except (ValueError, TypeError, AttributeError):
        return _message(_mended(row).values())


def _message(values: Iterable[Any]) -> Message:
    # Unpack by position: `sqlite3.Row` searches its column names on every access by name, which is
    # slow for a chat of thousands of messages.
    (
        _, own_id, parent_id, role, created, status, deleted, text,
        finish_reason, error, token_ids, tokenizer, model, precision, seed,
        params, stats, marks,
    ) = values  # fmt: skip
    if role not in ROLES or status not in STATUSES:
        raise ValueError("not a role or status")
    return Message(
        id=own_id,
        parent_id=parent_id,
        role=role,
        text=text + "",
        created=utc_time(created),
        status=status,
        finish_reason=finish_reason,
        error=error,
        token_ids=unpack_token_ids(token_ids),
        tokenizer=tokenizer,
        model=model,
        precision=precision,
        seed=None if seed is None else int(seed),
        params=json_values(params),
        stats=json_values(stats),
        deleted=bool(deleted),
        marks=Marks.from_values(json_values(marks)),
    )


def _mended(row: sqlite3.Row) -> dict[str, Any]:
    """Return the values of a damaged row, each replaced by one that `message_row` could write."""
    values = {name: row[name] for name in MESSAGE_COLUMNS}
    texts = {
        name: as_text(value)
        for name, value in values.items()
        if name not in ("parent_id", "deleted", "token_ids", "seed")
    }
    mended = values | texts | {"seed": None, "token_ids": b""}
    mended["created"] = utc_text(as_moment(values["created"]))
    if values["role"] not in ROLES:
        mended["role"] = "assistant"
    if values["status"] not in STATUSES:
        mended["status"] = "interrupted"
    return mended


def as_text(value: object) -> str:
    """Return a stored value as text, whatever its type in a damaged row; "" for NULL."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def as_moment(value: object) -> datetime:
    """Return a stored time; the beginning of 1970 if it cannot be parsed."""
    try:
        return utc_time(as_text(value))
    except (ValueError, OverflowError):
        return datetime(1970, 1, 1, tzinfo=UTC)


def plant(conversation: Conversation, messages: Iterable[Message]) -> None:
    """Add messages in any order to a conversation, without losing any.

    A message that precedes its parent is added after it. A message whose parent does not exist, as
    in a salvaged database, becomes a child of the message added before it, so that it stays on a
    readable path. The same happens to a message in a cycle. The active leaf does not change.
    """
    waiting: dict[str, list[Message]] = {}
    newest: str | None = None

    def add(message: Message) -> None:
        nonlocal newest
        ready = [message]
        while ready:
            current = ready.pop()
            conversation.add(current, activate=False)
            newest = current.id
            ready.extend(reversed(waiting.pop(current.id, [])))

    for message in messages:
        if message.parent_id is None or message.parent_id in conversation:
            add(message)
        else:
            waiting.setdefault(message.parent_id, []).append(message)
    # What still waits has no parent or is in a cycle. Adding one message can release others.
    while waiting:
        lost = waiting.pop(next(iter(waiting)))
        for message in lost:
            if message.id not in conversation:
                add(replace(message, parent_id=newest))
