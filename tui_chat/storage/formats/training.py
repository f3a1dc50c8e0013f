"""Rules for training data: whether a chat may be exported, and which of its messages are finished.

All training formats share these rules and the options in `ExportOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.errors import StoreError
from tui_chat.safe_text import safe_line

UNKNOWN_LANGUAGE = "und"
"""BCP 47 tag for an undetermined language."""
_GONE_ON_FROM = frozenset({"stopped", "interrupted"})
"""Statuses of a reply that counts as finished if the chat continued after it."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options for an export; each format uses those that apply to it."""

    anonymize: str | None = None
    """Seed for the hashes that replace the ids of messages and users; None keeps the ids."""
    as_training: bool = False
    """Mark a reviewed chat as ready for training."""
    lang: str = UNKNOWN_LANGUAGE
    """Language of messages whose language is not known, as a BCP 47 tag."""


def require_data_use(conversation: Conversation) -> None:
    """Check that the owner of a chat allows training on it.

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
    """Check that the owner of a chat has reviewed it for training.

    Raises:
        StoreError: If the chat is not marked as reviewed.
    """
    if not conversation.details.reviewed:
        raise StoreError(
            f"{_named(conversation)} is not marked as reviewed",
            "Only reviewed chats are exported as ready for training",
            "Mark it as reviewed first, or leave out --as-training",
        )


def finished_messages(conversation: Conversation) -> list[Message]:
    """Return the finished messages, deleted ones included, parents before children.

    Messages that are waiting, streaming or failed are left out, and so are stopped or interrupted
    ones after which the chat did not continue. All messages below these are left out as well.
    """
    messages = list(conversation.messages())
    # Children come before their parents here, so each message knows whether it has a finished one.
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
    """Return the messages of a path that are fit for training, oldest first.

    Deleted, excluded and empty messages are left out. The path is cut before its first unfinished
    message and then after its last reply; without a reply the result is empty.

    Args:
        conversation: The chat.
        leaf_id: The last message of the path; by default the active leaf.
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
