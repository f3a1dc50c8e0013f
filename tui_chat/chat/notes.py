"""Notes: what a model writes to stand for the turns that are not sent any more.

A note is kept as a mark of the last message that it stands for, so that it is on every path through
that message and on no other. Owns how it takes part in a path, and how it is worded when it is
sent. Refuses to know how it is written; `note_prompts` asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tui_chat.chat.conversation import Message
from tui_chat.chat.marks import NO_MARKS, Note

_ID = "note on "
_HEADING = "Summary of the earlier part of this conversation:"


def note_id(message_id: str) -> str:
    """The id of the note on a message."""
    return _ID + message_id


def is_note_id(message_id: str) -> bool:
    """Whether an id is that of a note."""
    return message_id.startswith(_ID)


def as_message(note: Note, message_id: str) -> Message:
    """A note as a message, to be shown and sent.

    Args:
        note: The note.
        message_id: The message that it is a mark of.
    """
    return Message(
        id=note_id(message_id),
        parent_id=message_id,
        role="system",
        text=note.text,
        created=note.created,
        model=note.model,
        precision=note.precision,
        stats={"completion_tokens": note.tokens} if note.tokens else {},
        marks=replace(NO_MARKS, edited=note.edited),
        note_on=message_id,
    )


def with_note(path: Sequence[Message]) -> list[Message]:
    """A path with its note behind what that stands for; of several notes the last one counts."""
    for index in range(len(path) - 1, -1, -1):
        note = path[index].marks.note
        if note is not None:
            return [*path[: index + 1], as_message(note, path[index].id), *path[index + 1 :]]
    return list(path)


def divided(
    messages: Sequence[Message],
) -> tuple[Message | None, Sequence[Message], Sequence[Message]]:
    """The note of a path, the messages that it stands for, and those after it."""
    index = next((i for i, message in enumerate(messages) if message.is_note), None)
    if index is None:
        return None, (), messages
    return messages[index], messages[:index], messages[index + 1 :]


def system_text(system: str, note: str) -> str:
    """What is sent as the system message: that of the chat, then the note.

    Templates know one system message, in front; so a note never speaks as the user or the model.
    """
    parts = [system] if system.strip() else []
    if note.strip():
        parts.append(f"{_HEADING}\n{note}")
    return "\n\n".join(parts)
