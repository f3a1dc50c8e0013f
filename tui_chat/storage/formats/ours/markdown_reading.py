"""Import of a chat from Markdown, written by `markdown.to_markdown` or by hand in the same form.

A heading of level 2 at the top level of the document begins a message; the same text inside a
quote, a list or a fence does not. A level 2 heading that names neither a role nor a note is an
error.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from markdown_it import MarkdownIt

from tui_chat.chat.conversation import Conversation, Message, Role, Status, new_id, now, title_from
from tui_chat.chat.marks import Note
from tui_chat.safe_text import safe_line, storable
from tui_chat.storage.formats.ours.markdown import NOTE, ROLE_NAMES, STATUS_MARKS, inline

_ROLES: dict[str, Role] = {name: role for role, name in ROLE_NAMES.items()}
_STATUSES: dict[str, Status] = {mark: status for status, mark in STATUS_MARKS.items()}
_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_FIELD = re.compile(r"([a-z_]+): *(.*)")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
_ESCAPED = re.compile(r"\\([\\`*_\[\]<>#|&~])")
_PARTS = " · "


def from_markdown(text: str) -> Conversation:
    """Return the chat of a Markdown text.

    The front matter is optional. Message ids are hashes of the chat id and the position.

    Raises:
        ValueError: If the text has no message, or a level 2 heading has no known role.
    """
    text = storable(text).replace("\r\n", "\n").replace("\r", "\n")
    head, body = _front_matter(text)
    identifier = head.get("id")
    chat_id = identifier if isinstance(identifier, str) and 0 < len(identifier) <= 200 else new_id()
    conversation = Conversation(chat_id, model=_text(head.get("model")))
    lines = body.split("\n")
    headings = _headings(body)
    ends = [first for first, _, _ in headings[1:]] + [len(lines)]
    title = ""
    for (_, start, heading), end in zip(headings, ends, strict=True):
        tag, words = heading
        content = "\n".join(lines[start:end]).strip("\n")
        if tag == "h1":
            title = title or _plain(words)
            continue
        _take(conversation, words, content)
    if not len(conversation):
        raise ValueError("It holds no message; messages begin with `## You` or `## Assistant`")
    first = next(conversation.messages())
    conversation.title = _text(head.get("title")) or title or title_from(first.text)
    conversation.created = _moment(_text(head.get("created"))) or first.created
    conversation.updated = conversation.path()[-1].created
    return conversation


def _take(conversation: Conversation, words: str, content: str) -> None:
    """Add the message, note or system message of a section to the conversation.

    Args:
        conversation: The chat so far; the message becomes its leaf.
        words: Text of the heading.
        content: Text of the section below the heading.

    Raises:
        ValueError: If the heading has no known role.
    """
    name, *facts = words.split(_PARTS)
    if name.strip() == NOTE and conversation.leaf_id is not None:
        _take_note(conversation, conversation.leaf_id, facts, content)
        return
    role = _ROLES.get(name.strip())
    if role is None:
        raise ValueError(f"The heading {safe_line(words, 60)!r} names nobody")
    if role == "system" and not facts and not len(conversation):
        conversation.system = content
        return
    status = _STATUSES.get(facts[-1]) if facts else None
    if status is not None:
        facts.pop()
    moment = _moment(facts.pop()) if facts and _TIME.fullmatch(facts[-1]) else None
    error = ""
    if status == "failed":
        content, error = _without_error(content)
    index = len(conversation)
    identifier = hashlib.sha256(f"{conversation.id}\n{index}".encode()).hexdigest()[:32]
    message = Message(
        identifier,
        conversation.leaf_id,
        role,
        content,
        moment or now(),
        status or "complete",
        error=error,
        model=_plain(_PARTS.join(facts)) if role == "assistant" else "",
    )
    conversation.add(message)


def _take_note(conversation: Conversation, on: str, facts: list[str], content: str) -> None:
    """Attach the text of a section as a note to the message `on`."""
    moment = _moment(facts.pop()) if facts and _TIME.fullmatch(facts[-1]) else None
    if content.strip():
        note = Note(content, moment or now(), _plain(_PARTS.join(facts)))
        conversation.update(on, marks=replace(conversation[on].marks, note=note))


def _without_error(content: str) -> tuple[str, str]:
    """Split the section of a failed message into its text and the error quoted below it."""
    text, _, last = content.rpartition("\n")
    quoted = last.removeprefix("> ")
    is_apart = not text or text.endswith("\n")
    if not is_apart or quoted == last or inline(_plain(quoted)) != quoted:
        return content, ""
    return text.strip("\n"), _plain(quoted)


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Split a document into the fields of its front matter and the text after it."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    fields: dict[str, Any] = {}
    for line in match[1].split("\n"):
        if field := _FIELD.fullmatch(line):
            try:
                fields[field[1]] = json.loads(field[2])
            except ValueError:
                fields[field[1]] = field[2]
    return fields, text[match.end() :]


def _headings(body: str) -> list[tuple[int, int, tuple[str, str]]]:
    """Return the top-level headings of levels 1 and 2.

    Each is its first line, the line after its last one, and its tag (`h1` or `h2`) and text.
    """
    tokens = MarkdownIt("commonmark").parse(body)
    return [
        (token.map[0], token.map[1], (token.tag, tokens[index + 1].content))
        for index, token in enumerate(tokens)
        if token.type == "heading_open"
        and token.level == 0
        and token.tag in ("h1", "h2")
        and token.map
    ]


def _plain(words: str) -> str:
    return _ESCAPED.sub(r"\1", words)


def _text(value: object) -> str:
    return storable(value) if isinstance(value, str) else ""


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        return None
