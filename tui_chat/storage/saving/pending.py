"""Changes that wait to be saved: a class for each kind of change, and the queue that orders them.

A newer version of a message or header replaces the version that is still queued, so that a reply
that streams for minutes while the disk is full is queued only once. The queue is not thread-safe;
`SavingThread` guards it with its lock.
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
    """One change to the saved chats."""

    @property
    def chat_id(self) -> str:
        """Id of the chat that it changes; empty for none."""

    @property
    def key(self) -> str | None:
        """Name of the part of the chat that it replaces as a whole.

        A newer change with the same key supersedes this one. None for a step, which depends on the
        changes before it and is never superseded.
        """

    def apply(self, store: TranscriptStore) -> None:
        """Write the change, inside a transaction of the caller."""


@dataclass(frozen=True, slots=True)
class SaveHeader:
    """Save everything of a chat apart from its messages."""

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
    """Save a new or changed message."""

    chat_id: str
    message: Message

    @property
    def key(self) -> str | None:
        return "message " + self.message.id

    def apply(self, store: TranscriptStore) -> None:
        store.save_message(self.chat_id, self.message)


@dataclass(frozen=True, slots=True)
class MarkDeleted:
    """Mark messages as deleted, or restore them."""

    chat_id: str
    message_ids: tuple[str, ...]
    deleted: bool
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        store.mark_deleted(self.chat_id, self.message_ids, self.deleted)


@dataclass(frozen=True, slots=True)
class DiscardMessage:
    """Remove a message that has no replies."""

    chat_id: str
    message_id: str
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        store.discard_message(self.chat_id, self.message_id)


@dataclass(frozen=True, slots=True)
class SetLeaf:
    """Make another message the end of the active path."""

    chat_id: str
    leaf: str | None
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        store.set_leaf(self.chat_id, self.leaf)


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a chat a new title."""

    chat_id: str
    title: str
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        store.rename(self.chat_id, self.title)


@dataclass(frozen=True, slots=True)
class DeleteChat:
    """Delete a chat, or restore it."""

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
    """A marker that writes nothing; its future completes when everything before it is saved."""

    chat_id: str = ""
    key: None = field(default=None, init=False)

    def apply(self, store: TranscriptStore) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Entry:
    """A change in the queue, with the futures to complete when it is saved."""

    change: Change
    futures: list[Future[None]]


class PendingChanges:
    """The queue of changes, oldest first."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._newest: dict[str, dict[str, Entry]] = {}

    def __len__(self) -> int:
        """Return the number of queued changes, not counting markers."""
        return sum(not isinstance(entry.change, Checkpoint) for entry in self._entries)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def entries(self) -> list[Entry]:
        """Return the queued changes and markers, oldest first."""
        return list(self._entries)

    def add(self, change: Change, futures: Iterable[Future[None]] = ()) -> None:
        """Queue a change, in place of the queued version that it supersedes if there is one.

        After a step, such as a new title, changes queued before it can no longer be superseded,
        because a newer version must not move ahead of the step.

        Args:
            change: The change.
            futures: Futures to complete when it is saved.
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
        """Empty the queue and return its entries, oldest first."""
        taken, self._entries = self._entries, []
        self._newest.clear()
        return taken

    def put_back(self, taken: list[Entry]) -> None:
        """Put entries that could not be saved back, before all newer ones."""
        newer = self.take()
        for entry in (*taken, *newer):
            self.add(entry.change, entry.futures)

    def remove(self, future: Future[None]) -> None:
        """Remove the marker with a future for which the caller no longer waits."""
        self._entries = [
            entry
            for entry in self._entries
            if not (isinstance(entry.change, Checkpoint) and future in entry.futures)
        ]


def _merged(waiting: Change, newer: Change) -> Change:
    """Return the newer version of a change.

    A newer header without parameters takes over those of the queued one, which would be lost.
    """
    if (
        isinstance(waiting, SaveHeader)
        and isinstance(newer, SaveHeader)
        and newer.header.params is None
    ):
        return SaveHeader(replace(newer.header, params=waiting.header.params))
    return newer
