"""Export of a chat as Open Assistant's message trees or flat messages, in JSON lines.

Every field of the format is written, with null for unknown values. The id of a tree is that of its
root message. Fields of an imported chat are written as they were unless the user has changed them.
The format has no place for the system message, the title, pins and branch names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.storage.formats.oasst.fields import (
    EVENT_FIELDS,
    NODE_FIELDS,
    given_fields,
    node_fields,
)
from tui_chat.storage.formats.oasst.rankings import ranking_events
from tui_chat.storage.formats.ours.json_format import json_line
from tui_chat.storage.formats.training import (
    ExportOptions,
    finished_messages,
    require_data_use,
    require_review,
)

READY = "ready_for_export"
"""The `tree_state` of a tree that is ready for training."""
_Children = Mapping[str | None, list[Message]]
"""Replies by the id of their parent, best first; the roots by None."""


def to_trees(conversation: Conversation, options: ExportOptions | None = None) -> str:
    """Return the chat as lines of JSON, one for each root message with all replies below it.

    Raises:
        StoreError: If the data use of the chat is off, or if `as_training` is set and the chat is
            not reviewed.
    """
    return "".join(f"{line}\n" for line in _tree_lines(conversation, options or ExportOptions()))


def to_messages(conversation: Conversation, options: ExportOptions | None = None) -> str:
    """Return the chat as lines of JSON, one for each message, depth first.

    Raises:
        StoreError: As `to_trees`.
    """
    options = options or ExportOptions()
    children = _exported(conversation, options)
    state = _tree_state(conversation, options)
    lines: list[str] = []
    for root in children[None]:
        for message in _depth_first(root, children):
            node = _node(message, children, root.id, options)
            tree = {"message_tree_id": _id(root.id, options), "tree_state": state}
            lines.append(json_line({**node, **tree}) + "\n")
    return "".join(lines)


def _tree_lines(conversation: Conversation, options: ExportOptions) -> Iterator[str]:
    children = _exported(conversation, options)
    given = given_fields(conversation.details.extra)
    for root in children[None]:
        head = {
            "message_tree_id": _id(root.id, options),
            "tree_state": _tree_state(conversation, options),
        }
        tail: dict[str, Any] = {"origin": None}
        if options.anonymize is None:
            tail["origin"] = given.get("origin")
            tail |= {k: v for k, v in given.items() if k not in ("tree_state", "origin")}
        prompt = "".join(_nested(root, children, options))
        yield f'{json_line(head)[:-1]}, "prompt": {prompt}, {json_line(tail)[1:]}'


def _nested(root: Message, children: _Children, options: ExportOptions) -> Iterator[str]:
    """Yield the pieces of the JSON text of a node with its nested replies, to any depth."""
    stack: list[Message | str] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
            continue
        text = json_line(_node(item, children, root.id, options))
        yield f'{text[:-1]}, "replies": ['
        stack.append("]}")
        for index, child in enumerate(reversed(children.get(item.id, []))):
            if index:
                stack.append(", ")
            stack.append(child)


def _exported(conversation: Conversation, options: ExportOptions) -> _Children:
    """Return the messages to export as lists of replies.

    Raises:
        StoreError: As `to_trees`.
    """
    require_data_use(conversation)
    if options.as_training:
        require_review(conversation)
    children: dict[str | None, list[Message]] = {None: []}
    # The format has no system messages: the replies to one become replies to its parent. `above`
    # maps each system message to that parent.
    above: dict[str, str | None] = {}
    for message in finished_messages(conversation):
        parent = message.parent_id
        if parent is not None:
            if parent in above:
                parent = above[parent]
            elif parent not in children:
                continue  # the parent was deleted and left out
        if message.role == "system":
            above[message.id] = parent
        elif not (message.deleted and options.as_training):
            children[parent].append(replace(message, parent_id=parent))
            children[message.id] = []
    for replies in children.values():
        replies.sort(key=_place)
    return children


def _place(message: Message) -> tuple[bool, int]:
    rank = message.marks.rank
    return rank is None, rank or 0


def _depth_first(root: Message, children: _Children) -> Iterator[Message]:
    stack = [root]
    while stack:
        message = stack.pop()
        yield message
        stack.extend(reversed(children[message.id]))


def _node(
    message: Message, children: _Children, tree_id: str, options: ExportOptions
) -> dict[str, Any]:
    """Return a message as the fields of a node, with its rankings but without its replies."""
    node = node_fields(message, options.lang)
    rankings = ranking_events(message, children[message.id], tree_id)
    if rankings is not None:
        given = node["events"] if isinstance(node["events"], Mapping) else {}
        others = {kind: events for kind, events in given.items() if kind != "ranking"}
        node["events"] = {**others, "ranking": rankings} if rankings else others
    if options.as_training:
        node |= {"review_result": True, "synthetic": False}
    return node if options.anonymize is None else _anonymous(node, options)


def _tree_state(conversation: Conversation, options: ExportOptions) -> Any:
    if options.as_training:
        return READY
    return given_fields(conversation.details.extra).get("tree_state", "not_applicable")


def _id(identifier: str, options: ExportOptions) -> str:
    """Return the id of a message or tree, hashed if the export is anonymous."""
    return (
        hashed_id("message", identifier, options.anonymize)
        if (options.anonymize is not None)
        else identifier
    )


def hashed_id(collection: str, identifier: str, seed: str) -> str:
    """Return an anonymous id, hashed with SHA-256 in the way of Open Assistant's own export.

    Equal ids give equal hashes as long as the seed is the same.

    Args:
        collection: The kind of the id: `message` or `user`.
        identifier: The id.
        seed: A secret; without it, nobody can test guesses of an id.
    """
    text = f"{collection}:{identifier}{seed}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _anonymous(node: Mapping[str, Any], options: ExportOptions) -> dict[str, Any]:
    """Return a node with hashed ids and without unknown fields, which could identify a person."""
    clean = {name: _hashed(name, node[name], options) for name in NODE_FIELDS}
    events = node["events"] if isinstance(node["events"], Mapping) else {}
    clean["events"] = {
        kind: [
            {name: _hashed(name, event[name], options) for name in known if name in event}
            for event in events[kind]
            if isinstance(event, Mapping)
        ]
        for kind, known in EVENT_FIELDS.items()
        if isinstance(events.get(kind), list)
    }
    return clean


def _hashed(name: str, value: Any, options: ExportOptions) -> Any:
    seed = options.anonymize or ""
    if name == "ranked_message_ids":
        ids = value if isinstance(value, list) else []
        return [hashed_id("message", str(i), seed) for i in ids]
    if value is None or name not in _IDENTIFIERS:
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return hashed_id(_IDENTIFIERS[name], text, seed)


_IDENTIFIERS = {
    "message_id": "message", "parent_id": "message", "message_tree_id": "message",
    "ranking_parent_id": "message", "user_id": "user",
}  # fmt: skip
"""Fields that hold an id, with the `collection` for `hashed_id`."""
