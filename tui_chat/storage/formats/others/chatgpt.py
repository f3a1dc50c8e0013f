"""Import of chats from ChatGPT's `conversations.json`, in which a chat is a tree of nodes.

Nodes without a text of the user or the model, such as tool calls and hidden messages, are left out,
and their children move up to the nearest message above. Nodes in a cycle, or whose parent is
missing, are reported and left out with everything below them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tui_chat.chat.conversation import Conversation, Message, Role, now
from tui_chat.safe_text import safe_line
from tui_chat.storage.formats.ours.json_format import storable_values

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant"}
_TEXTS = ("text", "multimodal_text")


def chat_of_chatgpt(value: Mapping[str, Any]) -> tuple[Conversation, list[str]]:
    """Convert one element of `conversations.json` to a chat.

    Returns:
        The chat, and one sentence for each node that was refused.

    Raises:
        ValueError: If there is no readable message.
    """
    mapping = value.get("mapping")
    if not isinstance(mapping, Mapping):
        raise ValueError("its mapping is not an object")
    nodes = {str(i): node for i, node in mapping.items() if isinstance(node, Mapping)}
    refused = [f"Node {safe_line(str(i), 80)} is not an object" for i in mapping.keys() - nodes]
    identifier = value.get("conversation_id") or value.get("id")
    order, lost = _in_order(nodes)
    refused.extend(lost)
    conversation = Conversation(identifier if isinstance(identifier, str) else None)
    below: dict[str | None, str | None] = {None: None}
    """For each node, the id of its message or else of the nearest message above it."""
    for node_id in order:
        node = nodes[node_id]
        parent_id = below[_parent(node)]
        below[node_id] = parent_id
        said = node.get("message")
        if not isinstance(said, Mapping):
            continue
        role, text = _role(said), storable_values(_text(said))
        if role == "system" and text and not conversation.system:
            conversation.system = text
        if role in ("user", "assistant") and text and len(node_id) <= 200:
            conversation.add(_message(node_id, parent_id, role, text, said), activate=False)
            below[node_id] = node_id
    if not len(conversation):
        raise ValueError("it holds no messages")
    _finish(conversation, value, below)
    return conversation, refused


def _finish(
    conversation: Conversation, value: Mapping[str, Any], below: Mapping[str | None, str | None]
) -> None:
    """Set the title, the model, the times and the active leaf of a chat."""
    title, shown = value.get("title"), value.get("current_node")
    conversation.title = storable_values(title) if isinstance(title, str) else ""
    last = next(reversed(list(conversation.messages()))).id
    leaf = below.get(shown) if isinstance(shown, str) else None
    conversation.set_leaf(leaf or last)
    model = next((m.model for m in reversed(conversation.path()) if m.model), "")
    conversation.model = model
    conversation.created = _moment(value.get("create_time"))
    conversation.updated = _moment(value.get("update_time"), conversation.created)


def _in_order(nodes: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Order the nodes depth first, each node's children as its `children` field lists them.

    Returns:
        The ids of the nodes that can be reached from a root, and one sentence for each other node.
    """
    replies: dict[str | None, list[str]] = {}
    orphans: set[str] = set()
    for node_id, node in nodes.items():
        parent = _parent(node)
        if parent is None or parent in nodes:
            replies.setdefault(parent, []).append(node_id)
        else:
            orphans.add(node_id)
    order: list[str] = []
    stack = list(reversed(replies.get(None, [])))
    while stack:
        node_id = stack.pop()
        order.append(node_id)
        said = nodes[node_id].get("children")
        listed = [c for c in said if isinstance(c, str)] if isinstance(said, list) else []
        place = {child: index for index, child in enumerate(listed)}
        children = sorted(replies.get(node_id, []), key=lambda c: place.get(c, len(place)))
        stack.extend(reversed(children))
    reached = set(order)
    refused: list[str] = []
    for node_id in nodes:
        if node_id not in reached:
            reason = "it is below itself or below a node that is refused"
            if node_id in orphans:
                reason = "its parent is missing"
            refused.append(f"Node {safe_line(node_id, 80)} is refused: {reason}")
    return order, refused


def _parent(node: Mapping[str, Any]) -> str | None:
    parent = node.get("parent")
    return parent if isinstance(parent, str) else None


def _role(said: Mapping[str, Any]) -> Role | None:
    """Return the role of a message; None if it is hidden, a tool call or from a tool."""
    author, metadata = said.get("author"), said.get("metadata")
    role = author.get("role") if isinstance(author, Mapping) else None
    if role == "system":
        return "system"
    is_hidden = isinstance(metadata, Mapping) and bool(
        metadata.get("is_visually_hidden_from_conversation")
    )
    if is_hidden or said.get("recipient", "all") != "all":
        return None
    return _ROLES.get(role) if isinstance(role, str) else None


def _text(said: Mapping[str, Any]) -> str:
    content = said.get("content")
    if not isinstance(content, Mapping) or content.get("content_type") not in _TEXTS:
        return ""
    parts = content.get("parts")
    return "\n".join(_pieces(parts)) if isinstance(parts, list) else ""


def _pieces(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            if part:
                yield part
        elif isinstance(part, Mapping):
            text = part.get("text")
            yield text if isinstance(text, str) else f"[{part.get('content_type', 'attachment')}]"


def _message(
    node_id: str, parent_id: str | None, role: Role, text: str, said: Mapping[str, Any]
) -> Message:
    metadata = said.get("metadata")
    model = metadata.get("model_slug") if isinstance(metadata, Mapping) else None
    return Message(
        storable_values(node_id),
        parent_id,
        role,
        text,
        _moment(said.get("create_time")),
        model=storable_values(model) if isinstance(model, str) and role == "assistant" else "",
    )


def _moment(seconds: object, otherwise: datetime | None = None) -> datetime:
    """Convert seconds since 1970 to a time; return `otherwise`, or now, if that is impossible."""
    if isinstance(seconds, int | float):
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            pass
    return otherwise or now()
