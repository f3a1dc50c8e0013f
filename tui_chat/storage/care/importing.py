"""Imported chats on their way into the database.

A chat whose id is taken gets a new one, unless it is the same chat; then there is nothing to do.
What is saved is committed in pieces, so that a large file needs neither much memory nor a long
lock. Refuses to know file formats.
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
"""Messages that are committed together."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import."""

    chats: int = 0
    """Chats that were saved."""
    messages: int = 0
    """Their messages."""
    unchanged: int = 0
    """Chats that were saved before."""


def save_imported(
    store: TranscriptStore, chats: Iterable[Conversation], on_saved: Callable[[Imported], None]
) -> None:
    """Save chats as they come.

    Args:
        store: The open database.
        chats: Read one by one, never held together.
        on_saved: Told of each piece that was committed.

    Raises:
        StoreError: If the database cannot be written; what was committed before stays.
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
    """The chats up to a failure, so that what came before it is saved."""
    try:
        yield from chats
    except StoreError as error:
        failures.append(error)


def _batch(first: Conversation, others: Iterator[Conversation]) -> Iterator[Conversation]:
    """A chat and those after it, up to about `BATCH` messages."""
    yield first
    room = BATCH - len(first)
    while room > 0:
        following = next(others, None)
        if following is None:
            return
        yield following
        room -= max(1, len(following))


def _is_new(store: TranscriptStore, conversation: Conversation) -> bool:
    """Whether a chat has to be saved; gives it another id if its own is taken."""
    if not _ID.fullmatch(conversation.id) or conversation.id == "last":
        # It would name other files, or other chats, where ids are typed and shown.
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
    """What makes two chats the same; not the times and places that a format may not know."""
    return (
        conversation.system,
        conversation.details.to_values(),
        [
            (storable(m.id), m.parent_id, m.role, storable(m.text), m.deleted, m.marks.to_values())
            for m in conversation.messages()
        ],
    )


def _settle(conversation: Conversation) -> None:
    """Nobody writes on what another program left unfinished."""
    updated = conversation.updated
    for message in list(conversation.messages()):
        if message.is_unfinished:
            conversation.update(message.id, status="interrupted")
    conversation.updated = updated
