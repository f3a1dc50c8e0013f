"""What is measured and what comes of it: plain values, and their form as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tui_chat.chat.params import SamplingParams
from tui_chat.engine.contract.backend import LoadRequest, ReplyPath

FILLER = "The quick brown fox jumps over the lazy dog, and then it writes another sentence. "
GREEDY = SamplingParams(temperature=0.0)
DEFAULT_CONTEXT = 512
"""Tokens of prompt and reply together, of models that can hold as many."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure."""

    load: LoadRequest
    context: int | None = None
    """Tokens of prompt and reply together, at most the model's. None is the model's with a chat,
    else `DEFAULT_CONTEXT` or the model's where that is smaller."""
    new_tokens: int = 128
    """Tokens to decode."""
    params: SamplingParams = GREEDY
    """What replies are sampled with; its `max_new_tokens` is not used."""
    text: str = FILLER
    """What the prompt is made of, repeated until it is long enough."""
    paths: tuple[ReplyPath, ...] = ("eager",)
    """Of `paths.PATHS`, each once."""
    rounds: int = 3
    """The medians of this many rounds are reported."""
    over_contexts: bool = False
    """Also measure at a quarter and at half of the context."""
    chat_turns: int = 0
    """Turns of the chat to measure; 0 for none."""


@dataclass(frozen=True, slots=True)
class ContextFigures:
    """The speed at one context."""

    context: int
    """Tokens of prompt and reply together."""
    new_tokens: int
    ttft_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the chat."""

    prompt_tokens: int
    new_tokens: int
    """Prompt tokens that had to be computed."""
    reused_tokens: int
    """Prompt tokens whose keys and values were still there."""
    ttft_s: float


@dataclass(frozen=True, slots=True)
class FreshRead:
    """The prompt of one turn, prefilled from nothing."""

    turn: int
    """Counted from 1."""
    prompt_tokens: int
    ttft_s: float


@dataclass(frozen=True, slots=True)
class ChatFigures:
    """What reuse of the KV cache is worth over a chat. Shares are of prefilling it all, 0 to 1."""

    compared_turn: int
    """The turn whose times to the first token are `turn_ttft_s` and `fresh_ttft_s`, medians."""
    turn_ttft_s: float
    fresh_ttft_s: float
    turn_share: float
    late_from: int | None
    """The first of the late turns, which lie past the window if the context is not large; None
    if the chat is too short to have any."""
    trims: int
    """At how many of the late turns the oldest ones were dropped, so that the rest moved."""
    late_mean_ttft_s: float | None
    late_worst_ttft_s: float | None
    late_fresh_mean_ttft_s: float | None
    """Mean over the late turns among `fresh_reads`."""
    late_mean_share: float | None
    late_worst_share: float | None
    fresh_reads: tuple[FreshRead, ...]


@dataclass(frozen=True, slots=True)
class BenchRun:
    """The figures of one path."""

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
    """Most memory of the whole process, in which all paths are measured."""
    bandwidth_share: float
    """Weight bytes read per second of decoding against the measured read bandwidth, 0 to 1."""
    bytes_per_token: int
    """Weight bytes read to decode one token."""
    read_bandwidth: float
    """What the machine reads, in bytes per second."""
    contexts: tuple[ContextFigures, ...] = ()
    """With `over_contexts`: the smallest first, the whole last."""
    turns: tuple[Turn, ...] = ()
    chat: ChatFigures | None = None

    def record(self) -> dict[str, Any]:
        """The figures as JSON has them; what was not measured is left out."""
        values = asdict(self)
        for_people = ("bytes_per_token", "read_bandwidth")
        return {
            name: value
            for name, value in values.items()
            if value not in (None, ()) and name not in for_people
        }
