"""Changes that wait to be saved: one value for each kind, and the queue that keeps their order.

A newer version of the same message or header takes the place of the one that still waits, so that
a reply that streams for minutes while the disk is full is kept once. Refuses to know threads; the
writer guards the queue with its lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol

from tui_chat.chat.conversation import Message
from tui_chat.storage.database.records import ChatHeader
from tui_chat.storage.database.writing import TranscriptStore


class Change(Protocol):
    """One change of the saved chats."""

    @property
    def chat_id(self) -> str:
        """The chat it belongs to; empty for none."""

    @property
    def key(self) -> str | None:
        """What it replaces entirely, within its chat; None if it is a step from what was before."""

    def apply(self, store: TranscriptStore) -> None:
        """Write it, inside a transaction of the caller."""


@dataclass(frozen=True, slots=True)
class SaveHeader:
    """Everything of a chat beside its messages."""

    header: ChatHeader

    @property
    def chat_id(self) -> str:
        return self.header.id

    @property
    def key(self) -> str | None:
        return "header"

    def apply(self, store: TranscriptStore) -> None:
        store.save_header(self.header)


@dataclass(frozen=True, slots=True)
class SaveMessage:
    """A message, new or changed."""

    chat_id: str
    message: Message

    @property
    def key(self) -> str | None:
        return "message " + self.message.id

    def apply(self, store: TranscriptStore) -> None:
        store.save_message(self.chat_id, self.message)


@dataclass(frozen=True, slots=True)
class MarkDeleted:
    """Messages were removed from the chat, or brought back."""

    chat_id: str
    message_ids: tuple[str, ...]
    deleted: bool
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        store.mark_deleted(self.chat_id, self.message_ids, self.deleted)


@dataclass(frozen=True, slots=True)
class DiscardMessage:
    """A message that was never answered is forgotten."""

    chat_id: str
    message_id: str
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        store.discard_message(self.chat_id, self.message_id)


@dataclass(frozen=True, slots=True)
class SetLeaf:
    """Another message ends the active path."""

    chat_id: str
    leaf: str | None
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        store.set_leaf(self.chat_id, self.leaf)


@dataclass(frozen=True, slots=True)
class Rename:
    """A chat has another title."""

    chat_id: str
    title: str
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        store.rename(self.chat_id, self.title)


@dataclass(frozen=True, slots=True)
class DeleteChat:
    """A chat was deleted, or brought back."""

    chat_id: str
    deleted: bool
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        if self.deleted:
            store.delete(self.chat_id)
        else:
            store.undelete(self.chat_id)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Changes nothing; it is done when everything before it is saved."""

    chat_id: str = ""
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        """Nothing to write."""


@dataclass(slots=True)
class Entry:
    """A change in the queue, and everyone who waits for it."""

    change: Change
    futures: list[Future[None]]


class PendingChanges:
    """The changes that wait, oldest first."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._newest: dict[str, dict[str, Entry]] = {}

    def __len__(self) -> int:
        """How many changes wait; markers are none."""
        return sum(not isinstance(entry.change, Checkpoint) for entry in self._entries)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def entries(self) -> list[Entry]:
        """What waits, oldest first."""
        return list(self._entries)

    def add(self, change: Change, futures: Iterable[Future[None]] = ()) -> None:
        """Append a change, or let it take the place of the version that waits.

        A step, such as a new title, ends the time in which earlier versions of its chat can be
        replaced: what comes after it must stay after it.
        """
        if not change.chat_id:
            self._entries.append(Entry(change, list(futures)))
            return
        replaceable = self._newest.setdefault(change.chat_id, {})
        if change.key is None:
            replaceable.clear()
        elif waiting := replaceable.get(change.key):
            waiting.change = _merged(waiting.change, change)
            waiting.futures.extend(futures)
            return
        entry = Entry(change, list(futures))
        self._entries.append(entry)
        if change.key is not None:
            replaceable[change.key] = entry

    def take(self) -> list[Entry]:
        """Everything that waits; the queue is empty afterwards."""
        taken, self._entries = self._entries, []
        self._newest.clear()
        return taken

    def put_back(self, taken: list[Entry]) -> None:
        """Return what could not be saved to its place before everything newer."""
        newer = self.take()
        for entry in (*taken, *newer):
            self.add(entry.change, entry.futures)

    def remove(self, future: Future[None]) -> None:
        """Forget a marker that nobody waits for any more."""
        self._entries = [
            entry
            for entry in self._entries
            if not (isinstance(entry.change, Checkpoint) and future in entry.futures)
        ]


def _merged(waiting: Change, newer: Change) -> Change:
    """The newer version of a change, with the parameters that only the waiting one has."""
    if (
        isinstance(waiting, SaveHeader)
        and isinstance(newer, SaveHeader)
        and newer.header.params is None
    ):
        return SaveHeader(replace(newer.header, params=waiting.header.params))
    return newer
