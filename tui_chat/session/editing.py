"""Editing the tree: other versions of messages, removal, marks, and undo."""

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
    """Retry, edit, continue, flip, delete and undo."""

    def regenerate(self, message_id: str | None = None) -> Message:
        """Answer again: a new version beside the given reply, or the last one.

        Raises:
            BusyError: If the engine is still writing it.
            ContextError: If there is nothing to answer.
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
        """Put an edited version beside a message; an edited user message is answered again.

        Returns:
            The new reply for a user message, the edited message for a reply.

        Raises:
            BusyError: If the engine is still writing below it.
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
        """Go on writing a reply where it ends, as a new version that begins with its text.

        Raises:
            BusyError: If the engine is still writing it.
            ContextError: If there is no reply to go on with.
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
        """Remove a message that got no answer from the path, and return its text."""
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
                conversation.title = ""  # it was the title for this message only
            self._save_header(conversation)
        self._tell(TreeChanged())
        return user.text if alone else ""

    def flip(self, message_id: str, step: int) -> bool:
        """Show the next (+1) or earlier (-1) version of a message; False at either end."""
        return self._restructure(lambda c: c.flip(message_id, step) is not None, message_id)

    def delete(self, message_id: str) -> bool:
        """Remove a message and all below it; undo brings it back."""
        return self._restructure(lambda c: bool(c.delete(message_id)), message_id)

    def go_to(self, message_id: str) -> bool:
        """Show the branch that a message is on; False if it is shown already."""
        return self._restructure(lambda c: c.go_to(message_id), message_id)

    def undo(self) -> str:
        """Take back the last change to the tree; returns its name, empty if there is none."""
        return self._stepped(Conversation.undo)

    def redo(self) -> str:
        """Do again what was undone last; returns its name, empty if there is nothing."""
        return self._stepped(Conversation.redo)

    def _stepped(self, step: Callable[[Conversation], str]) -> str:
        label = ""

        def change(conversation: Conversation) -> bool:
            nonlocal label
            label = step(conversation)
            return bool(label)

        self._restructure(change)
        return label

    # What is said about messages and chats

    def set_marks(self, label: str, marks: Mapping[str, Marks]) -> bool:
        """Replace the marks of messages as one step that can be undone.

        Args:
            label: What undoing it is called.
            marks: The new marks, by id.

        Returns:
            Whether anything changed. A reply that is being written can be marked as well.
        """

        def change(conversation: Conversation) -> bool:
            before = conversation.version
            conversation.mark(label, marks)
            return conversation.version != before

        return self._changed(change)

    def rate(self, message_id: str, value: int) -> int:
        """Rate a message 1 (good) or -1 (bad); the same again takes it back. Returns the rating."""
        before = self.message(message_id).marks
        rating = 0 if before.rating == value else value
        self.set_marks("Rate", {message_id: replace(before, rating=rating)})
        return rating

    def pin(self, message_id: str) -> bool:
        """Always send a message, however long the chat is, or no more; returns which."""
        marks = self.message(message_id).marks
        pinned = not marks.pinned
        self.set_marks("Pin", {message_id: replace(marks, pinned=pinned, excluded=False)})
        return pinned

    def exclude(self, message_id: str) -> bool:
        """Never send a message, or send it again; returns which."""
        marks = self.message(message_id).marks
        excluded = not marks.excluded
        self.set_marks("Exclude", {message_id: replace(marks, excluded=excluded, pinned=False)})
        return excluded

    def name_branch(self, message_id: str, name: str) -> None:
        """Name the branch that begins with a message; an empty name takes it away."""
        marks = self.message(message_id).marks
        name = title_from(storable(name), 40)
        self.set_marks("Name", {message_id: replace(marks, branch=name)})

    def set_details(self, **values: Any) -> None:
        """Change what is said about the whole chat: its tags, and whether it is archived."""
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
        """Change the tree, and save every message that is another one now."""
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
        """The message to act on; the leaf by default. Refuses while the engine writes."""
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
        """Put a message below another, beside those that are there, without going to it."""
        status: Literal["waiting", "complete"] = "waiting" if role == "assistant" else "complete"
        fresh = Conversation()
        template = fresh.append(role, text, status=status)
        return conversation.add(replace(template, parent_id=parent_id), activate=False)

    def _refuse_while_writing(self) -> None:
        if self.is_busy:
            raise BusyError(
                "The reply is still being written", "", "Stop it first", Remedy.STOP_REPLY
            )
