"""Export and import of chats as fine-tuning rows: OpenAI messages, ShareGPT and ChatML.

One row is the active path of one chat, from the system message to the last finished reply. A row
has no versions, times or ids. The ids of an imported chat are hashes of its row, so that the same
row always gives the same chat.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tui_chat.chat.conversation import Conversation, Message, Role, now, title_from
from tui_chat.chat.marks import NO_MARKS, ChatDetails, Marks
from tui_chat.safe_text import safe_line
from tui_chat.storage.formats.ours.json_format import json_line, storable_values
from tui_chat.storage.formats.training import ExportOptions, finished_path

_OPENAI_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant",
}  # fmt: skip
_SHAREGPT_ROLES: Mapping[str, Role] = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant",
    "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
}  # fmt: skip
_SHAREGPT_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
# A ChatML mark inside a message is escaped with one more backslash than it has already, so that
# reading it back gives the same text.
_CONTROL = re.compile(r"<(\\*)\|(im_start|im_end)\|>")
_ESCAPED = re.compile(r"<\\(\\*)\|(im_start|im_end)\|>")
_START, _END = "<|im_start|>", "<|im_end|>"
_OF_SYSTEM = " system"
"""Suffix of the key in `extra` for the other fields of an imported system turn."""
Turn = tuple[Role, str, Mapping[str, Any]]
"""Role, text, and the `extra` mapping with the other imported fields of the turn."""


def to_openai(conversation: Conversation, options: ExportOptions | None = None) -> str:
    """Return the chat as a line `{"messages": [{"role": ..., "content": ...}, ...]}`.

    The result is empty if the chat has no finished reply.
    """
    return _row(conversation, "openai", "messages", ("role", "content"), {})


def to_sharegpt(conversation: Conversation, options: ExportOptions | None = None) -> str:
    """Return the chat as a line `{"conversations": [{"from": ..., "value": ...}, ...]}`.

    The result is empty if the chat has no finished reply.
    """
    fields = ("from", "value")
    return _row(conversation, "sharegpt", "conversations", fields, _SHAREGPT_NAMES)


def to_chatml(conversation: Conversation, options: ExportOptions | None = None) -> str:
    """Return the chat as a line `{"text": ...}` with ChatML's marks around each turn.

    A mark inside a message is escaped with a backslash. The result is empty if the chat has no
    finished reply.
    """
    text = "".join(
        f"{_START}{role}\n{_CONTROL.sub(_escape, text)}{_END}\n"
        for role, text, _ in turns_of(conversation, finished_path(conversation))
    )
    if not text:
        return ""
    return json_line({"text": text, **_given(conversation.details.extra, "chatml")}) + "\n"


def turns_of(conversation: Conversation, path: Sequence[Message]) -> list[Turn]:
    """Return the system message, if any, and the messages of a path; empty for an empty path."""
    turns: list[Turn] = []
    if conversation.system and path:
        extra = conversation.details.extra
        of_system = {k.removesuffix(_OF_SYSTEM): extra[k] for k in extra if k.endswith(_OF_SYSTEM)}
        turns.append(("system", conversation.system, of_system))
    turns.extend((message.role, message.text, message.marks.extra) for message in path)
    return turns


def from_openai(row: Mapping[str, Any]) -> Conversation:
    """Return the chat of a row `{"messages": [...]}`.

    Raises:
        ValueError: If a turn has an unknown role or no text.
    """
    return _chat(row, "openai", "messages", ("role", "content"), _OPENAI_ROLES)


def from_sharegpt(row: Mapping[str, Any]) -> Conversation:
    """Return the chat of a row `{"conversations": [...]}`.

    Raises:
        ValueError: If a turn has an unknown role or no text.
    """
    return _chat(row, "sharegpt", "conversations", ("from", "value"), _SHAREGPT_ROLES)


def from_chatml(row: Mapping[str, Any]) -> Conversation:
    """Return the chat of a row `{"text": ...}` with ChatML's marks.

    Raises:
        ValueError: If the text is not ChatML, or a role is unknown.
    """
    row = storable_values(dict(row))
    text = row.get("text")
    if not isinstance(text, str):
        raise ValueError("its text is not a string")
    turns: list[Turn] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        begin, line_end, end = _turn_at(text, place)
        role = _role(text[begin:line_end].strip(), _OPENAI_ROLES)
        turns.append((role, _ESCAPED.sub(r"<\1|\2|>", text[line_end + 1 : end]), {}))
        place = end + len(_END)
    given = {name: value for name, value in row.items() if name != "text"}
    return _planted("chatml", row, turns, given)


def _turn_at(text: str, place: int) -> tuple[int, int, int]:
    """Find the next turn of a ChatML text from an index on.

    Returns:
        The indices of the beginning of its role, the end of that line, and the end of the turn.

    Raises:
        ValueError: If there is text before the turn, or the turn does not end.
    """
    start = text.find(_START, place)
    if start < 0 or text[place:start].strip():
        raise ValueError("there is text outside its turns")
    line_end = text.find("\n", start)
    end = text.find(_END, start)
    if end < 0 or not start < line_end < end:
        raise ValueError("one of its turns does not end")
    return start + len(_START), line_end, end


def _row(
    conversation: Conversation,
    form: str,
    field: str,
    names: tuple[str, str],
    roles: Mapping[str, str],
) -> str:
    who, what = names
    turns = [
        {who: roles.get(role, role), what: text, **_given(extra, form)}
        for role, text, extra in turns_of(conversation, finished_path(conversation))
    ]
    if not turns:
        return ""
    return json_line({field: turns, **_given(conversation.details.extra, form)}) + "\n"


def _chat(
    row: Mapping[str, Any],
    form: str,
    field: str,
    names: tuple[str, str],
    roles: Mapping[str, Role],
) -> Conversation:
    row = storable_values(dict(row))
    who, what = names
    said = row.get(field)
    if not isinstance(said, list):
        raise ValueError(f"its {field} are not a list")
    turns: list[Turn] = []
    for item in said:
        if not isinstance(item, Mapping):
            raise ValueError("one of its turns is not an object")
        text = _text(item.get(what))
        given = {name: value for name, value in item.items() if name not in names}
        turns.append((_role(item.get(who), roles), text, given))
    given = {name: value for name, value in row.items() if name != field}
    return _planted(form, row, turns, given)


def _planted(
    form: str, row: Mapping[str, Any], turns: list[Turn], given: Mapping[str, Any]
) -> Conversation:
    """Return the chat of the turns of a row.

    Args:
        form: Name of the format, the key for `extra`.
        row: The whole row, for the id of the chat.
        turns: At least one.
        given: Fields of the row apart from its turns.

    Raises:
        ValueError: If there are no turns.
    """
    if not turns:
        raise ValueError("it holds no turns")
    conversation = Conversation(_identifier(form, json.dumps(row, sort_keys=True)))
    extra: dict[str, Any] = {form: dict(given)} if given else {}
    if turns[0][0] == "system" and turns[0][1]:
        _, conversation.system, of_system = turns.pop(0)
        if of_system:
            extra[form + _OF_SYSTEM] = dict(of_system)
    conversation.details = ChatDetails(extra=extra)
    started = now()
    parent: str | None = None
    for index, (role, text, of_turn) in enumerate(turns):
        identifier = _identifier(conversation.id, str(index))
        marks = Marks(extra={form: dict(of_turn)}) if of_turn else NO_MARKS
        moment = started + timedelta(microseconds=index)
        conversation.add(Message(identifier, parent, role, text, moment, marks=marks))
        parent = identifier
    first = next((text for role, text, _ in turns if role == "user"), "")
    conversation.title = title_from(first)
    conversation.created = started
    return conversation


def _given(extra: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    given = extra.get(key)
    return given if isinstance(given, Mapping) else {}


def _role(name: object, roles: Mapping[str, Role]) -> Role:
    if not isinstance(name, str) or name not in roles:
        raise ValueError(f"it has the unknown role {safe_line(str(name), 40)!r}")
    return roles[name]


def _text(value: object) -> str:
    """Return the text of a turn, which may be a string or a list of parts with texts.

    Raises:
        ValueError: If it is anything else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, Mapping)]
        if parts and len(parts) == len(value) and all(isinstance(part, str) for part in parts):
            return "\n".join(str(part) for part in parts)
    raise ValueError("one of its turns has no text")


def _escape(match: re.Match[str]) -> str:
    return f"<\\{match[1]}|{match[2]}|>"


def _identifier(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
