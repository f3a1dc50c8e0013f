"""The best of several: replies to one message written side by side, and the choice between them.

They are versions of one reply like any others. What is chosen is remembered as a preference, for
training. Refuses to choose by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.errors import ContextError, ParameterError, Remedy
from tui_chat.session.editing import Editing
from tui_chat.session.reply import Reply

FEWEST, MOST = 2, 8
"""How many candidates there can be."""
USUAL = 4


class Choosing(Editing):
    """Writes candidates, and takes the choice of one."""

    def best_of(self, count: int = USUAL, text: str = "") -> list[Message]:
        """Answer a message several times, to choose the best; each is a version of the reply.

        Args:
            count: How many, 2 to 8.
            text: A new message; empty for the last one of the user, whose present replies stay.

        Returns:
            The candidates, empty so far.

        Raises:
            ParameterError: If the number is another one, or all of them would be the same.
            BusyError: If the engine is still writing.
            ContextError: If there is nothing to answer, or the text is too long for the context.
        """
        if not FEWEST <= count <= MOST:
            raise ParameterError(
                f"There can be {FEWEST} to {MOST} candidates",
                f"Not {count}",
                f"{USUAL} is usual",
            )
        self._refuse_equal(count)
        if text:
            text = self._sendable_text(text)
        with self._lock:
            conversation = self._conversation
            question: Message | None = None
            if text:
                self._refuse_while_writing()
                question = self._append_user(conversation, text)
                parent_id = question.id
            else:
                parent_id = self._question().id
            candidates = [
                self._add_version(conversation, parent_id, "assistant", "") for _ in range(count)
            ]
            if text:
                conversation.set_leaf(candidates[0].id)
            else:
                conversation.branch(f"Best of {count}", candidates[0].id)
            replies = tuple(Reply(conversation, m.id, is_continuation=False) for m in candidates)
            for reply in replies:
                reply.beside = replies
        self._enqueue_replies(replies, question)
        return candidates

    def _refuse_equal(self, count: int) -> None:
        params = self.params
        if not params.is_greedy and params.top_k != 1:
            return
        why = "temperature is 0" if params.is_greedy else "top_k is 1"
        raise ParameterError(
            f"All {count} candidates would be the same",
            f"{why}, so that the most probable token is always taken",
            "Choose a preset such as k50, or another value",
            Remedy.CHOOSE_PARAMETERS,
        )

    def _question(self) -> Message:
        """The last message of the user on the active path. Refuses while the engine writes."""
        leaf = self._target(None)
        path = self._conversation.path(leaf.id)
        question = next((m for m in reversed(path) if m.role == "user"), None)
        if question is None:
            raise ContextError("There is nothing to answer", "", "Type a message")
        return question

    def stop_reply(self, message_id: str) -> None:
        """Stop one reply, keeping its text; those beside it go on."""
        with self._lock:
            reply = self._replies.get(message_id)
        if reply is not None and reply.job is not None:
            reply.job.cancel()

    def choose(self, chosen_id: str, others: Sequence[str]) -> Literal["preferred", "shown"]:
        """Make a candidate part of the chat, as one step that can be undone.

        It is remembered that it was preferred to those of the others that have a text. Those that
        are still being written are stopped; the chosen one goes on.

        Returns:
            `preferred`, or `shown` where there was nothing to prefer it to.

        Raises:
            ContextError: If it has no text.
        """
        with self._lock:
            if not self.message(chosen_id).text:
                raise ContextError("It has no text yet", "", "Wait for it, or choose another one")
            for other in others:
                self.stop_reply(other)
            written = [i for i in others if self._is_comparable(self.message(i))]

            def change(conversation: Conversation) -> bool:
                conversation.choose("Choice", chosen_id, written)
                return True

            self._changed(change)
        return "preferred" if written else "shown"

    def _is_comparable(self, message: Message) -> bool:
        return bool(message.text) and message.status != "failed" and not message.deleted
