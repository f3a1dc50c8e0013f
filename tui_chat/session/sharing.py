"""Two programs on one database: only the program that opened a chat first may write to it.

The session holds a lease for each chat that it writes. While another program has the lease, the
chat is read-only here, and every change raises an error that says how to proceed; nothing is
merged. When the other program leaves the chat or ends, the session reads the chat again and takes
the lease.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.events import Failed, Finished
from tui_chat.engine.contract.backend import Backend
from tui_chat.engine.files.registry import Registry
from tui_chat.errors import BusyError, Remedy, StoreError, TranscriptNotFoundError
from tui_chat.session.choosing import USUAL
from tui_chat.session.compacting import Compacting
from tui_chat.session.events import ParamsChanged, SessionSettings, StorageNotice, TreeChanged
from tui_chat.session.reply import Reply
from tui_chat.storage.save_state import Notice

if TYPE_CHECKING:
    from tui_chat.storage.database.leases import ChatLease
    from tui_chat.storage.saving.writer import TranscriptWriter

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Seconds between two attempts to take a chat that is open in another program."""
_TAKEN = "This chat is open in another window and can only be read here"
_GO_ON = "Close it there, and it can be changed here; or go on in a copy of it"
_FREE = "The other window has left this chat: it can be changed here now."
_GONE = "This chat was deleted in another window"
_COPY = "Go on in a copy of it"


class Sharing(Compacting):
    """The part of the session that leases chats, so that only one program writes to each."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        settings: SessionSettings,
        writer: TranscriptWriter | Callable[[], TranscriptWriter] | None = None,
    ) -> None:
        self._leases: dict[str, ChatLease] = {}
        self._taken_id: str | None = None
        self._is_gone = False
        self._watch: threading.Thread | None = None
        self._is_closed = threading.Event()
        super().__init__(backend, registry, settings, writer)

    @property
    def is_read_only(self) -> bool:
        """Whether the current chat is read-only because another program opened or deleted it."""
        return self._taken_id is not None and self._taken_id == self._conversation.id

    @property
    def why_read_only(self) -> str:
        """Why the current chat is read-only, in a few words; empty if it is writable."""
        if not self.is_read_only:
            return ""
        return "deleted in another window" if self._is_gone else "open in another window"

    # Operations that a read-only chat refuses

    def send(self, text: str) -> Message:
        self._require_writable()
        return super().send(text)

    def best_of(self, count: int = USUAL, text: str = "") -> list[Message]:
        self._require_writable()
        return super().best_of(count, text)

    def set_system(self, text: str) -> None:
        self._require_writable()
        super().set_system(text)

    def _target(self, message_id: str | None) -> Message:
        self._require_writable()
        return super()._target(message_id)

    def set_details(self, **values: Any) -> None:
        self._require_writable()
        super().set_details(**values)

    def _changed(self, change: Callable[[Conversation], bool]) -> bool:
        self._require_writable()
        return super()._changed(change)

    def _require_writable(self) -> None:
        """Check that the current chat may be changed here.

        Raises:
            BusyError: If it is read-only.
        """
        if self.is_read_only:
            title, hint = (_GONE, _COPY) if self._is_gone else (_TAKEN, _GO_ON)
            raise BusyError(title, "", hint, Remedy.COPY_CHAT)

    def _require_free(self, chat_id: str) -> None:
        """Check that a saved chat may be renamed or deleted here.

        Raises:
            BusyError: If another program has it open.
        """
        with self._lock:
            if self._writer is None or chat_id in self._leases:
                return
            lease = self._lease(chat_id)
            is_free = lease.take()
            lease.give_back()
        if not is_free:
            raise BusyError("That chat is open in another window", "", "Close it there first")

    # Taking a chat

    def _take_chat(self, conversation: Conversation) -> None:
        """Lease a chat that is being opened, unless it is empty, and give back the others."""
        taken = bool(len(conversation)) and not self._hold(conversation.id)
        self._taken_id = conversation.id if taken else None
        self._is_gone = False
        self._leave_others()

    def _tell_if_taken(self) -> None:
        """Tell present and later listeners if the chat is read-only, and start to watch it."""
        with self._lock:
            self._notices = [n for n in self._notices if n.notice.kind not in ("in use", "free")]
            if self.is_read_only:
                notice = Notice("in use", f"{_TAKEN}.", hint=_GO_ON, remedy=Remedy.COPY_CHAT)
                self._notices.append(StorageNotice(notice))
                self._tell(self._notices[-1])
                self._begin_to_watch()

    # Waiting for the other program

    def _begin_to_watch(self) -> None:
        """Start a thread that tries to take the chat every `LOOK_S` seconds until it succeeds."""
        if self._watch is None:
            self._watch = threading.Thread(target=self._look, name="chat lease", daemon=True)
            self._watch.start()

    def _look(self) -> None:
        while not self._is_closed.wait(LOOK_S):
            with self._lock:
                chat_id = self._taken_id
                if chat_id is None or not self.is_read_only:
                    self._watch = None
                    return
            try:
                if self._take_over(chat_id):
                    return
            except StoreError as error:  # try again after the next wait
                log.warning("the chat can't be taken over: %s", error.one_line)

    def _take_over(self, chat_id: str) -> bool:
        """Take the lease of a chat, if it is free, and read the chat as the other program left it.

        Returns:
            Whether the watching thread is done.

        Raises:
            StoreError: If the chat cannot be read.
        """
        lease = self._lease(chat_id)
        if not lease.take():
            return False
        try:
            saved = self._saved(chat_id)
            with self._lock:
                is_wanted = self._taken_id == chat_id and self.is_read_only
                is_wanted = is_wanted and not self._is_closed.is_set()
                self._watch = None
                self._notices = [n for n in self._notices if n.notice.kind != "in use"]
                self._is_gone = saved is None
                if is_wanted and saved is not None:
                    self._leases[chat_id] = lease
                    self._conversation, self._taken_id = saved, None
                    self._end_what_was_left(saved)
        finally:
            if self._leases.get(chat_id) is not lease:
                lease.give_back()
        if is_wanted:
            if saved is not None:
                self._tell(TreeChanged())
                self._tell(ParamsChanged())
            gone = Notice("free", f"{_GONE}.", hint=_COPY, remedy=Remedy.COPY_CHAT)
            self._tell(StorageNotice(Notice("free", _FREE) if saved is not None else gone))
        elif self.is_read_only:
            self._begin_to_watch()  # the user has opened another read-only chat
        return True

    def _saved(self, chat_id: str) -> Conversation | None:
        """Return a chat as it is in the database; None if it was deleted."""
        assert self._writer is not None
        with self._writer.reader() as reader:
            try:
                return reader.load(reader.find(chat_id))
            except TranscriptNotFoundError:
                return None

    def _as_left(self, conversation: Conversation) -> Conversation:
        """Lease a chat that is being opened, and read it again if another program changed it."""
        if self._writer is None or not len(conversation) or conversation.id in self._leases:
            return conversation
        if not self._hold(conversation.id):
            return conversation
        try:
            with self._writer.reader() as reader:
                stored = reader.stored_update(conversation.id)
                if stored is not None and stored > conversation.updated:
                    conversation = reader.load(conversation.id)
        except StoreError as error:
            log.warning("the chat can't be read again: %s", error.one_line)
        self._end_what_was_left(conversation)
        return conversation

    def _end_what_was_left(self, conversation: Conversation) -> None:
        """Mark messages that a program left unfinished as interrupted; their text stays."""
        for message in conversation.messages():
            if message.is_unfinished and message.id not in self._replies:
                ended = conversation.update(message.id, status="interrupted")
                self._save(conversation, ended)

    def _save(self, conversation: Conversation, message: Message) -> Future[None] | None:
        self._hold(conversation.id)  # a new chat is leased at its first save
        return super()._save(conversation, message)

    def _save_header(self, conversation: Conversation) -> None:
        if conversation.id != self._taken_id:
            super()._save_header(conversation)

    def _end(self, reply: Reply, event: Finished | Failed) -> None:
        super()._end(reply, event)
        self._leave_others()

    def _lease(self, chat_id: str) -> ChatLease:
        from tui_chat.storage.database.leases import ChatLease  # not needed before the first frame

        assert self._writer is not None
        return ChatLease(Path(os.path.realpath(self._writer.path)), chat_id)

    def _hold(self, chat_id: str) -> bool:
        """Lease a chat unless this session has it already; return False if another program does."""
        if chat_id in self._leases or self._writer is None:
            return True
        lease = self._lease(chat_id)
        if not lease.take():
            return False
        self._leases[chat_id] = lease
        return True

    def _leave_others(self) -> None:
        """Give back the leases of chats no longer used here, once all their changes are saved."""
        if any(not self._is_used(i) for i in self._leases) and self._writer is not None:
            self._writer.all_saved().add_done_callback(lambda _: self._give_back_left())

    def _give_back_left(self) -> None:
        with self._lock:
            for chat_id in [i for i in self._leases if not self._is_used(i)]:
                self._leases.pop(chat_id).give_back()

    def _is_used(self, chat_id: str) -> bool:
        """Return whether a chat is open here, or a reply in it is unfinished."""
        replies = self._replies.values()
        return chat_id == self._conversation.id or any(
            reply.conversation.id == chat_id for reply in replies
        )

    def _give_back_all(self) -> None:
        self._is_closed.set()
        with self._lock:
            for lease in self._leases.values():
                lease.give_back()
            self._leases.clear()
