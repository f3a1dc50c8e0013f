"""Two programs on one database: a chat is written by the one that opened it first.

Owns which chats this session may write to. Refuses to merge: what the other program has open can
only be read here, and every way to change it is refused with how to go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.events import Failed, Finished
from tui_chat.engine.backend import Backend
from tui_chat.engine.registry import Registry
from tui_chat.errors import BusyError
from tui_chat.session.editing import Editing
from tui_chat.session.events import SessionSettings, StorageNotice
from tui_chat.session.reply import Reply
from tui_chat.storage.save_state import Notice

if TYPE_CHECKING:
    from tui_chat.storage.leases import ChatLease
    from tui_chat.storage.writer import TranscriptWriter

_TAKEN = "This chat is open in another window and can only be read here"
_GO_ON = "Close it there and open it here again, or go on in a copy of it with /fork"


class Sharing(Editing):
    """Keeps a chat to one program while it is open there."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        settings: SessionSettings,
        writer: TranscriptWriter | Callable[[], TranscriptWriter] | None = None,
    ) -> None:
        self._leases: dict[str, ChatLease] = {}
        self._taken_id: str | None = None
        super().__init__(backend, registry, settings, writer)

    @property
    def is_read_only(self) -> bool:
        """Whether another program has the current chat open, so that it can only be read here."""
        return self._taken_id is not None and self._taken_id == self._conversation.id

    # What is refused

    def send(self, text: str) -> Message:
        self._require_writable()
        return super().send(text)

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
        """Refuse a change of a chat that another program has open.

        Raises:
            BusyError: If it has.
        """
        if self.is_read_only:
            raise BusyError(_TAKEN, "", _GO_ON)

    def _require_free(self, chat_id: str) -> None:
        """Refuse to rename or delete a saved chat that another program has open.

        Raises:
            BusyError: If it has.
        """
        with self._lock:
            if self._writer is None or chat_id in self._leases:
                return
            lease = self._lease(chat_id)
            is_free = lease.take()
            lease.give_back()
        if not is_free:
            raise BusyError("That chat is open in another window", "", "Close it there first")

    # Which chats are ours

    def _take_chat(self, conversation: Conversation) -> None:
        """Take the chat that is opened, if it was saved, and leave the one before."""
        taken = bool(len(conversation)) and not self._hold(conversation.id)
        self._taken_id = conversation.id if taken else None
        self._leave_others()

    def _tell_if_taken(self) -> None:
        """Say that the chat can only be read, now and to whoever subscribes while it is open."""
        with self._lock:
            self._notices = [n for n in self._notices if n.notice.kind != "in use"]
            if self.is_read_only:
                self._notices.append(StorageNotice(Notice("in use", f"{_TAKEN}. {_GO_ON}.")))
                self._tell(self._notices[-1])

    def _save(self, conversation: Conversation, message: Message) -> Future[None] | None:
        self._hold(conversation.id)  # a new chat is taken when it is saved first
        return super()._save(conversation, message)

    def _save_header(self, conversation: Conversation) -> None:
        if conversation.id != self._taken_id:
            super()._save_header(conversation)

    def _end(self, reply: Reply, event: Finished | Failed) -> None:
        super()._end(reply, event)
        self._leave_others()

    def _lease(self, chat_id: str) -> ChatLease:
        from tui_chat.storage.leases import ChatLease  # not needed before the first frame

        assert self._writer is not None
        return ChatLease(Path(os.path.realpath(self._writer.path)), chat_id)

    def _hold(self, chat_id: str) -> bool:
        """Take a chat, unless it is ours; False if another program has it."""
        if chat_id in self._leases or self._writer is None:
            return True
        lease = self._lease(chat_id)
        if not lease.take():
            return False
        self._leases[chat_id] = lease
        return True

    def _leave_others(self) -> None:
        """Give chats back that were left, once all that was said in them is saved."""
        if any(not self._is_used(i) for i in self._leases) and self._writer is not None:
            self._writer.all_saved().add_done_callback(lambda _: self._give_back_left())

    def _give_back_left(self) -> None:
        with self._lock:
            for chat_id in [i for i in self._leases if not self._is_used(i)]:
                self._leases.pop(chat_id).give_back()

    def _is_used(self, chat_id: str) -> bool:
        """Whether a chat is open, or a reply in it is still to be written."""
        replies = self._replies.values()
        return chat_id == self._conversation.id or any(
            reply.conversation.id == chat_id for reply in replies
        )

    def _give_back_all(self) -> None:
        with self._lock:
            for lease in self._leases.values():
                lease.give_back()
            self._leases.clear()
