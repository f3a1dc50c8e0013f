"""Plain values for what is measured and what comes of it, with their form as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tui_chat.chat.params import SamplingParams
from tui_chat.engine.contract.backend import LoadRequest, ReplyPath

FILLER = "The quick brown fox jumps over the lazy dog, and then it writes another sentence. "
"""Text that prompts are made of, unless the options name another."""
GREEDY = SamplingParams(temperature=0.0)
"""Sampling parameters that always choose the most probable token."""
DEFAULT_CONTEXT = 512
"""Tokens of prompt and reply together, for models whose context is at least this large."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure."""

    load: LoadRequest
    context: int | None = None
    """Tokens of prompt and reply together, at most the model's context. None means the whole
    context when a chat is measured, otherwise `DEFAULT_CONTEXT` or the model's context if that is
    smaller."""
    new_tokens: int = 128
    """Tokens to decode, at least 1 and fewer than the context."""
    params: SamplingParams = GREEDY
    """Sampling parameters of the replies; their `max_new_tokens` and `stop` are not used."""
    text: str = FILLER
    """Text that the prompt is made of, repeated until it is long enough."""
    paths: tuple[ReplyPath, ...] = ("eager",)
    """Decode paths to measure, from `decode_paths.PATHS`, each once."""
    rounds: int = 3
    """How often to measure; the medians are reported."""
    over_contexts: bool = False
    """Whether to measure also at a quarter and at half of the context."""
    chat_turns: int = 0
    """Turns of the chat to measure; 0 for no chat."""


@dataclass(frozen=True, slots=True)
class ContextFigures:
    """The speed at one size of the context."""

    context: int
    """Tokens of prompt and reply together."""
    new_tokens: int
    ttft_s: float
    """Time to the first token, in seconds."""
    prefill_tokens_per_s: float
    decode_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the chat."""

    prompt_tokens: int
    new_tokens: int
    """Prompt tokens that had to be computed."""
    reused_tokens: int
    """Prompt tokens that were still in the KV cache."""
    ttft_s: float


@dataclass(frozen=True, slots=True)
class FreshRead:
    """A full prefill of one turn's prompt, without reuse of the KV cache."""

    turn: int
    """The number of the turn, from 1."""
    prompt_tokens: int
    ttft_s: float


@dataclass(frozen=True, slots=True)
class ChatFigures:
    """What reusing the KV cache saves over a chat.

    Times to the first token are in seconds. Shares are relative to a full prefill, 0 to 1.
    """

    compared_turn: int
    """The turn, from 1, whose median times to the first token are `turn_ttft_s` with reuse and
    `fresh_ttft_s` with a full prefill."""
    turn_ttft_s: float
    fresh_ttft_s: float
    turn_share: float
    late_from: int | None
    """The first of the late turns, from 1. In a context of 2,048 tokens or fewer, their history no
    longer fits as a whole. None if the chat is too short to have late turns."""
    trims: int
    """Late turns at which the oldest turns were dropped from the prompt, so that the rest moved."""
    late_mean_ttft_s: float | None
    late_worst_ttft_s: float | None
    late_fresh_mean_ttft_s: float | None
    """Mean over those of `fresh_reads` that belong to late turns."""
    late_mean_share: float | None
    late_worst_share: float | None
    fresh_reads: tuple[FreshRead, ...]


@dataclass(frozen=True, slots=True)
class BenchRun:
    """The figures of one decode path."""

    path: str
    model: str
    precision: str
    device: str
    context: int
    new_tokens: int
    load_s: float
    ttft_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    weight_bytes: int
    peak_bytes: int
    """Peak memory of the whole process, in which all paths are measured: resident on a CPU,
    allocated on a GPU."""
    bandwidth_share: float
    """Weight bytes read per second of decoding, relative to `read_bandwidth`, 0 to 1."""
    bytes_per_token: int
    """Weight bytes read to decode one token."""
    read_bandwidth: float
    """Memory bandwidth that the machine reaches when reading, in bytes per second."""
    contexts: tuple[ContextFigures, ...] = ()
    """The speed at each context, smallest first; empty without `over_contexts`."""
    turns: tuple[Turn, ...] = ()
    chat: ChatFigures | None = None

    def record(self) -> dict[str, Any]:
        """Return the figures as JSON values.

        Figures that were not measured are left out, and so are those that only the table shows.
        """
        values = asdict(self)
        for_people = ("bytes_per_token", "read_bandwidth")
        return {
            name: value
            for name, value in values.items()
            if value not in (None, ()) and name not in for_people
        }
