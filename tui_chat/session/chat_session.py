"""`ChatSession`, the class that front ends use, with its operations on whole chats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_chat.chat.conversation import Conversation, title_from
from tui_chat.errors import BusyError, Remedy, TranscriptNotFoundError, TuiChatError
from tui_chat.safe_text import storable
from tui_chat.session.events import ChatOpened, TreeChanged
from tui_chat.session.sharing import Sharing

if TYPE_CHECKING:
    from tui_chat.chat.query import Query
    from tui_chat.storage.database.records import ChatSummary
    from tui_chat.storage.database.search import Found


class ChatSession(Sharing):
    """A chat with a model.

    Args:
        backend: Runs the model; only the session's engine thread loads and generates with it.
        registry: The known models and presets.
        settings: The initial model, parameters and system message.
        writer: Saves in the background; or a function that makes such a writer, called once on
            first use. None saves nothing.
    """

    def new_chat(self) -> None:
        """Start an empty chat; a running reply is stopped and its text kept."""
        self._open(self._empty_chat(self._conversation.system, self._wanted.model))

    def open_chat(self, conversation: Conversation) -> None:
        """Make a loaded chat the current one; a running reply is stopped and its text kept.

        If another program has the chat open, it is read-only here until that program leaves it, and
        a notice tells the user. Reads the database; not for a UI loop.
        """
        with self._lock:
            self._open(self._as_left(conversation))

    def keep_draft(self, text: str) -> None:
        """Save the unsent draft with the chat."""
        with self._lock:
            working = self._conversation.working
            if working.get("draft", "") == text:
                return
            working["draft"] = storable(text)
            self._save_header(self._conversation)

    @property
    def place(self) -> tuple[str, int] | None:
        """The saved scroll position: the id of the message at the top and its line, counted from 0.

        None stands for the end of the chat.
        """
        kept = self._conversation.working.get("place")
        if not isinstance(kept, dict):
            return None
        message_id, line = kept.get("message"), kept.get("line")
        is_place = isinstance(message_id, str) and isinstance(line, int) and line >= 0
        return (str(message_id), int(line or 0)) if is_place else None

    def keep_place(self, place: tuple[str, int] | None) -> None:
        """Save the scroll position with the chat, in the form of `place`."""
        with self._lock:
            working = self._conversation.working
            if place == self.place or (place is not None and not self.is_here(place[0])):
                return
            if place is None:
                working.pop("place", None)
            else:
                working["place"] = {"message": place[0], "line": place[1]}
            self._save_header(self._conversation)

    def fork(self, message_id: str) -> Conversation:
        """Open a new chat with the messages up to one of them; the old chat stays unchanged."""
        with self._lock:
            title = self._conversation.title
            copy = self._conversation.fork(message_id, title_from(f"{title} (fork)", 200))
        self._open(copy)
        if self._writer is not None:
            self._writer.save_conversation(copy)
        return copy

    def _open(self, conversation: Conversation) -> None:
        self.stop_all()
        with self._lock:
            for reply in self._replies.values():
                if not reply.has_begun and reply.job is not None:
                    reply.job.cancel()
            self._conversation = conversation
            self._last_stats = None
            self._take_chat(conversation)
        self._tell(ChatOpened())
        self._tell_if_taken()

    def chats(self) -> list[ChatSummary]:
        """Return the saved chats, newest first. Reads the database; not for a UI loop."""
        if self._writer is None:
            return []
        with self._writer.reader() as reader:
            return reader.list_chats()

    def chats_with(self, query: Query) -> frozenset[str]:
        """Return the ids of the chats in which the query matches a message. Not for a UI loop.

        Raises:
            StoreError: If the database cannot be read.
        """
        if self._writer is None:
            return frozenset()
        with self._writer.reader() as reader:
            return frozenset(reader.chat_ids(query))

    def search(self, query: Query) -> list[Found]:
        """Return matching messages of the saved chats, best match first. Not for a UI loop.

        Raises:
            StoreError: If the database cannot be read.
        """
        if self._writer is None:
            return []
        with self._writer.reader() as reader:
            return reader.search(query)

    def open_at(self, chat_id: str, message_id: str) -> None:
        """Make a saved chat the current one and show the branch of a message. Not for a UI loop.

        If the chat is the current one already, switching to another branch is an undoable step.

        Raises:
            TranscriptNotFoundError: If the chat or the message no longer exists.
            BusyError: If this would switch branches of the current chat while the engine writes.
        """
        is_current = chat_id == self._conversation.id
        conversation = self._conversation if is_current else self.load_chat(chat_id)
        with self._lock:
            if not is_current:
                conversation = self._as_left(conversation)
            if message_id not in conversation or conversation[message_id].deleted:
                self._leave_others()
                raise TranscriptNotFoundError("The message is not there any more")
            is_shown = any(m.id == message_id for m in conversation.path())
            if is_current and not is_shown and self.is_busy:
                raise BusyError(
                    "The reply is still being written", "", "Stop it first", Remedy.STOP_REPLY
                )
            is_moved = conversation.go_to(message_id)
            if not is_current:
                self._open(conversation)
            if is_moved:
                self._save_header(conversation)
        if is_current:
            self._tell(TreeChanged())

    def load_chat(self, id_or_prefix: str) -> Conversation:
        """Read a saved chat by its id, a prefix of its id, or `last`. Not for a UI loop.

        Raises:
            TuiChatError: If nothing is saved in this run.
            TranscriptNotFoundError: If no chat matches.
            StoreError: If several chats match, or the database cannot be read.
        """
        if self._writer is None:
            raise TuiChatError("Nothing is saved in this run", "", "Start without --no-save")
        self._writer.flush(2.0)
        with self._writer.reader() as reader:
            return reader.load(reader.find(id_or_prefix))

    def rename_chat(self, chat_id: str, title: str) -> None:
        """Give a chat another title.

        Raises:
            BusyError: If another program has the chat open.
        """
        self._require_free(chat_id)
        title = title_from(storable(title), 200)
        with self._lock:
            if self._conversation.id == chat_id:
                self._conversation.title = title
            if self._writer is not None:
                self._writer.rename(chat_id, title)
        self._tell(TreeChanged())

    def delete_chat(self, chat_id: str) -> None:
        """Delete a saved chat; `undelete_chat` restores it.

        If it is the current chat, the session starts a new one.

        Raises:
            BusyError: If another program has the chat open.
        """
        self._require_free(chat_id)
        if self._writer is not None:
            # Before new_chat gives the lease back, so that a waiting program finds it deleted.
            self._writer.delete(chat_id)
        if chat_id == self._conversation.id:
            self.new_chat()

    def undelete_chat(self, chat_id: str) -> None:
        """Restore a deleted chat."""
        if self._writer is not None:
            self._writer.undelete(chat_id)

    def close(self, timeout: float = 2.0) -> bool:
        """Stop the engine, save everything and free the model.

        Args:
            timeout: Seconds to wait for the engine thread, and again for saving.

        Returns:
            Whether the engine thread has ended. If not, it is inside native code, and the process
            must end with `os._exit`.
        """
        self.save_partial()
        ended = self._runner.close(timeout)
        self.save_partial()
        self._close_writer(timeout)
        self._give_back_all()
        return ended

    def save_partial(self) -> None:
        """Save the text so far of each reply that the engine is writing, marked as stopped."""
        with self._lock:
            for reply in list(self._replies.values()):
                if reply.has_begun:
                    self._save(reply.conversation, reply.stop())
