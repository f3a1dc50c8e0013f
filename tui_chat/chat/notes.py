"""Notes: what a model writes to stand for the turns that are not sent any more.

A note is kept as a mark of the last message that it stands for, so that it is on every path through
that message and on no other. Owns how it takes part in a path, how it is worded when it is sent,
and the prompts by which a model is asked for one. Refuses to know who runs the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tui_chat.chat.conversation import Message
from tui_chat.chat.marks import NO_MARKS, Note
from tui_chat.chat.templates import PromptMessage, PromptTemplate, TokenEncoder
from tui_chat.errors import ContextError

_ID = "note on "
SHARE = 8
"""A note has at most one in so many tokens of the context."""
_LEAST_TOKENS = 16
_WORDS_PER_TOKEN = 0.6
_HEADING = "Summary of the earlier part of this conversation:"
_INSTRUCTION = (
    "Sum up our conversation so far in at most {words} words, as notes for yourself. Keep names, "
    "numbers, decisions and what is still open. Write the summary only."
)
_CUT = "…"


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


def most_tokens(context: int, reserve: int) -> int:
    """The tokens that a note may have."""
    return max(_LEAST_TOKENS, min(reserve, context // SHARE))


@dataclass(frozen=True, slots=True)
class Part:
    """One request for a note: as many turns as fit, and the summary of those before them."""

    ids: tuple[int, ...]
    turns: int
    """How many turns are in it, at least one."""


def next_part(
    template: PromptTemplate,
    encoder: TokenEncoder,
    turns: Sequence[Sequence[PromptMessage]],
    before: str,
    context: int,
    tokens: int,
) -> Part:
    """Ask for a summary of as many of the turns as fit, the oldest first.

    Args:
        template: How turns are written.
        encoder: The tokenizer.
        turns: What is to be summed up, at least one turn. Of a turn that is too long by itself,
            each message is cut.
        before: The summary of the turns before these; empty for none.
        context: Tokens that prompt and summary may have together.
        tokens: Tokens that the summary may have.

    Raises:
        ContextError: If not even a bit of one turn fits.
        ConfigError: If the template cannot express it, as one without a system message.
    """
    words = max(10, int(tokens * _WORDS_PER_TOKEN) // 10 * 10)
    ask = PromptMessage("ask", "user", _INSTRUCTION.format(words=words))
    head = (PromptMessage("note", "system", system_text("", before)),) if before else ()

    def ids_of(messages: Sequence[PromptMessage]) -> tuple[int, ...]:
        segments = template.render([*head, *messages, ask], encoder)
        return tuple(i for segment in segments for i in segment.ids)

    limit = context - tokens
    sizes = [_size(template, encoder, turn) for turn in turns]
    room = limit - len(ids_of(()))
    count = 0
    while count < len(sizes) and sizes[count] <= room:
        room -= sizes[count]
        count += 1
    while count:
        ids = ids_of([message for turn in turns[:count] for message in turn])
        if len(ids) <= limit:
            return Part(ids, count)
        count -= 1  # neighbouring texts encoded together can take a token more
    longest = max(len(message.text) for message in turns[0])
    while longest:
        longest = longest * 2 // 3
        ids = ids_of([_cut(message, longest) for message in turns[0]])
        if len(ids) <= limit:
            return Part(ids, 1)
    raise ContextError(
        "There is no room to write a note",
        f"The context is {context} tokens, and the request alone takes {len(ids_of(()))}",
        "Load the model with a larger --context",
    )


def _size(template: PromptTemplate, encoder: TokenEncoder, turn: Sequence[PromptMessage]) -> int:
    """Tokens of a turn with its tags."""
    segments = template.render(turn, encoder)
    return sum(len(segment.ids) for segment in segments if segment.message_id is not None)


def _cut(message: PromptMessage, length: int) -> PromptMessage:
    """The beginning of a message that is longer than so many characters."""
    if len(message.text) <= length:
        return message
    return replace(message, text=message.text[:length] + _CUT, token_ids=())
