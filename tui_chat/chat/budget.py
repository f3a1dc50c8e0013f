"""The token budget: which turns fit into the prompt, and what fills the rest of the context.

A turn is a user message with the replies that follow it. The prompt holds the system message and as
many of the newest whole turns as fit into `context - reserve`. Trimming goes down to a low-water
mark, so that the prompt begins at the same turn for many turns and its KV cache stays valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOW_WATER = 0.6
"""Share of the room for turns that is in use after trimming, at most."""


@dataclass(frozen=True, slots=True)
class BudgetFit:
    """The turns that fit, with token counts that include every tag."""

    context: int
    reserve: int
    system_tokens: int
    first_kept: int
    """Index of the oldest turn that is sent."""
    kept_tokens: int
    """Tokens of the kept turns, including the newest one."""
    dropped_tokens: int
    is_too_long: bool
    """Whether the newest turn does not fit by itself, so that nothing can be sent."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the whole prompt."""
        return self.system_tokens + self.kept_tokens

    @property
    def limit(self) -> int:
        """Largest prompt, in tokens."""
        return self.context - self.reserve


def fit(
    turn_tokens: Sequence[int],
    system_tokens: int,
    context: int,
    reserve: int,
    low_water: float = LOW_WATER,
    sent_tokens: Sequence[int] | None = None,
) -> BudgetFit:
    """Choose the turns to send.

    The choice replays the chat turn by turn: whenever the turns so far exceeded the room, the
    oldest were dropped until at most `low_water` of the room was in use or one turn was left. The
    result thus depends on the sizes alone, and adding a turn never brings back a dropped one.

    Args:
        turn_tokens: Tokens of each turn, oldest first; the last is the turn being sent, including
            the opening of the reply.
        system_tokens: Tokens of the system message, 0 for none.
        context: Largest number of tokens of prompt and reply together.
        reserve: Tokens kept free for the reply.
        low_water: Share of the room, 0 to 1, down to which turns are trimmed.
        sent_tokens: Tokens of each turn at the time it was sent, before it had its reply, for an
            exact replay of past choices; the same as `turn_tokens` if None.
    """
    sent = turn_tokens if sent_tokens is None else sent_tokens
    room = max(0, context - reserve - system_tokens)
    first, used = 0, 0
    for index, tokens in enumerate(turn_tokens):
        is_newest = index == len(turn_tokens) - 1
        # `now` is the size when this turn was sent; `used` includes the reply that came later.
        now = used + (tokens if is_newest else min(sent[index], tokens))
        used += tokens
        if now <= room:
            continue
        while first < index and now > room * low_water:
            now -= turn_tokens[first]
            used -= turn_tokens[first]
            first += 1
    newest = turn_tokens[-1] if turn_tokens else 0
    return BudgetFit(
        context=context,
        reserve=reserve,
        system_tokens=system_tokens,
        first_kept=first,
        kept_tokens=used,
        dropped_tokens=sum(turn_tokens[:first]),
        is_too_long=newest > room,
    )


@dataclass(frozen=True, slots=True)
class ContextView:
    """How the context would be used if the draft were sent now. The shares add up to `context`."""

    context: int = 2048
    system: int = 0
    history: int = 0
    """Tokens of the earlier turns in the prompt."""
    draft: int = 0
    """Tokens of the draft with its tags; 0 while the prompt is empty."""
    reserve: int = 0
    free: int = 0
    dropped_turns: int = 0
    """Turns that are not sent, including those that a note replaces."""
    dropped_tokens: int = 0
    """Tokens of the dropped turns."""
    noted_turns: int = 0
    """Turns that a note replaces; the tokens of the note count as history."""
    first_kept_id: str | None = None
    """Id of the first message below the forget line; None if every turn is sent."""
    draft_text_tokens: int = 0
    """Tokens of the draft without its tags."""
    is_exact: bool = False
    """Whether the numbers come from a tokenizer; if not, all except `context` are 0."""
    is_too_long: bool = False
    """Whether the draft does not fit by itself, so that it cannot be sent."""
    longest_draft: int = 0
    """Largest single message, in tokens including its tags."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens that would be sent."""
        return self.system + self.history + self.draft
