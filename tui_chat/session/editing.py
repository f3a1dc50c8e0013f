"""Operations on the message tree: new versions, removal, marks, undo and redo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from tui_chat.chat.conversation import Conversation, Message, new_id, title_from
from tui_chat.chat.marks import NO_MARKS, Marks
from tui_chat.errors import BusyError, ContextError, Remedy
from tui_chat.safe_text import storable
from tui_chat.session.events import TreeChanged
from tui_chat.session.talking import Talking


class Editing(Talking):
    """The part of the session that changes the message tree."""

    def regenerate(self, message_id: str | None = None) -> Message:
        """Write the given reply again as a new version; the last reply by default.

        Raises:
            BusyError: If the engine is still writing.
            ContextError: If there is no message to answer.
        """
        with self._lock:
            conversation = self._conversation
            target = self._target(message_id)
            parent_id = target.parent_id if target.role == "assistant" else target.id
            if parent_id is None:
                raise ContextError("There is nothing to answer", "", "Type a message")
            reply = self._branch(conversation, parent_id, "Retry", "assistant", "")
        return self._enqueue(conversation, reply)

    def edit(self, message_id: str, text: str) -> Message:
        """Add an edited version beside a message; an edited user message is answered again.

        Returns:
            The new reply for a user message, or the edited version of a reply.

        Raises:
            BusyError: If the engine is still writing.
            ContextError: If the text is empty.
        """
        text = storable(text)
        if not text.strip():
            raise ContextError("The message was not changed", "The text is empty", "Type a text")
        with self._lock:
            conversation = self._conversation
            target = self._target(message_id)
            if target.role == "assistant":
                edited = conversation.add(
                    replace(
                        target,
                        id=new_id(),
                        text=text,
                        status="complete",
                        marks=replace(NO_MARKS, edited=True),
                        token_ids=(),
                        tokenizer="",
                        error="",
                    ),
                    activate=False,
                )
                conversation.branch("Edit", edited.id)
                with self._saving_together():
                    self._save(conversation, edited)
                    self._save_header(conversation)
                self._tell(TreeChanged())
                return edited
            user = self._branch(conversation, target.parent_id, "Edit", "user", text)
            reply = conversation.append("assistant", "", status="waiting")
        return self._enqueue(conversation, reply, question=user)

    def continue_reply(self, message_id: str | None = None) -> Message:
        """Continue a reply from its end, as a new version that begins with its text.

        Raises:
            BusyError: If the engine is still writing.
            ContextError: If there is no reply with text to continue.
        """
        with self._lock:
            conversation = self._conversation
            target = self._target(message_id)
            if target.role != "assistant" or not target.text:
                raise ContextError("There is no reply to continue", "", "Choose a reply with text")
            reply = conversation.add(
                replace(
                    target,
                    id=new_id(),
                    status="waiting",
                    finish_reason="",
                    error="",
                    stats={},
                    marks=replace(NO_MARKS, edited=target.marks.edited),
                ),
                activate=False,
            )
            conversation.branch("Continue", reply.id)
        return self._enqueue(conversation, reply, is_continuation=True)

    def take_back(self, reply_id: str) -> str:
        """Remove an unanswered message from the path and return its text.

        If the user message has other replies, only the failed one is removed and the result is
        empty.
        """
        with self._lock:
            conversation = self._conversation
            if reply_id not in conversation:
                return ""
            reply = conversation[reply_id]
            user = conversation[reply.parent_id] if reply.parent_id else None
            if user is None or user.role != "user":
                return ""
            alone = len(conversation.children(user.id)) == 1
            for message in conversation.delete(user.id if alone else reply.id):
                self._save(conversation, conversation[message.id])
            if not conversation.path() and conversation.title == title_from(user.text):
                conversation.title = ""  # the title came from the removed message
            self._save_header(conversation)
        self._tell(TreeChanged())
        return user.text if alone else ""

    def flip(self, message_id: str, step: int) -> bool:
        """Show the next (+1) or previous (-1) version of a message; return False at either end."""
        return self._restructure(lambda c: c.flip(message_id, step) is not None, message_id)

    def delete(self, message_id: str) -> bool:
        """Remove a message and everything below it; undo restores them."""
        return self._restructure(lambda c: bool(c.delete(message_id)), message_id)

    def go_to(self, message_id: str) -> bool:
        """Show the branch that contains a message; return False if it is already shown."""
        return self._restructure(lambda c: c.go_to(message_id), message_id)

    def undo(self) -> str:
        """Undo the last change to the tree; return its label, empty if there is nothing to undo."""
        return self._stepped(Conversation.undo)

    def redo(self) -> str:
        """Redo the last undone change; return its label, empty if there is nothing to redo."""
        return self._stepped(Conversation.redo)

    def _stepped(self, step: Callable[[Conversation], str]) -> str:
        label = ""

        def change(conversation: Conversation) -> bool:
            nonlocal label
            label = step(conversation)
            return bool(label)

        self._restructure(change)
        return label

    # Marks and details

    def set_marks(self, label: str, marks: Mapping[str, Marks]) -> bool:
        """Replace the marks of messages as one undoable step, also while the engine writes.

        Args:
            label: The name of the step, shown by undo.
            marks: The new marks by message id.

        Returns:
            Whether anything changed.
        """

        def change(conversation: Conversation) -> bool:
            before = conversation.version
            conversation.mark(label, marks)
            return conversation.version != before

        return self._changed(change)

    def rate(self, message_id: str, value: int) -> int:
        """Rate a message 1 (good) or -1 (bad); the same again clears it. Return the new rating."""
        before = self.message(message_id).marks
        rating = 0 if before.rating == value else value
        self.set_marks("Rate", {message_id: replace(before, rating=rating)})
        return rating

    def pin(self, message_id: str) -> bool:
        """Toggle whether a message is always sent; return the new state."""
        marks = self.message(message_id).marks
        pinned = not marks.pinned
        self.set_marks("Pin", {message_id: replace(marks, pinned=pinned, excluded=False)})
        return pinned

    def exclude(self, message_id: str) -> bool:
        """Toggle whether a message is never sent; return the new state."""
        marks = self.message(message_id).marks
        excluded = not marks.excluded
        self.set_marks("Exclude", {message_id: replace(marks, excluded=excluded, pinned=False)})
        return excluded

    def name_branch(self, message_id: str, name: str) -> None:
        """Name the branch that begins with a message; an empty name removes it."""
        marks = self.message(message_id).marks
        name = title_from(storable(name), 40)
        self.set_marks("Name", {message_id: replace(marks, branch=name)})

    def set_details(self, **values: Any) -> None:
        """Replace fields of the chat's `ChatDetails`, such as its tags."""
        with self._lock:
            conversation = self._conversation
            conversation.details = replace(conversation.details, **values)
            self._save_header(conversation)
        self._tell(TreeChanged())

    def _restructure(
        self, change: Callable[[Conversation], bool], message_id: str | None = None
    ) -> bool:
        with self._lock:
            if message_id is not None:
                self._target(message_id)
            else:
                self._refuse_while_writing()
            return self._changed(change)

    def _changed(self, change: Callable[[Conversation], bool]) -> bool:
        """Apply a change to the tree, and save every message that it replaced."""
        with self._lock:
            conversation = self._conversation
            before = {m.id: m for m in conversation.messages()}
            changed = change(conversation)
            if changed:
                with self._saving_together():
                    for message in conversation.messages():
                        if message is not before.get(message.id):
                            self._save(conversation, message)
                    self._save_header(conversation)
        if changed:
            self._tell(TreeChanged())
        return changed

    def _target(self, message_id: str | None) -> Message:
        """Return the message to act on, by default the leaf.

        Raises:
            BusyError: If the engine is still writing.
            ContextError: If there is no such message.
        """
        self._refuse_while_writing()
        chosen = message_id or self._conversation.leaf_id
        if chosen is None or chosen not in self._conversation:
            raise ContextError("There is no message yet", "", "Type one and send it")
        return self._conversation[chosen]

    def _branch(
        self,
        conversation: Conversation,
        parent_id: str | None,
        label: str,
        role: Literal["user", "assistant"],
        text: str,
    ) -> Message:
        message = self._add_version(conversation, parent_id, role, text)
        conversation.branch(label, message.id)
        return message

    def _add_version(
        self,
        conversation: Conversation,
        parent_id: str | None,
        role: Literal["user", "assistant"],
        text: str,
    ) -> Message:
        """Add a message below a parent, beside its siblings, without moving the active leaf."""
        status: Literal["waiting", "complete"] = "waiting" if role == "assistant" else "complete"
        fresh = Conversation()
        template = fresh.append(role, text, status=status)
        return conversation.add(replace(template, parent_id=parent_id), activate=False)

    def _refuse_while_writing(self) -> None:
        if self.is_busy:
            raise BusyError(
                "The reply is still being written", "", "Stop it first", Remedy.STOP_REPLY
            )
