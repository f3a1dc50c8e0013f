"""Saving as it happens: what a chat session tells the store, from any thread.

Every method of `TranscriptWriter` returns at once and never raises; how the changes reach the
disk, and what happens when they cannot, is the matter of `saving.SavingThread`. Reads for the
screens do not wait for either; they use `reader`.

    writer = TranscriptWriter(paths.database_file(), on_state=show).start()
    writer.save_header(conversation, params)
    saved = writer.save_message(conversation.id, message)
    writer.wait_saved(saved, timeout=2.0)   # before generating
    writer.checkpoint(conversation.id, partial_reply)
    left = writer.close()                   # a file with what could not be saved, else None
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.storage.database.reading import TranscriptReader, read_transcripts
from tui_chat.storage.database.records import ChatHeader
from tui_chat.storage.saving.pending import (
    Checkpoint,
    DeleteChat,
    DiscardMessage,
    MarkDeleted,
    Rename,
    SaveHeader,
    SaveMessage,
    SetLeaf,
)
from tui_chat.storage.saving.thread import SavingThread


class TranscriptWriter(SavingThread):
    """Saves chats in a thread of its own.

    Each method returns a future that is done when the change is on the disk. It never fails
    while the program runs; a change that could not be saved until `close` fails with a
    `StoreError`, and is in the file that `close` names.
    """

    def save_header(
        self, conversation: Conversation, params: Mapping[str, Any] | None = None
    ) -> Future[None]:
        """Save title, system message, model, times and leaf as they are now.

        Args:
            conversation: Read before this returns; the caller guards it.
            params: Sampling parameters of the chat; None leaves what is stored.
        """
        return self._submit(SaveHeader(ChatHeader.of(conversation, params)))

    def save_message(self, chat_id: str, message: Message) -> Future[None]:
        """Save a message, new or changed."""
        return self._submit(SaveMessage(chat_id, message))

    def checkpoint(self, chat_id: str, message: Message) -> Future[None]:
        """Save a reply as far as it got. Only its newest version waits in the queue."""
        return self._submit(SaveMessage(chat_id, message))

    def save_conversation(
        self, conversation: Conversation, params: Mapping[str, Any] | None = None
    ) -> Future[None]:
        """Save a whole chat, as after an import; the caller guards it until this returns."""
        saved = self.save_header(conversation, params)
        for message in conversation.messages():
            saved = self.save_message(conversation.id, message)
        return saved

    def mark_deleted(
        self, chat_id: str, message_ids: Iterable[str], deleted: bool = True
    ) -> Future[None]:
        """Save that messages were removed from the chat, or brought back."""
        return self._submit(MarkDeleted(chat_id, tuple(message_ids), deleted))

    def discard_message(self, chat_id: str, message_id: str) -> Future[None]:
        """Forget a message, as `Conversation.discard` does."""
        return self._submit(DiscardMessage(chat_id, message_id))

    def set_leaf(self, chat_id: str, leaf: str | None) -> Future[None]:
        """Save which message ends the active path."""
        return self._submit(SetLeaf(chat_id, leaf))

    def rename(self, chat_id: str, title: str) -> Future[None]:
        """Give a chat another title."""
        return self._submit(Rename(chat_id, title))

    def delete(self, chat_id: str) -> Future[None]:
        """Delete a chat; `undelete` brings it back for 30 days."""
        return self._submit(DeleteChat(chat_id, True))

    def undelete(self, chat_id: str) -> Future[None]:
        """Bring a deleted chat back."""
        return self._submit(DeleteChat(chat_id, False))

    def all_saved(self) -> Future[None]:
        """Done when everything that was queued before is on the disk."""
        return self._submit(Checkpoint())

    def reader(self) -> AbstractContextManager[TranscriptReader]:
        """A short-lived reader for the calling thread, which sees what is committed."""
        return read_transcripts(self.path)
