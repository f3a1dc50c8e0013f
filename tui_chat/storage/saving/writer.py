"""`TranscriptWriter`, through which a chat session saves its changes from any thread.

The methods that save return at once and never raise. `saving.thread.SavingThread` brings the
changes to the disk and handles failures. Reads do not wait for the queue; they use `reader`.

    writer = TranscriptWriter(paths.database_file(), on_state=show).start()
    writer.save_header(conversation, params)
    saved = writer.save_message(conversation.id, message)
    writer.wait_saved(saved, timeout=2.0)   # before generating
    writer.checkpoint(conversation.id, partial_reply)
    left = writer.close()                   # a file with the unsaved changes, else None
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
    """A writer that saves chats in its own thread.

    Each method that saves returns a future, which completes when the change is on the disk. While
    the disk or the file prevents saving, the future stays pending. It fails with a `StoreError` if
    the database rejects the change itself, if the change is still unsaved at `close` (it is then in
    the file that `close` returns), or if the writer is already closed.
    """

    def save_header(
        self, conversation: Conversation, params: Mapping[str, Any] | None = None
    ) -> Future[None]:
        """Save everything of a chat apart from its messages, as it is now.

        Args:
            conversation: The chat, which is copied before this returns. The caller must hold its
                lock meanwhile.
            params: Sampling parameters of the chat; None keeps the stored ones.
        """
        return self._submit(SaveHeader(ChatHeader.of(conversation, params)))

    def save_message(self, chat_id: str, message: Message) -> Future[None]:
        """Save a new or changed message."""
        return self._submit(SaveMessage(chat_id, message))

    def checkpoint(self, chat_id: str, message: Message) -> Future[None]:
        """Save an unfinished reply. Only its newest version stays in the queue."""
        return self._submit(SaveMessage(chat_id, message))

    def save_conversation(
        self, conversation: Conversation, params: Mapping[str, Any] | None = None
    ) -> Future[None]:
        """Save a whole chat, for example after the database file was replaced.

        Args:
            conversation: The chat. The caller must hold its lock until this returns.
            params: Sampling parameters of the chat; None keeps the stored ones.

        Returns:
            The future of the last change.
        """
        saved = self.save_header(conversation, params)
        for message in conversation.messages():
            saved = self.save_message(conversation.id, message)
        return saved

    def mark_deleted(
        self, chat_id: str, message_ids: Iterable[str], deleted: bool = True
    ) -> Future[None]:
        """Mark messages as deleted, or restore them if `deleted` is false."""
        return self._submit(MarkDeleted(chat_id, tuple(message_ids), deleted))

    def discard_message(self, chat_id: str, message_id: str) -> Future[None]:
        """Remove a message that has no replies, as `Conversation.discard` does."""
        return self._submit(DiscardMessage(chat_id, message_id))

    def set_leaf(self, chat_id: str, leaf: str | None) -> Future[None]:
        """Save which message is the end of the active path; None for an empty path."""
        return self._submit(SetLeaf(chat_id, leaf))

    def rename(self, chat_id: str, title: str) -> Future[None]:
        """Save a new title of a chat."""
        return self._submit(Rename(chat_id, title))

    def delete(self, chat_id: str) -> Future[None]:
        """Delete a chat; `undelete` can restore it for 30 days."""
        return self._submit(DeleteChat(chat_id, True))

    def undelete(self, chat_id: str) -> Future[None]:
        """Restore a deleted chat."""
        return self._submit(DeleteChat(chat_id, False))

    def all_saved(self) -> Future[None]:
        """Return a future that completes when everything queued so far is on the disk."""
        return self._submit(Checkpoint())

    def reader(self) -> AbstractContextManager[TranscriptReader]:
        """Open a short-lived reader for the calling thread, which sees all committed data."""
        return read_transcripts(self.path)
