"""Composing the prompt: a conversation, a template and a budget become the ids that are sent.

Owns the grouping into turns and the cache of their sizes, so that counting a draft costs the
draft only, however long the chat is. Turns with a pinned message are always sent, in their place;
the budget counts them like the system message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from tui_chat.chat.budget import BudgetFit, ContextView, fit
from tui_chat.chat.conversation import Message
from tui_chat.chat.templates import PromptMessage, PromptTemplate, Segment, TokenEncoder
from tui_chat.errors import ContextError

Spoken = TypeVar("Spoken", Message, PromptMessage)
Turn = tuple[PromptMessage, ...]
"""A user message with the replies that follow it."""

_SYSTEM_ID = "system"
_DRAFT_ID = "draft"
_CACHE_LIMIT = 50_000


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given."""

    ids: tuple[int, ...]
    segments: tuple[Segment, ...]
    """The segments of `ids`, in order."""
    fit: BudgetFit
    dropped: tuple[PromptMessage, ...]
    """The messages that are not sent, oldest first."""

    @property
    def dropped_turns(self) -> int:
        """How many whole turns are not sent."""
        return self.fit.first_kept


@dataclass(frozen=True, slots=True)
class _SizedTurns:
    """The turns that may be dropped, and what the others take."""

    turns: list[Turn]
    sizes: list[int]
    """Tokens of each now,"""
    sent: list[int]
    """and when it was sent, before it got its reply."""
    pinned: int
    """Tokens of the turns that are never dropped."""


class PromptComposer:
    """Composes prompts for one model. Safe to call from several threads.

    Args:
        template: How turns are written.
        encoder: The tokenizer.
        context: Tokens that prompt and reply may have together.
        reserve: Tokens kept free for the reply, less than `context`.
    """

    def __init__(
        self, template: PromptTemplate, encoder: TokenEncoder, context: int, reserve: int
    ) -> None:
        self.template = template
        self.encoder = encoder
        self.context = context
        self.reserve = min(reserve, context - 1)
        self._turn_sizes: dict[Turn, int] = {}
        self._grouped: tuple[Sequence[Message], _SizedTurns] | None = None

    def compose(
        self, messages: Sequence[Message], system: str = "", continue_last: bool = False
    ) -> Prompt:
        """Choose the turns that fit and encode them.

        Args:
            messages: The active path, oldest first; the last is the one to be answered, or the
                reply to go on with.
            system: The system message; empty for none.
            continue_last: Go on writing the last message, an assistant's.

        Raises:
            ContextError: If the newest turn alone does not fit.
            ConfigError: If the template cannot express these messages.
        """
        turns = group_turns(self._prompt_message(m) for m in messages)
        if not turns:
            raise ContextError("There is nothing to send", "The chat is empty", "Type a message")
        head = self._system_messages(system)
        pinned = _pinned(turns, messages)
        free = [turn for turn, is_pinned in zip(turns, pinned, strict=True) if not is_pinned]
        budget = self._fit(turns, pinned, head, continue_last)
        if budget.is_too_long:
            raise self.too_long_error(budget)
        first = budget.first_kept
        while True:
            gone = set(map(id, free[:first]))
            kept = [*head, *(m for turn in turns if id(turn) not in gone for m in turn)]
            segments = self.template.render(kept, self.encoder, continue_last)
            ids = tuple(i for segment in segments for i in segment.ids)
            if len(ids) <= budget.limit or first == len(free) - 1:
                break
            first += 1  # neighbouring texts encoded together can take a token more
        if first != budget.first_kept:
            budget = self._moved(budget, free, first)
        dropped = tuple(m for turn in free[:first] for m in turn)
        return Prompt(ids, tuple(segments), budget, dropped)

    def view(self, messages: Sequence[Message], system: str, draft: str) -> ContextView:
        """How the context would be used if the draft were sent after these messages.

        Passing the same list again costs the counting of the draft only.
        """
        sized = self._sized_turns(messages)
        system_size = self._system_size(self._system_messages(system))
        draft_size = self._size((PromptMessage(_DRAFT_ID, "user", draft),)) + self._opening
        budget = fit(
            [*sized.sizes, draft_size],
            system_size + sized.pinned,
            self.context,
            self.reserve,
            sent_tokens=[*sized.sent, draft_size],
        )
        draft_tokens = draft_size if draft else 0
        history = budget.kept_tokens - draft_size + sized.pinned
        used = system_size + history + draft_tokens
        reserve = min(self.reserve, max(0, self.context - used))
        first = budget.first_kept
        return ContextView(
            context=self.context,
            system=system_size,
            history=history,
            draft=draft_tokens,
            reserve=reserve,
            free=max(0, self.context - used - reserve),
            dropped_turns=first,
            dropped_tokens=budget.dropped_tokens,
            first_kept_id=sized.turns[first][0].id if 0 < first < len(sized.turns) else None,
            draft_text_tokens=len(self.encoder.encode(draft)) if draft else 0,
            is_exact=True,
            is_too_long=budget.is_too_long,
            longest_draft=max(0, budget.limit - budget.system_tokens),
        )

    def too_long_error(self, budget: BudgetFit) -> ContextError:
        """The refusal of a message that cannot be sent, with its size."""
        room = max(0, budget.limit - budget.system_tokens)
        return ContextError(
            "The message is too long",
            f"It has {budget.kept_tokens} tokens, and {room} fit: the context is {self.context}, "
            f"{self.reserve} are kept for the reply"
            + (
                f", {budget.system_tokens} are the system message and what is pinned"
                * bool(budget.system_tokens)
            ),
            "Shorten it, pin less, or lower the reserve",
        )

    def _fit(
        self,
        turns: Sequence[Turn],
        pinned: Sequence[bool],
        head: Sequence[PromptMessage],
        continue_last: bool,
    ) -> BudgetFit:
        sized = self._sizes_of(turns, pinned)
        sized.sizes[-1] += 0 if continue_last else self._opening
        fixed = self._system_size(head) + sized.pinned
        return fit(sized.sizes, fixed, self.context, self.reserve, sent_tokens=sized.sent)

    def _sizes_of(self, turns: Sequence[Turn], pinned: Sequence[bool]) -> _SizedTurns:
        free = [turn for turn, is_pinned in zip(turns, pinned, strict=True) if not is_pinned]
        return _SizedTurns(
            free,
            [self._turn_size(turn) for turn in free],
            [self._sent_size(turn) for turn in free],
            sum(
                self._turn_size(t) for t, is_pinned in zip(turns, pinned, strict=True) if is_pinned
            ),
        )

    def _moved(self, budget: BudgetFit, turns: Sequence[Turn], first: int) -> BudgetFit:
        moved = sum(self._turn_size(turn) for turn in turns[budget.first_kept : first])
        return BudgetFit(
            budget.context, budget.reserve, budget.system_tokens, first,
            budget.kept_tokens - moved, budget.dropped_tokens + moved, budget.is_too_long,
        )  # fmt: skip

    def _sized_turns(self, messages: Sequence[Message]) -> _SizedTurns:
        """The turns of a path that a draft follows, with their sizes."""
        grouped = self._grouped
        if grouped is None or grouped[0] is not messages:
            turns = group_turns(self._prompt_message(m) for m in messages)
            pinned = _pinned(turns, messages, keeps_last=False)
            grouped = (messages, self._sizes_of(turns, pinned))
            self._grouped = grouped
        return grouped[1]

    def _size(self, turn: Turn) -> int:
        """Tokens of a turn with its tags."""
        segments = self.template.render(turn, self.encoder)
        return sum(len(s.ids) for s in segments if s.message_id is not None)

    def _turn_size(self, turn: Turn) -> int:
        """The same, remembered."""
        size = self._turn_sizes.get(turn)
        if size is None:
            size = self._size(turn)
            if len(self._turn_sizes) > _CACHE_LIMIT:
                self._turn_sizes.clear()
            self._turn_sizes[turn] = size
        return size

    def _sent_size(self, turn: Turn) -> int:
        """Tokens that a turn had when it was sent: the question, and what opens the reply."""
        return self._turn_size(turn[:1]) + self._opening

    @cached_property
    def _opening(self) -> int:
        """Tokens that open the reply."""
        probe = self.template.render((PromptMessage(_DRAFT_ID, "user", "x"),), self.encoder)
        return sum(len(s.ids) for s in probe if s.role == "reply")

    def _system_size(self, head: Sequence[PromptMessage]) -> int:
        """Tokens that the system message and the start of the prompt add."""
        probe = PromptMessage(_DRAFT_ID, "user", "x")
        segments = self.template.render((*head, probe), self.encoder)
        total = sum(len(s.ids) for s in segments if s.role != "reply")
        return total - self._turn_size((probe,))

    def _prompt_message(self, message: Message) -> PromptMessage:
        usable = message.role == "assistant" and message.tokenizer == self.encoder.fingerprint
        return PromptMessage(
            message.id, message.role, message.text, message.token_ids if usable else ()
        )

    @staticmethod
    def _system_messages(system: str) -> tuple[PromptMessage, ...]:
        return (PromptMessage(_SYSTEM_ID, "system", system),) if system.strip() else ()


def group_turns(messages: Iterable[Spoken]) -> list[tuple[Spoken, ...]]:
    """Group messages into turns; each user message begins one."""
    turns: list[list[Spoken]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return [tuple(turn) for turn in turns]


def in_pinned_turns(path: Iterable[Message]) -> set[str]:
    """The ids of all messages of turns in which one is pinned, which are always sent."""
    turns = group_turns(path)
    return {m.id for turn in turns if any(one.marks.pinned for one in turn) for m in turn}


def _pinned(
    turns: Sequence[Turn], messages: Sequence[Message], keeps_last: bool = True
) -> list[bool]:
    """Which turns have a pinned message.

    Args:
        turns: Of a path.
        messages: The path.
        keeps_last: Whether the last turn is sent in any case, pinned or not.
    """
    ids = in_pinned_turns(messages)
    pinned = [turn[0].id in ids for turn in turns]
    if keeps_last and pinned:
        pinned[-1] = False
    return pinned
