"""Composition of the prompt: conversation, template and budget become token ids.

Turn sizes are cached, so the cost of counting a draft does not depend on the length of the chat.
Turns with a pinned message are always sent, in their place, and the budget counts them with the
system message. Turns that a note replaces are not sent; the note goes with the system message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from tui_chat.chat.budget import BudgetFit, ContextView, fit
from tui_chat.chat.conversation import Message
from tui_chat.chat.notes import divided, system_text
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
    """A composed prompt."""

    ids: tuple[int, ...]
    segments: tuple[Segment, ...]
    """The segments of `ids`, in order."""
    fit: BudgetFit
    dropped: tuple[PromptMessage, ...]
    """The messages that are not sent, oldest first."""
    has_note: bool = False
    """Whether the system message contains a note that replaces turns."""
    noted_turns: int = 0
    """Turns that are not sent because a note replaces them."""
    noted_tokens: int = 0
    """Tokens of those turns."""

    @property
    def dropped_turns(self) -> int:
        """Number of whole turns that are not sent."""
        return self.noted_turns + self.fit.first_kept

    @property
    def dropped_tokens(self) -> int:
        """Tokens of the turns that are not sent."""
        return self.noted_tokens + self.fit.dropped_tokens


@dataclass(frozen=True, slots=True)
class _DividedPath:
    """A path divided into turns that a note replaces and turns that may be sent."""

    note: str
    """The text of the note; empty for none."""
    noted: list[Turn]
    turns: list[Turn]
    """The other turns, and pinned turns from before the note."""
    pinned: list[bool]
    """For each of `turns`, whether it must never be dropped."""

    @property
    def free(self) -> list[Turn]:
        """The turns that may be dropped."""
        return [t for t, is_pinned in zip(self.turns, self.pinned, strict=True) if not is_pinned]


@dataclass(frozen=True, slots=True)
class _SizedTurns:
    """The turns that may be dropped, with their sizes, and the sizes of the other turns."""

    turns: list[Turn]
    sizes: list[int]
    """Tokens of each turn now."""
    sent: list[int]
    """Tokens of each turn at the time it was sent, before it had its reply."""
    pinned: int
    """Tokens of the turns that are never dropped."""
    note: str
    """The text of the note; empty for none."""
    noted_turns: int
    noted_tokens: int


class PromptComposer:
    """Composes prompts for one model. Safe to call from several threads.

    Args:
        template: The prompt template of the model.
        encoder: The tokenizer.
        context: Tokens of prompt and reply together.
        reserve: Tokens kept free for the reply, less than `context`.
    """

    def __init__(
        self, template: PromptTemplate, encoder: TokenEncoder, context: int, reserve: int
    ) -> None:
        self.template = template
        self.encoder = encoder
        self.context = context
        self.reserve = min(reserve, context - 1)
        self._turn_sizes: dict[tuple[str, ...], tuple[Turn, int]] = {}
        """Turns and their tokens by message ids; of a growing reply, only the latest state."""
        self._grouped: tuple[Sequence[Message], _SizedTurns] | None = None

    def compose(
        self, messages: Sequence[Message], system: str = "", continue_last: bool = False
    ) -> Prompt:
        """Choose the turns that fit and encode them.

        Args:
            messages: The active path, oldest first; the last message is the one to be answered, or
                the reply to continue.
            system: The system message; empty for none.
            continue_last: Whether the model continues the last message, which must be the
                assistant's.

        Raises:
            ContextError: If there is nothing to send, or the newest turn does not fit by itself.
            ConfigError: If the template cannot express these messages.
        """
        if not messages:
            raise ContextError("There is nothing to send", "The chat is empty", "Type a message")
        path = self._divide(messages)
        if messages[-1].is_note:
            raise ContextError(
                "There is nothing to send", "The note stands for the whole chat", "Type a message"
            )
        head = self._system_messages(system_text(system, path.note))
        sized = self._sizes_of(path)
        budget = self._fit(sized, head, continue_last)
        if budget.is_too_long:
            raise self.too_long_error(budget)
        free, first = path.free, budget.first_kept
        while True:
            gone = set(map(id, free[:first]))
            kept = [*head, *(m for turn in path.turns if id(turn) not in gone for m in turn)]
            segments = self.template.render(kept, self.encoder, continue_last)
            ids = tuple(i for segment in segments for i in segment.ids)
            if len(ids) <= budget.limit or first == len(free) - 1:
                break
            first += 1  # adjacent texts encoded together can take more tokens than apart
        if first != budget.first_kept:
            budget = self._moved(budget, free, first)
        dropped = tuple(m for turn in (*path.noted, *free[:first]) for m in turn)
        return Prompt(
            ids, tuple(segments), budget, dropped, bool(path.note), sized.noted_turns,
            sized.noted_tokens,
        )  # fmt: skip

    def view(self, messages: Sequence[Message], system: str, draft: str) -> ContextView:
        """Return how the context would be used if the draft were sent after these messages.

        Turn sizes are cached by the identity of the list, so another call with the same list counts
        only the draft and the system message.
        """
        sized = self._sized_turns(messages)
        system_size = self._system_size(self._system_messages(system))
        always = sized.pinned
        if sized.note:
            whole = self._system_messages(system_text(system, sized.note))
            always += self._system_size(whole) - system_size
        draft_size = self._size((PromptMessage(_DRAFT_ID, "user", draft),)) + self._opening
        budget = fit(
            [*sized.sizes, draft_size],
            system_size + always,
            self.context,
            self.reserve,
            sent_tokens=[*sized.sent, draft_size],
        )
        draft_tokens = draft_size if draft else 0
        history = budget.kept_tokens - draft_size + always
        used = system_size + history + draft_tokens
        reserve = min(self.reserve, max(0, self.context - used))
        first, dropped = budget.first_kept, sized.noted_turns + budget.first_kept
        has_line = dropped > 0 and first < len(sized.turns)
        return ContextView(
            context=self.context,
            system=system_size,
            history=history,
            draft=draft_tokens,
            reserve=reserve,
            free=max(0, self.context - used - reserve),
            dropped_turns=dropped,
            dropped_tokens=sized.noted_tokens + budget.dropped_tokens,
            noted_turns=sized.noted_turns,
            first_kept_id=sized.turns[first][0].id if has_line else None,
            draft_text_tokens=len(self.encoder.encode(draft)) if draft else 0,
            is_exact=True,
            is_too_long=budget.is_too_long,
            longest_draft=max(0, budget.limit - budget.system_tokens),
        )

    def too_long_error(self, budget: BudgetFit) -> ContextError:
        """Return the error for a newest turn that does not fit, with its size."""
        room = max(0, budget.limit - budget.system_tokens)
        return ContextError(
            "The message is too long",
            f"It has {budget.kept_tokens} tokens, and {room} fit: the context is {self.context}, "
            f"{self.reserve} are kept for the reply"
            + (
                f", {budget.system_tokens} are the system message, a note and what is pinned"
                * bool(budget.system_tokens)
            ),
            "Shorten it, pin less, or lower the reserve",
        )

    def prompt_message(self, message: Message) -> PromptMessage:
        """Return a message for the prompt, with its exact tokens if they are this tokenizer's."""
        usable = message.role == "assistant" and message.tokenizer == self.encoder.fingerprint
        return PromptMessage(
            message.id, message.role, message.text, message.token_ids if usable else ()
        )

    def _divide(self, messages: Sequence[Message], keeps_last: bool = True) -> _DividedPath:
        """Divide a path into turns.

        Args:
            messages: The path.
            keeps_last: Whether the last turn is the one being sent, which does not count as pinned.
        """
        note, before, after = divided(messages)
        noted = group_turns(self.prompt_message(m) for m in before)
        turns = group_turns(self.prompt_message(m) for m in after)
        ids = in_pinned_turns(before) | in_pinned_turns(after)
        kept = [turn for turn in noted if turn[0].id in ids]
        pinned = [True] * len(kept) + [turn[0].id in ids for turn in turns]
        if keeps_last and turns:
            pinned[-1] = False  # the budget takes the last turn that is not pinned for the newest
        return _DividedPath(
            note.text if note is not None else "",
            [turn for turn in noted if turn[0].id not in ids],
            [*kept, *turns],
            pinned,
        )

    def _fit(
        self, sized: _SizedTurns, head: Sequence[PromptMessage], continue_last: bool
    ) -> BudgetFit:
        sizes = list(sized.sizes)
        sizes[-1] += 0 if continue_last else self._opening
        fixed = self._system_size(head) + sized.pinned
        return fit(sizes, fixed, self.context, self.reserve, sent_tokens=sized.sent)

    def _sizes_of(self, path: _DividedPath) -> _SizedTurns:
        free = path.free
        every = zip(path.turns, path.pinned, strict=True)
        return _SizedTurns(
            free,
            [self._turn_size(turn) for turn in free],
            [self._sent_size(turn) for turn in free],
            sum(self._turn_size(turn) for turn, is_pinned in every if is_pinned),
            path.note,
            len(path.noted),
            sum(self._turn_size(turn) for turn in path.noted),
        )

    def _moved(self, budget: BudgetFit, turns: Sequence[Turn], first: int) -> BudgetFit:
        moved = sum(self._turn_size(turn) for turn in turns[budget.first_kept : first])
        return BudgetFit(
            budget.context, budget.reserve, budget.system_tokens, first,
            budget.kept_tokens - moved, budget.dropped_tokens + moved, budget.is_too_long,
        )  # fmt: skip

    def _sized_turns(self, messages: Sequence[Message]) -> _SizedTurns:
        """Return the turns before a draft with their sizes."""
        grouped = self._grouped
        if grouped is None or grouped[0] is not messages:
            grouped = (messages, self._sizes_of(self._divide(messages, keeps_last=False)))
            self._grouped = grouped
        return grouped[1]

    def _size(self, turn: Turn) -> int:
        """Return the tokens of a turn with its tags."""
        segments = self.template.render(turn, self.encoder)
        return sum(len(s.ids) for s in segments if s.message_id is not None)

    def _turn_size(self, turn: Turn) -> int:
        """Return `_size` of a turn, cached."""
        key = tuple(message.id for message in turn)
        known, size = self._turn_sizes.get(key, ((), 0))
        if known != turn:
            size = self._size(turn)
            if len(self._turn_sizes) > _CACHE_LIMIT:
                self._turn_sizes.clear()
            self._turn_sizes[key] = turn, size
        return size

    def _sent_size(self, turn: Turn) -> int:
        """Return the tokens of a turn when it was sent: its question and the reply's opening."""
        return self._turn_size(turn[:1]) + self._opening

    @cached_property
    def _opening(self) -> int:
        """Tokens that open the reply."""
        probe = self.template.render((PromptMessage(_DRAFT_ID, "user", "x"),), self.encoder)
        return sum(len(s.ids) for s in probe if s.role == "reply")

    def _system_size(self, head: Sequence[PromptMessage]) -> int:
        """Return the tokens that the system message and the start of the prompt add."""
        probe = PromptMessage(_DRAFT_ID, "user", "x")
        segments = self.template.render((*head, probe), self.encoder)
        total = sum(len(s.ids) for s in segments if s.role != "reply")
        return total - self._turn_size((probe,))

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
    """Return the ids of all messages in turns that contain a pinned message."""
    turns = group_turns(path)
    return {m.id for turn in turns if any(one.marks.pinned for one in turn) for m in turn}
