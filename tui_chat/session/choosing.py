"""Best of N: several replies to one message, written side by side, and the user's choice of one.

The candidates are ordinary versions of one reply. The choice is stored as a preference, which the
training exports can use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.errors import ContextError, ParameterError, Remedy
from tui_chat.session.editing import Editing
from tui_chat.session.reply import Reply

FEWEST, MOST = 2, 8
"""The smallest and largest number of candidates."""
USUAL = 4


class Choosing(Editing):
    """The part of the session that writes candidates and records the user's choice."""

    def best_of(self, count: int = USUAL, text: str = "") -> list[Message]:
        """Write several replies to one message, each as a version of the reply.

        Args:
            count: Number of candidates, 2 to 8.
            text: A new message to send; empty to answer the last user message again, whose present
                replies stay.

        Returns:
            The candidates, empty so far.

        Raises:
            ParameterError: If `count` is out of range, or the parameters are greedy, so that all
                candidates would be the same.
            BusyError: If the engine is still writing.
            ContextError: If there is no message to answer, or the text does not fit into the
                context.
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
        """Return the last user message of the active path.

        Raises:
            BusyError: If the engine is still writing.
            ContextError: If there is no user message.
        """
        leaf = self._target(None)
        path = self._conversation.path(leaf.id)
        question = next((m for m in reversed(path) if m.role == "user"), None)
        if question is None:
            raise ContextError("There is nothing to answer", "", "Type a message")
        return question

    def stop_reply(self, message_id: str) -> None:
        """Stop one reply and keep its text; the replies beside it continue."""
        with self._lock:
            reply = self._replies.get(message_id)
        if reply is not None and reply.job is not None:
            reply.job.cancel()

    def choose(self, chosen_id: str, others: Sequence[str]) -> Literal["preferred", "shown"]:
        """Show a candidate in the chat and record it as preferred, as one undoable step.

        The preference counts only against candidates that have text. Candidates that the engine is
        still writing are stopped, except for the chosen one, which continues.

        Args:
            chosen_id: The id of the chosen candidate.
            others: The ids of the other candidates.

        Returns:
            `preferred`; or `shown` if no other candidate had text.

        Raises:
            ContextError: If the chosen candidate has no text yet.
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
