"""Measures a chat of many turns: the time to the first token of each turn, with KV cache reuse.

`chat.prompt` composes and trims the prompts as in a session. To show what reuse saves, prompts as
long as those of some turns are also prefilled in full, right after the turn itself, so that the
machine is equally busy for both.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tui_chat.bench.figures import ChatFigures, FreshRead, Turn
from tui_chat.bench.meter import ReplyMeter
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.events import Stats
from tui_chat.chat.prompt import Prompt, PromptComposer
from tui_chat.chat.templates import TokenEncoder
from tui_chat.errors import UsageError

QUESTION_TOKENS = 30
"""The most tokens that a question has."""
REPLY_TOKENS = 40
"""Tokens of each reply."""
COMPARED_TURN = 20
"""Turn that is compared with a full prefill. With questions and replies of this length, its history
has about 1,400 tokens."""
LATE_FROM = 40
"""First of the late turns. With questions and replies of this length, their history no longer fits
into a context of 2,048 tokens."""
FRESH_EVERY = 11
"""Distance of the late turns that are compared with a full prefill as well. Trims come at other
distances, so both short and long prompts are among them."""
_WORDS = (
    "river", "lantern", "copper", "window", "garden", "letter", "engine", "harbour", "silver",
    "winter", "market", "island", "kitchen", "bridge", "paper", "mirror", "forest", "signal",
    "summer", "valley", "carpet", "pencil", "orchard", "thunder", "village", "meadow", "compass",
    "blanket", "chimney", "pepper",
)  # fmt: skip


def question(encoder: TokenEncoder, number: int) -> str:
    """Return the user's message of one turn, at most `QUESTION_TOKENS` tokens long.

    Args:
        encoder: The tokenizer that counts the tokens.
        number: The number of the turn, from 1. No two turns get the same question.
    """
    words = [f"{number}.", "What", "do", "you", "know", "about", "a"]
    for step in range(QUESTION_TOKENS):
        word = _WORDS[(number * 7 + step * (1 + number % 3)) % len(_WORDS)]
        if len(encoder.encode(" ".join([*words, word]))) > QUESTION_TOKENS:
            break
        words.append(word)
    return " ".join(words)


def check_window(meter: ReplyMeter, context: int) -> None:
    """Raise an error if a context is too small for the second turn of a chat.

    Args:
        meter: A meter with the model loaded.
        context: Tokens of prompt and reply together.

    Raises:
        UsageError: If two turns do not fit beside the reserve for the reply.
    """
    composer = _composer(meter, context)
    conversation = Conversation()
    conversation.append("user", question(meter.encoder, 1))
    ids = tuple(meter.encoder.encode(_WORDS[0])[:1]) * REPLY_TOKENS
    conversation.append("assistant", "x", token_ids=ids, tokenizer=meter.encoder.fingerprint)
    conversation.append("user", question(meter.encoder, 2))
    room = composer.context - composer.reserve
    whole = PromptComposer(meter.template, meter.encoder, 1_000_000, 1)
    if (needed := len(whole.compose(conversation.path()).ids)) > room:
        raise UsageError(
            f"A chat cannot be measured in a context of {context} tokens",
            f"Two turns have {needed}, and {room} fit beside the {composer.reserve} kept for "
            "the reply",
            "Choose a larger --context, or leave --chat out",
        )


def measure_chat(
    meter: ReplyMeter, context: int, turns: int, rounds: int
) -> tuple[tuple[Turn, ...], ChatFigures | None]:
    """Have a chat, and compare some of its turns with a full prefill.

    Args:
        meter: A meter that uses the path to be measured.
        context: Tokens of prompt and reply together.
        turns: Number of turns, at least 1.
        rounds: How often to measure the compared turn, alternating with its full prefill.

    Returns:
        Every turn, and what reuse saves; None for a chat of one turn, which reuses nothing.

    Raises:
        TuiChatError: If a reply fails.
    """
    chat = _Chat(meter, context)
    compared = min(COMPARED_TURN, turns)
    done: list[_Answered] = []
    comparison: tuple[float, float] | None = None
    fresh: list[FreshRead] = []
    for number in range(1, turns + 1):
        answered = chat.next_turn()
        done.append(answered)
        if number == compared > 1:
            comparison = chat.compare(answered, done[-2], rounds)
        elif number >= LATE_FROM and (number - LATE_FROM) % FRESH_EVERY == 0:
            seconds = chat.read_fresh(answered)
            fresh.append(FreshRead(number, len(answered.prompt.ids), round(seconds, 4)))
            chat.restore(answered)
    records = tuple(answered.turn for answered in done)
    if comparison is None:
        return records, None
    ids = done[compared - 1].prompt.ids
    fresh.insert(0, FreshRead(compared, len(ids), round(comparison[1], 4)))
    return records, _figures(compared, comparison, done, fresh)


@dataclass(frozen=True, slots=True)
class _Answered:
    """A turn with the token ids that the KV cache holds after it."""

    prompt: Prompt
    reply_ids: tuple[int, ...]
    turn: Turn

    @property
    def cached_ids(self) -> tuple[int, ...]:
        """Ids whose keys and values were computed: all but the last token of the reply."""
        return (*self.prompt.ids, *self.reply_ids[:-1])


class _Chat:
    """A chat that is being measured, one turn after the other."""

    def __init__(self, meter: ReplyMeter, context: int) -> None:
        self._meter = meter
        self._context = context
        self._composer = _composer(meter, context)
        self._conversation = Conversation()
        self._turns = 0

    def next_turn(self) -> _Answered:
        """Ask the next question, and have it answered."""
        self._turns += 1
        encoder = self._meter.encoder
        self._conversation.append("user", question(encoder, self._turns))
        prompt = self._composer.compose(self._conversation.path())
        request = self._meter.request(prompt.ids, REPLY_TOKENS, self._context)
        written = self._meter.write(replace(request, dropped_turns=prompt.dropped_turns))
        self._conversation.append(
            "assistant",
            written.text,
            token_ids=written.token_ids,
            tokenizer=encoder.fingerprint,
        )
        stats = written.stats
        new = stats.prompt_tokens - stats.reused_tokens
        turn = Turn(stats.prompt_tokens, new, stats.reused_tokens, round(stats.ttft_s, 4))
        return _Answered(prompt, written.token_ids, turn)

    def compare(self, turn: _Answered, before: _Answered, rounds: int) -> tuple[float, float]:
        """Return the median times to the first token of a turn, with reuse and with a full prefill.

        Each repetition replaces the turn's first new token by another one. The engine may still
        hold the KV cache of the turn itself, and reusing that would make the repetition too easy.
        """
        reused = turn.turn.reused_tokens
        times = [turn.turn.ttft_s]
        fresh = [self.read_fresh(turn)]
        for number in range(rounds - 1):
            self.restore(before)
            again = self._first_token(self._meter.with_new_id(turn.prompt.ids, reused, number))
            # More was reused than in the turn itself: this time does not count.
            if again.reused_tokens <= reused:
                times.append(again.ttft_s)
            fresh.append(self.read_fresh(turn))
        self.restore(turn)
        return statistics.median(times), statistics.median(fresh)

    def read_fresh(self, turn: _Answered) -> float:
        """Return the seconds to the first token of an equally long prompt, prefilled in full."""
        request = self._meter.request(turn.prompt.ids, 1, self._context)
        return self._meter.write_fresh(request).stats.ttft_s

    def restore(self, turn: _Answered) -> None:
        """Make the KV cache hold what it held after this turn."""
        self._first_token(turn.cached_ids)

    def _first_token(self, ids: tuple[int, ...]) -> Stats:
        return self._meter.write(self._meter.request(ids, 1, self._context)).stats


def _composer(meter: ReplyMeter, context: int) -> PromptComposer:
    """Return a composer as a session has it, with the reserve of a model with this context."""
    reserve = min(meter.info.reserve, max(1, context // 4))
    return PromptComposer(meter.template, meter.encoder, context, reserve)


def _figures(
    compared: int,
    comparison: tuple[float, float],
    done: Sequence[_Answered],
    fresh: tuple[FreshRead, ...] | list[FreshRead],
) -> ChatFigures:
    late = [answered.turn.ttft_s for answered in done[LATE_FROM - 1 :]]
    read = [one.ttft_s for one in fresh if one.turn >= LATE_FROM]
    mean = statistics.fmean(late) if late else None
    worst = max(late) if late else None
    whole = statistics.fmean(read) if read else None
    dropped = [answered.prompt.dropped_turns for answered in done]
    trims = [n for n in range(1, len(done)) if dropped[n] > dropped[n - 1]]
    turn_ttft, fresh_ttft = comparison
    return ChatFigures(
        compared_turn=compared,
        turn_ttft_s=round(turn_ttft, 4),
        fresh_ttft_s=round(fresh_ttft, 4),
        turn_share=_share(turn_ttft, fresh_ttft) or 0.0,
        late_from=LATE_FROM if late else None,
        trims=sum(n >= LATE_FROM - 1 for n in trims),
        late_mean_ttft_s=_rounded(mean),
        late_worst_ttft_s=_rounded(worst),
        late_fresh_mean_ttft_s=_rounded(whole),
        late_mean_share=_share(mean, whole),
        late_worst_share=_share(worst, whole),
        fresh_reads=tuple(fresh),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else round(part / whole, 4)
