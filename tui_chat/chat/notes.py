"""Notes: summaries, written by the model, that replace older turns in the prompt.

A note is stored as a mark on the last message that it replaces, so it applies to every path through
that message and to no other. This module places a note in a path and words it for the prompt;
`note_prompts` asks the model for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tui_chat.chat.conversation import Message
from tui_chat.chat.marks import NO_MARKS, Note

_ID = "note on "
_HEADING = "Summary of the earlier part of this conversation:"


def note_id(message_id: str) -> str:
    """Return the id of the note on a message."""
    return _ID + message_id


def is_note_id(message_id: str) -> bool:
    """Return whether an id is that of a note."""
    return message_id.startswith(_ID)


def as_message(note: Note, message_id: str) -> Message:
    """Return a note as a message, for showing and sending.

    Args:
        note: The note.
        message_id: The id of the message that carries it.
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
    """Return a path with its last note inserted after the turns that it replaces."""
    for index in range(len(path) - 1, -1, -1):
        note = path[index].marks.note
        if note is not None:
            return [*path[: index + 1], as_message(note, path[index].id), *path[index + 1 :]]
    return list(path)


def divided(
    messages: Sequence[Message],
) -> tuple[Message | None, Sequence[Message], Sequence[Message]]:
    """Return the note of a path, the messages that it replaces, and the messages after it."""
    index = next((i for i, message in enumerate(messages) if message.is_note), None)
    if index is None:
        return None, (), messages
    return messages[index], messages[:index], messages[index + 1 :]


def system_text(system: str, note: str) -> str:
    """Return the system message to send: that of the chat, followed by the note.

    Templates have one system message, at the front; putting the note there means that it never
    speaks as the user or the model.
    """
    parts = [system] if system.strip() else []
    if note.strip():
        parts.append(f"{_HEADING}\n{note}")
    return "\n\n".join(parts)
