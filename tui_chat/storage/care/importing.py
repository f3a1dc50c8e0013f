"""Saving of imported chats in the database.

A chat whose id is already taken gets a new id, unless the stored chat has the same content; that
chat is not saved again. Commits happen in batches, so that a large file needs neither much memory
nor a long lock. The readers of the file formats are in `storage.formats`.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tui_chat.chat.conversation import Conversation, new_id
from tui_chat.errors import StoreError
from tui_chat.safe_text import storable
from tui_chat.storage.database.connection import unusable
from tui_chat.storage.database.writing import TranscriptStore

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")
BATCH = 2000
"""Approximate number of messages in one commit."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Counts of one committed batch."""

    chats: int = 0
    """Chats that were saved."""
    messages: int = 0
    """Messages of the chats that were saved."""
    unchanged: int = 0
    """Chats that the database already had with the same content."""


def save_imported(
    store: TranscriptStore, chats: Iterable[Conversation], on_saved: Callable[[Imported], None]
) -> None:
    """Save chats in batches as an iterator delivers them.

    Args:
        store: The open database.
        chats: The chats, read one by one. Unfinished messages in them become `interrupted`.
        on_saved: Called after each commit with the counts of that batch.

    Raises:
        StoreError: If the database cannot be written, or if reading a chat raised one. Batches
            committed before stay; after a reading error, so do the chats read before it.
    """
    failures: list[StoreError] = []
    waiting = _guarded(chats, failures)
    try:
        for first in waiting:
            saved = messages = unchanged = 0
            with store.change():
                for conversation in _batch(first, waiting):
                    if _is_new(store, conversation):
                        _settle(conversation)
                        store.save_conversation(conversation)
                        saved += 1
                        messages += len(conversation)
                    else:
                        unchanged += 1
            on_saved(Imported(saved, messages, unchanged))
    except sqlite3.Error as error:
        raise unusable(store.path, error) from None
    if failures:
        raise failures[0]


def _guarded(chats: Iterable[Conversation], failures: list[StoreError]) -> Iterator[Conversation]:
    """Yield the chats up to a `StoreError` and put that error into `failures`.

    The caller can then commit the chats before the error and raise it afterwards.
    """
    try:
        yield from chats
    except StoreError as error:
        failures.append(error)


def _batch(first: Conversation, others: Iterator[Conversation]) -> Iterator[Conversation]:
    """Yield a chat and the ones after it, up to about `BATCH` messages."""
    yield first
    room = BATCH - len(first)
    while room > 0:
        following = next(others, None)
        if following is None:
            return
        yield following
        room -= max(1, len(following))


def _is_new(store: TranscriptStore, conversation: Conversation) -> bool:
    """Return whether a chat has to be saved, and give it a new id if its own is taken.

    If the same chat is stored but deleted, this restores it.
    """
    if not _ID.fullmatch(conversation.id) or conversation.id == "last":
        # Ids are typed and shown: `last` names the newest chat, and other characters are unsafe.
        name = conversation.id.encode("utf-8", "surrogatepass")
        conversation.id = hashlib.sha256(name).hexdigest()[:32]
    if store.stored_update(conversation.id) is None:
        return True
    if _content(store.load(storable(conversation.id))) == _content(conversation):
        store.undelete(conversation.id)
        return False
    conversation.id = new_id()
    return True


def _content(conversation: Conversation) -> tuple[Any, ...]:
    """Return the values by which two chats count as the same.

    The title, times, models and active leaf are left out, because not every format has them.
    """
    return (
        conversation.system,
        conversation.details.to_values(),
        [
            (storable(m.id), m.parent_id, m.role, storable(m.text), m.deleted, m.marks.to_values())
            for m in conversation.messages()
        ],
    )


def _settle(conversation: Conversation) -> None:
    """Mark unfinished messages as interrupted, because no process will finish them.

    The time of the last change stays as it was.
    """
    updated = conversation.updated
    for message in list(conversation.messages()):
        if message.is_unfinished:
            conversation.update(message.id, status="interrupted")
    conversation.updated = updated
