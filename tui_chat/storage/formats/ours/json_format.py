"""Export and import of a chat as JSON, complete and reversible.

Equal chats give equal files, with one line for each message, so that two exports can be compared
line by line. Characters that could control a terminal are written as escapes. Files can come from
anywhere, so `from_json` checks every field and names the first error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tui_chat.chat.conversation import Conversation, Message, Role, Status
from tui_chat.chat.marks import ChatDetails, Marks
from tui_chat.errors import StoreError
from tui_chat.safe_text import safe_line, storable
from tui_chat.storage.database.records import plant, utc_text, utc_time

FORMAT = "tui-chat"
"""Value of the field `format` that identifies these files."""
VERSION = 2
"""Version of the format; increase it whenever older programs cannot read the new files."""

DEEPEST = 100
"""Maximum nesting depth of lists and objects in data from outside."""
_SCALARS = (int, bool, type(None))
"""Types that `storable_values` can skip; a float or a string needs a check."""
_UNSAFE = re.compile(
    "[\x7f-\x9f\u061c\u180e\u200b\u200c\u200e\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\uffff"
    "\U000e0000-\U000e007f]"
)

Identifier = Annotated[str, Field(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _MessageFile(_Strict):
    id: Identifier
    parent_id: Identifier | None
    role: Role
    text: str
    created: str
    status: Status = "complete"
    finish_reason: str = ""
    error: str = ""
    token_ids: list[Annotated[int, Field(ge=0)]] = []
    tokenizer: str = ""
    model: str = ""
    precision: str = ""
    seed: int | None = None
    params: dict[str, Any] = {}
    stats: dict[str, Any] = {}
    deleted: bool = False
    marks: dict[str, Any] = {}


class _ChatFile(_Strict):
    id: Identifier
    title: str = ""
    system: str = ""
    model: str = ""
    created: str
    updated: str
    leaf: Identifier | None = None
    details: dict[str, Any] = {}
    history: dict[str, Any] = {}


class _File(_Strict):
    format: str
    version: int
    chat: _ChatFile
    messages: list[_MessageFile]


def to_json(conversation: Conversation) -> str:
    """Return the whole tree with every field, deleted messages included, as JSON.

    Times are in ISO 8601 and UTC.
    """
    chat = {
        "id": conversation.id,
        "title": conversation.title,
        "system": conversation.system,
        "model": conversation.model,
        "created": utc_text(conversation.created),
        "updated": utc_text(conversation.updated),
        "leaf": conversation.leaf_id,
        "details": conversation.details.to_values(),
        "history": conversation.history_values(),
    }
    lines = ",\n".join(json_line(message_values(message)) for message in conversation.messages())
    return (
        f'{{"format": "{FORMAT}", "version": {VERSION},\n"chat": {json_line(chat)},\n'
        f'"messages": [\n{lines}\n]}}\n'
    )


def message_values(message: Message) -> dict[str, Any]:
    """Return every field of a message as JSON values."""
    return {
        "id": message.id,
        "parent_id": message.parent_id,
        "role": message.role,
        "text": message.text,
        "created": utc_text(message.created),
        "status": message.status,
        "finish_reason": message.finish_reason,
        "error": message.error,
        "token_ids": list(message.token_ids),
        "tokenizer": message.tokenizer,
        "model": message.model,
        "precision": message.precision,
        "seed": message.seed,
        "params": _sorted(message.params),
        "stats": _sorted(message.stats),
        "deleted": message.deleted,
        "marks": message.marks.to_values(),
    }


def from_json(text: str) -> Conversation:
    """Return the chat of a JSON export.

    Raises:
        StoreError: If the text is not such an export, comes from a newer version of the program, or
            has a message that occurs twice, has no parent or is its own ancestor.
    """
    try:
        data = storable_values(json.loads(text), 2 * DEEPEST)
        _check_version(data)
        file = _File.model_validate(data)
        messages = [_message(values) for values in file.messages]
        conversation = Conversation(
            file.chat.id, file.chat.title, file.chat.system, file.chat.model
        )
        _check_tree(messages, file.chat.leaf)
        plant(conversation, messages)
        for message in messages:
            # `plant` breaks a cycle by giving one of its messages another parent.
            if conversation[message.id].parent_id != message.parent_id:
                raise ValueError(f"message {message.id} is its own ancestor")
        conversation.set_leaf(file.chat.leaf)
        conversation.created = utc_time(file.chat.created)
        conversation.updated = utc_time(file.chat.updated)
        conversation.details = ChatDetails.from_values(file.chat.details)
        conversation.restore_history(file.chat.history)
    except ValidationError as error:
        raise _unreadable(_first_problem(error)) from None
    except json.JSONDecodeError as error:
        raise _unreadable(f"Line {error.lineno} is not JSON: {error.msg}") from None
    except RecursionError:
        raise _unreadable("It is nested too deeply") from None
    except (ValueError, OverflowError) as error:
        raise _unreadable(_sentence(error)) from None
    return conversation


def message_from_values(values: Mapping[str, Any]) -> Message:
    """Return the message of a result of `message_values`.

    Raises:
        ValueError: If a field is missing, unknown or of the wrong type.
    """
    return _message(_MessageFile.model_validate(storable_values(dict(values), 2 * DEEPEST)))


def _message(file: _MessageFile) -> Message:
    values = dict(file)
    return Message(
        **values
        | {
            "created": utc_time(file.created),
            "token_ids": tuple(file.token_ids),
            "marks": Marks.from_values(file.marks),
        }
    )


def _check_version(data: object) -> None:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f'It has no "format": "{FORMAT}"')
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise StoreError(
            "The chat cannot be read",
            f"It has version {version}, this program knows versions up to {VERSION}",
            "Update tui-chat",
        )


def _check_tree(messages: list[Message], leaf: str | None) -> None:
    ids: set[str] = set()
    for message in messages:
        if message.id in ids:
            raise ValueError(f"message {message.id} is there twice")
        ids.add(message.id)
    for message in messages:
        if message.parent_id is not None and message.parent_id not in ids:
            raise ValueError(f"message {message.id} has no parent {message.parent_id}")
    if leaf is not None and leaf not in ids:
        raise ValueError(f"the leaf {leaf} is not a message")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}"


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]


def _unreadable(detail: str) -> StoreError:
    return StoreError("The chat cannot be read", safe_line(detail, 300), "Export it again as JSON")


def json_line(values: Mapping[str, Any]) -> str:
    """Format a mapping as one line of JSON, with characters that could control a terminal escaped.

    Values that JSON cannot express become text, and numbers that are not finite become null.
    """
    text = json.dumps(_plain(values), ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be")  # JSON escapes are UTF-16 code units
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): values[key] for key in sorted(values, key=str)}


def _plain(value: Any) -> Any:
    """Return a value in a form that JSON can express.

    Lone surrogates are replaced, numbers that are not finite become None, and other types text.
    """
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {storable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return storable(str(value))


def storable_values(value: Any, depth: int = DEEPEST) -> Any:
    """Return a parsed JSON value with all lone surrogates replaced.

    Args:
        value: The result of a JSON parser.
        depth: Maximum nesting depth of lists and objects. The limit ensures that a chat with this
            value can be exported and read again.

    Raises:
        ValueError: If the value is nested more deeply, or has a number that is not finite.
    """
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number in it is too large or none")
    if not isinstance(value, dict | list):
        return value
    if not depth:
        raise ValueError("it is nested too deeply")
    if isinstance(value, list):
        return [
            item if type(item) in _SCALARS else storable_values(item, depth - 1) for item in value
        ]
    return {
        storable(key): item if type(item) in _SCALARS else storable_values(item, depth - 1)
        for key, item in value.items()
    }
