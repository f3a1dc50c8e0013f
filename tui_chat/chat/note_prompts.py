"""The prompts that ask a model to write a note.

They determine how many turns the model sums up at once and how long the note may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tui_chat.chat.notes import system_text
from tui_chat.chat.templates import PromptMessage, PromptTemplate, TokenEncoder
from tui_chat.errors import ContextError

SHARE = 8
"""A note takes at most 1/SHARE of the context."""
_LEAST_TOKENS = 16
_WORDS_PER_TOKEN = 0.6
_INSTRUCTION = (
    "Sum up our conversation so far in at most {words} words, as notes for yourself. Keep names, "
    "numbers, decisions and what is still open. Write the summary only."
)
_CUT = "…"


def most_tokens(context: int, reserve: int) -> int:
    """Return the largest length of a note, in tokens."""
    return max(_LEAST_TOKENS, min(reserve, context // SHARE))


@dataclass(frozen=True, slots=True)
class Part:
    """A request for a note: as many turns as fit, and the summary of the turns before them."""

    ids: tuple[int, ...]
    turns: int
    """Number of turns in the request, at least one."""


def next_part(
    template: PromptTemplate,
    encoder: TokenEncoder,
    turns: Sequence[Sequence[PromptMessage]],
    before: str,
    context: int,
    tokens: int,
) -> Part:
    """Compose a request to sum up as many of the turns as fit, oldest first.

    Args:
        template: The prompt template of the model.
        encoder: The tokenizer.
        turns: The turns to sum up, at least one. If the first does not fit by itself, each of its
            messages is cut.
        before: The summary of the turns before these; empty for none.
        context: Tokens of prompt and summary together.
        tokens: Largest length of the summary, in tokens.

    Raises:
        ContextError: If not even a piece of one turn fits.
        ConfigError: If the template cannot express the request, for example without a system
            message.
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
        count -= 1  # adjacent texts encoded together can take more tokens than apart
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
    """Return the tokens of a turn with its tags."""
    segments = template.render(turn, encoder)
    return sum(len(segment.ids) for segment in segments if segment.message_id is not None)


def _cut(message: PromptMessage, length: int) -> PromptMessage:
    """Return the message cut to `length` characters and an ellipsis, if it is longer."""
    if len(message.text) <= length:
        return message
    return replace(message, text=message.text[:length] + _CUT, token_ids=())
