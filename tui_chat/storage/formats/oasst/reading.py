"""Conversion of Open Assistant's trees, threads and flat messages to chats.

One tree or one thread becomes one chat. Every function raises a `ValueError` with the reason if an
id, text or role is missing, an id occurs twice, messages form a cycle, or a `parent_id` contradicts
the position of its message. Unknown fields are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tui_chat.chat.conversation import Conversation, Message, title_from
from tui_chat.chat.marks import ChatDetails
from tui_chat.safe_text import safe_line
from tui_chat.storage.formats.oasst.fields import KEY, message_of_node, said_in
from tui_chat.storage.formats.oasst.rankings import flawed_replies, with_known_order
from tui_chat.storage.formats.ours.json_format import storable_values

_OF_TREE = ("message_tree_id", "prompt")
"""Fields of a tree that do not go into `ChatDetails.extra`."""


def chat_of_tree(tree: Mapping[str, Any]) -> Conversation:
    """Return the chat of a message tree.

    Raises:
        ValueError: If a node cannot be read or its `parent_id` contradicts its position.
    """
    tree_id, prompt = tree.get("message_tree_id"), tree.get("prompt")
    if not isinstance(prompt, Mapping):
        raise ValueError("its prompt is not a message")
    given = {name: value for name, value in tree.items() if name not in _OF_TREE}
    return _chat(tree_id, list(_messages_of(prompt)), storable_values(given))


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a flat message, checked and without lone surrogates.

    Raises:
        ValueError: If they do not describe a message.
    """
    parent = row.get("parent_id")
    if parent is not None and not isinstance(parent, str):
        raise ValueError("its parent_id is not an id")
    clean: dict[str, Any] = storable_values({n: v for n, v in row.items() if n != "replies"})
    said_in(clean)
    return clean


def chat_of_messages(rows: Iterable[Mapping[str, Any]]) -> Conversation:
    """Return the chat of the flat messages of one tree.

    Args:
        rows: Results of `flat_row`, parents before children; at least one.

    Raises:
        ValueError: If a message cannot be read.
    """
    messages: list[Message] = []
    head: dict[str, Any] = {}
    for row in rows:
        message = message_of_node(row, row.get("parent_id"))
        if not messages:
            head = {name: row[name] for name in ("message_tree_id", "tree_state") if name in row}
        messages.append(message)
    tree_id = head.pop("message_tree_id", None)
    return _chat(tree_id, messages, head)


def chat_of_thread(thread: Mapping[str, Any]) -> Conversation:
    """Return the chat of a thread, in which each message replies to the one before it.

    Raises:
        ValueError: If a message cannot be read or does not follow the one before it.
    """
    nodes = thread.get("thread")
    if not isinstance(nodes, list) or not nodes:
        raise ValueError("its thread holds no messages")
    messages: list[Message] = []
    for node in nodes:
        messages.append(_placed(node, messages[-1].id if messages else None))
    given = {name: value for name, value in thread.items() if name not in ("thread_id", "thread")}
    return _chat(thread.get("thread_id"), messages, storable_values(given))


def _messages_of(prompt: Mapping[str, Any]) -> Iterable[Message]:
    """Yield the messages of nested nodes, depth first and to any depth."""
    stack: list[tuple[Any, str | None]] = [(prompt, None)]
    while stack:
        node, parent_id = stack.pop()
        message = _placed(node, parent_id)
        yield message
        replies = node.get("replies")
        if replies is None:
            continue
        if not isinstance(replies, list):
            raise ValueError(f"the replies to {_shown(message.id)} are not a list")
        stack.extend((reply, message.id) for reply in reversed(replies))


def _placed(node: object, parent_id: str | None) -> Message:
    """Return the message of a nested node, given the id of its parent (None for a root).

    Raises:
        ValueError: If the node cannot be read or its `parent_id` names another parent.
    """
    if not isinstance(node, Mapping):
        raise ValueError("one of its messages is not an object")
    flat = storable_values({name: value for name, value in node.items() if name != "replies"})
    message = message_of_node(flat, parent_id)
    said = flat.get("parent_id")
    if said is not None and said != parent_id:
        place = f"below {_shown(parent_id)}" if parent_id else "on top"
        raise ValueError(f"message {_shown(message.id)} is {place}, its parent_id says otherwise")
    return message


def _chat(tree_id: object, messages: list[Message], given: Mapping[str, Any]) -> Conversation:
    """Return the chat of messages that come after their parents.

    Args:
        tree_id: Id of the chat; the id of the first message replaces an unusable one.
        messages: At least one.
        given: Other fields of the tree, for `ChatDetails.extra`.
    """
    if not isinstance(tree_id, str) or not 0 < len(tree_id) <= 200:
        tree_id = messages[0].id
    conversation = Conversation(tree_id)
    for message in messages:
        if message.id in conversation:
            above = {m.id for m in conversation.path(message.parent_id)}
            if message.id in above and message.parent_id is not None:
                raise ValueError(f"message {_shown(message.id)} is below itself")
            raise ValueError(f"message {_shown(message.id)} is there twice")
        conversation.add(message, activate=False)
    replies: dict[str | None, list[Message]] = {}
    for message in messages:
        replies.setdefault(message.parent_id, []).append(message)
    for message in messages:
        below = replies.get(message.id, ())
        for reply_id in flawed_replies(message, below):
            marks = replace(conversation[reply_id].marks, all_flawed=True)
            conversation.update(reply_id, marks=marks)
        known = with_known_order(conversation[message.id], below)
        if known is not conversation[message.id]:
            conversation.update(message.id, marks=known.marks)
    conversation.title = title_from(messages[0].text)
    conversation.set_leaf(best_leaf(conversation))
    if given:
        conversation.details = ChatDetails(extra={KEY: dict(given)})
    conversation.created = min(message.created for message in messages)
    conversation.updated = max(message.created for message in messages)
    return conversation


def best_leaf(conversation: Conversation) -> str | None:
    """Return the leaf that is reached from the root by taking the best-ranked reply each time.

    Replies without a rank come last, and deleted ones do not count. None if there is no message.
    """
    leaf: str | None = None
    while below := conversation.children(leaf):
        leaf = min(below, key=_place).id
    return leaf


def _place(message: Message) -> float:
    return float("inf") if message.marks.rank is None else message.marks.rank


def _shown(identifier: str | None) -> str:
    return safe_line(identifier or "", 80)
