"""The one vocabulary in which the engine speaks: typed events of plain values.

The screens, the line client, `ask`, the benchmark and the tests all read these and nothing else.
Every request ends with exactly one `Finished` or `Failed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tui_chat.errors import Remedy, TuiChatError

FinishReason = Literal["eos", "stop", "length", "cancelled"]
FailureCode = Literal[
    "oom", "device_lost", "bad_numbers", "context", "load", "cancelled", "internal"
]


@dataclass(frozen=True, slots=True)
class Loading:
    """A step of loading a model."""

    model: str
    precision: str
    stage: str
    """`download`, `tokenizer`, `weights`, `quantise` or `check`."""
    done: int
    """Bytes done in this stage; 0 where it has no size."""
    total: int
    """Bytes of this stage; 0 where unknown."""
    elapsed_s: float = 0.0
    """Seconds since loading began."""


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A model was freed."""

    model: str
    precision: str
    freed_bytes: int
    """Device memory in use before minus after, at least 0."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The facts of a loaded model."""

    name: str
    """The name the user knows it by: registry name, directory or hub id."""
    source: str
    precision: str
    device: str
    """`cpu`, `cuda:0` or `mps`."""
    template: str
    context: int
    """Most tokens that prompt and reply may have together."""
    reserve: int
    """Tokens of the context kept free for the reply."""
    parameters: int
    """Number of weights."""
    weight_bytes: int
    load_s: float = 0.0
    bytes_per_token: int = 0
    """Weight bytes that are read to decode one token: all but an input embedding of its own, of
    which one row is. 0 where unknown."""
    revision: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """A model is loaded and passed its checks."""

    info: ModelInfo
    memory_bytes: int
    """Device memory in use by this process."""


TurboStage = Literal["off", "waiting", "compiling", "ready", "unavailable"]


@dataclass(frozen=True, slots=True)
class TurboState:
    """How far the compiled decode path of the loaded model is. Belongs to no request."""

    stage: TurboStage = "off"
    reason: str = ""
    """Why it is unavailable, as part of a sentence."""
    seconds: float = 0.0
    """What compiling took; 0 where the step was there already."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """The prompt is being read. Sent at the start, and again as chunks are done."""

    new: int
    """Prompt tokens that have to be computed."""
    reused: int
    """Prompt tokens whose keys and values were still in the cache."""
    done: int = 0
    """How many of `new` are done."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply."""

    text: str
    """New text, possibly empty while a character or a stop string is incomplete."""
    token_ids: tuple[int, ...] = ()
    """The tokens that were sampled since the last delta."""
    logprobs: tuple[float, ...] = ()
    """Natural logarithms of their probabilities before filtering, one for each token."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What one reply cost."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    dropped_turns: int = 0
    """Whole turns left out of the prompt to fit the context."""
    ttft_s: float = 0.0
    """Seconds from the start of the request to the first token."""
    decode_tokens_per_s: float = 0.0
    """Tokens after the first, divided by the time they took; 0 for a single token."""
    total_s: float = 0.0
    seed: int = 0
    path: str = "eager"
    """What computed the last token: `eager`, the model as the library runs it, or `turbo`, its
    compiled step."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply is complete as far as it goes."""

    reason: FinishReason
    stats: Stats


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed; what was written so far is kept."""

    code: FailureCode
    title: str
    detail: str = ""
    hint: str = ""
    remedy: Remedy | None = None
    """Where the user does what the hint advises."""

    @property
    def error(self) -> TuiChatError:
        """The same as an error."""
        return TuiChatError(self.title, self.detail, self.hint, self.remedy)

    @property
    def one_line(self) -> str:
        """The three parts as one sentence or two."""
        parts = (self.title, self.detail, self.hint)
        return " ".join(part.rstrip(".") + "." for part in parts if part)


EngineEvent = Loading | Unloaded | Ready | TurboState | Prefill | Delta | Finished | Failed
