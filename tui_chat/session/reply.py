"""A reply while the engine writes it: its text so far, and when to save it.

`Reply` moves the engine's deltas into a message of the tree. It is not thread-safe; the session
calls it under its lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.events import Delta, Failed, Finished, ModelInfo
from tui_chat.chat.marks import NO_MARKS

if TYPE_CHECKING:
    from tui_chat.chat.params import SamplingParams
    from tui_chat.chat.prompt import PromptComposer
    from tui_chat.engine.contract.runner import JobHandle

CHECKPOINT_S = 0.25
"""Longest time between two saves of a streaming reply, in seconds."""
CHECKPOINT_TOKENS = 32
"""Most new tokens between two saves; whichever limit is reached first triggers the save."""
LONG_REPLY = 8_192
"""Length in tokens above which both limits grow in proportion, as each save writes all the text."""


@dataclass(slots=True, eq=False)
class Reply:
    """A reply that the engine has not finished."""

    conversation: Conversation
    message_id: str
    is_continuation: bool
    """Whether it continues text that is already in the message."""
    committed: Future[None] | None = None
    """Completes when the waiting message is on disk."""
    job: JobHandle | None = None
    beside: tuple[Reply, ...] = field(default=(), repr=False)
    """All replies written together with this one, itself included; empty if it is alone."""
    attempt: int = 0
    """Number of the current submission; the session ignores events of earlier ones."""
    has_begun: bool = False
    _text: list[str] = field(default_factory=list)
    _token_ids: list[int] = field(default_factory=list)
    _saved_at: float = 0.0
    _saved_tokens: int = 0
    _lead: str = ""

    @property
    def message(self) -> Message:
        """The message as it is in the tree."""
        return self.conversation[self.message_id]

    @property
    def has_text(self) -> bool:
        """Whether the reply has any text yet."""
        return bool(self._text or self.message.text)

    def begin(
        self, composer: PromptComposer, info: ModelInfo, params: SamplingParams, seed: int
    ) -> Message:
        """Mark the message as streaming, and record the model, parameters and seed in it."""
        before, fingerprint = self.message, composer.encoder.fingerprint
        if self.is_continuation:
            exact = before.tokenizer == fingerprint
            self._token_ids = list(
                before.token_ids if exact else composer.encoder.encode(before.text)
            )
            self._text = [before.text]
        else:
            self._lead = composer.template.lead
        self.has_begun = True
        self._saved_at = time.monotonic()
        return self.conversation.update(
            self.message_id,
            status="streaming",
            model=info.name,
            precision=info.precision,
            tokenizer=fingerprint,
            seed=seed,
            params=params.to_dict(),
        )

    def take(self, delta: Delta) -> Delta:
        """Add a delta, and return it in the form to show, without the template's lead."""
        if self._lead and delta.text:
            delta = replace(delta, text=delta.text.removeprefix(self._lead))
            self._lead = ""
        if delta.text:
            self._text.append(delta.text)
        self._token_ids += delta.token_ids
        return delta

    def checkpoint(self) -> Message | None:
        """Return the message with the text so far if it is due to be saved, else None."""
        length = max(1.0, len(self._token_ids) / LONG_REPLY)
        is_late = time.monotonic() - self._saved_at >= CHECKPOINT_S * length
        written = len(self._token_ids) - self._saved_tokens
        if not is_late and written < CHECKPOINT_TOKENS * length:
            return None
        self._saved_at = time.monotonic()
        self._saved_tokens = len(self._token_ids)
        return self.apply()

    def apply(self) -> Message:
        """Write the text so far into the tree."""
        text = "".join(self._text)
        self._text = [text] if text else []
        current = self.message
        if current.text == text and len(current.token_ids) == len(self._token_ids):
            return current
        return self.conversation.update(
            self.message_id, text=text, token_ids=tuple(self._token_ids)
        )

    def stop(self) -> Message:
        """End the reply where it is, for example when the user quits the program."""
        self.apply()
        return self.conversation.update(
            self.message_id, status="stopped", finish_reason="cancelled"
        )

    def finish(self, event: Finished) -> Message:
        """End the reply with the engine's reason and statistics."""
        if event.reason == "stop":
            # The tokens include the stop string, the text does not; so encode the text when sent.
            self._token_ids = []
        self.apply()
        return self.conversation.update(
            self.message_id,
            status="stopped" if event.reason == "cancelled" else "complete",
            finish_reason=event.reason,
            stats=asdict(event.stats),
        )

    def fail(self, event: Failed) -> Message:
        """End the reply with an error and keep its text."""
        if self.has_begun:
            self.apply()
        return self.conversation.update(self.message_id, status="failed", error=event.one_line)


def sendable(messages: Iterable[Message], keep_last: bool = False) -> list[Message]:
    """Return the messages of a path from which a prompt is composed.

    Replies without text are left out, and so are user messages that have no reply, except for the
    last one: the model should not see questions that it seems to have ignored. An excluded message
    is left out together with the rest of its turn, so that no reply stands without its question.
    The turn to be answered or continued stays even if it is excluded.

    Args:
        messages: A path with its note, oldest first.
        keep_last: Keep the last message even if it is an unfinished reply.
    """
    path = list(messages)
    last = len(path) - 1
    begins = next((i for i in range(last, -1, -1) if path[i].role == "user"), 0)
    is_open = keep_last or not any(m.text for m in path[begins + 1 :])
    closed = begins if is_open else len(path)
    kept: list[Message] = []
    is_left_out = False
    for i, m in enumerate(path):
        if m.is_note:
            kept.append(m)  # it belongs to no turn
            continue
        if m.role == "user":
            is_left_out = m.marks.excluded
        if i < closed and (is_left_out or m.marks.excluded):
            continue
        if m.role != "assistant" or m.text or (keep_last and i == last):
            kept.append(m)
    spoken = [m for m in kept if not m.is_note]
    unanswered = {
        m.id for m, following in pairwise(spoken) if m.role == "user" and following.role == "user"
    }
    return [m for m in kept if m.id not in unanswered]


def left_out(path: Sequence[Message]) -> set[str]:
    """Return the ids of messages that are not sent because of an exclusion in their turn."""
    if not any(message.marks.excluded for message in path):
        return set()
    sent = {message.id for message in sendable(path)}
    plain = sendable(replace(message, marks=NO_MARKS) for message in path)
    return {message.id for message in plain} - sent
