"""What of a chat may go into training data: whether it may at all, and which messages are finished.

Owns the options that exports for training share. Refuses to know how a format writes a message.
"""

from __future__ import annotations

from dataclasses import dataclass

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.errors import StoreError
from tui_chat.safe_text import safe_line

UNKNOWN_LANGUAGE = "und"
"""What BCP 47 calls a language that nobody has determined."""
_GONE_ON_FROM = frozenset({"stopped", "interrupted"})


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a chat is exported, where the format leaves a choice."""

    anonymize: str | None = None
    """Replace the ids of messages and users by hashes with this seed; None keeps them."""
    as_training: bool = False
    """Mark what its owner has reviewed as ready to be trained on."""
    lang: str = UNKNOWN_LANGUAGE
    """The language of messages of which it is not known, as a BCP 47 tag."""


def require_data_use(conversation: Conversation) -> None:
    """Refuse a chat whose owner does not want it to be trained on.

    Raises:
        StoreError: If `allow_data_use` is off.
    """
    if not conversation.details.allow_data_use:
        raise StoreError(
            f"{_named(conversation)} is not exported for training",
            "Its data use is off",
            "Allow its data use first, or export it as json, md or html",
        )


def require_review(conversation: Conversation) -> None:
    """Refuse to call a chat ready for training before its owner did.

    Raises:
        StoreError: If it is not marked as reviewed.
    """
    if not conversation.details.reviewed:
        raise StoreError(
            f"{_named(conversation)} is not marked as reviewed",
            "Only reviewed chats are exported as ready for training",
            "Mark it as reviewed first, or leave out --as-training",
        )


def finished_messages(conversation: Conversation) -> list[Message]:
    """The messages that stand, deleted ones too, parents before children.

    Left out is what is not finished, with all below it: what waits, streams or failed, and what
    was stopped or interrupted and nobody went on from.
    """
    messages = list(conversation.messages())
    standing: set[str] = set()
    gone_on_from: set[str | None] = set()
    for message in reversed(messages):
        was_answered = message.id in gone_on_from and bool(message.text)
        if message.status == "complete" or (message.status in _GONE_ON_FROM and was_answered):
            standing.add(message.id)
            gone_on_from.add(message.parent_id)
    kept: dict[str, Message] = {}
    for message in messages:
        below = message.parent_id is None or message.parent_id in kept
        if below and message.id in standing:
            kept[message.id] = message
    return list(kept.values())


def finished_path(conversation: Conversation, leaf_id: str | None = None) -> list[Message]:
    """The messages of a path that can be learnt from, oldest first, ending with a reply.

    Without what is deleted, excluded from the prompt or empty; cut before the first message that
    is not finished. Empty where there is no reply.

    Args:
        conversation: The chat.
        leaf_id: The end of the path; by default the active one.
    """
    standing = {message.id for message in finished_messages(conversation)}
    path: list[Message] = []
    for message in conversation.path(leaf_id):
        if message.id not in standing:
            break
        if not message.deleted and not message.marks.excluded and message.text:
            path.append(message)
    while path and path[-1].role != "assistant":
        path.pop()
    return path


def _named(conversation: Conversation) -> str:
    return f"The chat {safe_line(conversation.title, 60) or safe_line(conversation.id, 40)!r}"
