"""The token budget: which turns the model sees, and where the rest of the context goes.

A turn is a user message with the replies that follow it. The system message and as many of the
newest whole turns as fit `context - reserve` are sent. Trimming goes down to a low-water mark,
so that the kept part begins at the same turn for many turns and its KV cache stays valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOW_WATER = 0.6
"""After trimming, at most this share of the room for turns is in use."""


@dataclass(frozen=True, slots=True)
class BudgetFit:
    """Which turns fit. Token counts include every tag."""

    context: int
    reserve: int
    system_tokens: int
    first_kept: int
    """Index of the oldest turn that is sent."""
    kept_tokens: int
    """Tokens of the kept turns, the newest one included."""
    dropped_tokens: int
    is_too_long: bool
    """The newest turn alone does not fit; nothing can be sent."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the whole prompt."""
        return self.system_tokens + self.kept_tokens

    @property
    def limit(self) -> int:
        """Most tokens that a prompt may have."""
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

    The choice replays the chat: whenever the turns up to some point exceeded the room, the oldest
    were dropped until at most `low_water` of the room was used (or one turn was left). So it
    depends on the sizes alone, and adding a turn never brings a dropped one back.

    Args:
        turn_tokens: Tokens of each turn, oldest first; the last is the one being sent, with the
            opening of the reply.
        system_tokens: Tokens of the system message, 0 for none.
        context: Tokens the model can take, prompt and reply together.
        reserve: Tokens kept free for the reply.
        low_water: Share of the room, 0 to 1, that trimming goes down to.
        sent_tokens: Tokens that each turn had when it was sent, before it got its reply; with them
            the replay is of what was really sent. As `turn_tokens` if None.
    """
    sent = turn_tokens if sent_tokens is None else sent_tokens
    room = max(0, context - reserve - system_tokens)
    first, used = 0, 0
    for index, tokens in enumerate(turn_tokens):
        is_newest = index == len(turn_tokens) - 1
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
    """How the context would be used if the draft were sent now. Shares add up to `context`."""

    context: int = 2048
    system: int = 0
    history: int = 0
    """Tokens of the earlier turns that are sent."""
    draft: int = 0
    """Tokens of the draft with its tags; 0 while the prompt is empty."""
    reserve: int = 0
    free: int = 0
    dropped_turns: int = 0
    """Turns that are not sent, those among them that a note stands for included,"""
    dropped_tokens: int = 0
    """and what they would take."""
    noted_turns: int = 0
    """Turns that a note stands for; its tokens are counted with the history."""
    first_kept_id: str | None = None
    """The message under the forget line; None if everything is sent."""
    draft_text_tokens: int = 0
    """Tokens of the draft alone."""
    is_exact: bool = False
    """Whether a tokenizer has counted; all other numbers are 0 where not."""
    is_too_long: bool = False
    """The draft alone does not fit; it cannot be sent."""
    longest_draft: int = 0
    """Most tokens, tags included, that a single message may have."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens that would be sent."""
        return self.system + self.history + self.draft
