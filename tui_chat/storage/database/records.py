"""How chats and messages are written down as rows, and read back.

Owns the mapping between the frozen values of `chat.conversation` and the columns of the database.
Writing never fails because of what a message holds: lone surrogates are replaced, odd values in
`params` and `stats` become text. Refuses to know connections and transactions.
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
    """What is saved of a chat beside its messages."""

    id: str
    title: str
    system: str
    model: str
    created: datetime
    updated: datetime
    leaf: str | None
    """End of the active path; None while the chat is empty."""
    params: Mapping[str, Any] | None = None
    """Sampling parameters of the chat; None leaves what is stored."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """As `ChatDetails.to_values` gives them."""
    history: Mapping[str, Any] = field(default_factory=dict)
    """As `Conversation.history_values` gives it."""
    working: Mapping[str, Any] = field(default_factory=dict)
    """As `Conversation.working`."""

    @classmethod
    def of(cls, conversation: Conversation, params: Mapping[str, Any] | None = None) -> ChatHeader:
        """The header of a conversation as it is now."""
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
    """One line of the list of chats."""

    id: str
    title: str
    model: str
    created: datetime
    updated: datetime
    turns: int
    """The user's messages on the active path."""
    messages: int
    """All messages of the tree that are not deleted."""
    deleted_at: datetime | None = field(default=None)
    """When the chat was deleted; None for one that was not."""
    tags: tuple[str, ...] = ()
    archived: bool = False


ROLES = frozenset(get_args(Role))
STATUSES = frozenset(get_args(Status))
MESSAGE_COLUMNS = (
    "chat_id", "id", "parent_id", "role", "created", "status", "deleted", "text",
    "finish_reason", "error", "token_ids", "tokenizer", "model", "precision", "seed",
    "params", "stats", "marks",
)  # fmt: skip
"""Columns of `messages` in the order of `message_row`."""


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
"""Counts again what the list of chats shows of a chat."""


def utc_text(moment: datetime) -> str:
    """A moment as ISO 8601 in UTC with microseconds, so that text order is time order.

    A moment without a zone is taken as UTC.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def utc_time(text: str) -> datetime:
    """Read what `utc_text` wrote.

    Raises:
        ValueError: If the text is not a moment.
    """
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def json_text(values: Mapping[str, Any]) -> str:
    """A mapping as compact JSON; values that JSON does not know become their text."""
    text = json.dumps(
        dict(values), ensure_ascii=False, separators=(",", ":"), default=str, skipkeys=True
    )
    return storable(text)


def json_values(text: str) -> dict[str, Any]:
    """Read what `json_text` wrote; empty where a rotten byte made it unreadable."""
    if text == "{}":
        return {}
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def pack_token_ids(token_ids: Sequence[int]) -> bytes | str:
    """Token ids as unsigned 32-bit little-endian integers; as JSON text if one does not fit."""
    try:
        return struct.pack(f"<{len(token_ids)}I", *token_ids)
    except struct.error:
        return json.dumps(list(token_ids))


def unpack_token_ids(stored: bytes | str | None) -> tuple[int, ...]:
    """Read what `pack_token_ids` wrote."""
    if not stored:
        return ()
    if isinstance(stored, str):
        return tuple(json.loads(stored))
    return struct.unpack(f"<{len(stored) // 4}I", stored[: len(stored) // 4 * 4])


def message_row(chat_id: str, message: Message) -> tuple[Any, ...]:
    """The values of a message in the order of `MESSAGE_COLUMNS`.

    The seed is text because it may need 64 bits without a sign, one more than SQLite has.
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
    """The message of a row that has the columns of `MESSAGE_COLUMNS`, in their order.

    A rotten value becomes its text or a neutral one: it costs itself, not the chat.
    """
    try:
        return _message(row)
    except (ValueError, TypeError, AttributeError):
        return _message(_mended(row).values())


def _message(values: Iterable[Any]) -> Message:
    # By place: SQLite's rows look for a name among all of them, for each of thousands of rows.
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
    """A row in which every value is one that `message_row` could have written, in its order."""
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
    """A stored value as text, whatever a rotten byte made of its type."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def as_moment(value: object) -> datetime:
    """A stored moment; the beginning of 1970 where it cannot be read."""
    try:
        return utc_time(as_text(value))
    except (ValueError, OverflowError):
        return datetime(1970, 1, 1, tzinfo=UTC)


def plant(conversation: Conversation, messages: Iterable[Message]) -> None:
    """Add messages to a conversation, whatever their order, losing none.

    A message whose parent comes later waits for it. One whose parent is lost, as after a damaged
    file was salvaged, hangs below the message added before it, so that the path stays readable.
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
    while waiting:
        lost = waiting.pop(next(iter(waiting)))
        for message in lost:
            if message.id not in conversation:
                add(replace(message, parent_id=newest))
