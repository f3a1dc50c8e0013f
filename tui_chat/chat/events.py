"""The events that the engine emits, as typed plain values.

The screens, the line client, `ask`, the benchmark and the tests all consume these events. Every
request ends with exactly one `Finished` or `Failed`.
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
    """Sent for each step of loading a model."""

    model: str
    precision: str
    stage: str
    """`download`, `tokenizer`, `weights`, `quantise` or `check`."""
    done: int
    """Bytes processed in this stage; 0 if the stage has no size."""
    total: int
    """Bytes of this stage; 0 if unknown."""
    elapsed_s: float = 0.0
    """Seconds since loading began."""


@dataclass(frozen=True, slots=True)
class Unloaded:
    """Sent when a model has been freed."""

    model: str
    precision: str
    freed_bytes: int
    """Device memory in use before minus after, at least 0."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The facts of a loaded model."""

    name: str
    """The name by which the user chose it: registry name, directory or hub id."""
    source: str
    precision: str
    device: str
    """`cpu`, `cuda:0` or `mps`."""
    template: str
    context: int
    """Largest number of tokens of prompt and reply together."""
    reserve: int
    """Tokens of the context kept free for the reply."""
    parameters: int
    """Number of weights."""
    weight_bytes: int
    load_s: float = 0.0
    bytes_per_token: int = 0
    """Weight bytes that are read to decode one token; 0 if unknown.

    Of an untied input embedding only one row is read, so it does not count.
    """
    revision: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """Sent when a model is loaded and has passed its checks."""

    info: ModelInfo
    memory_bytes: int
    """Device memory in use by this process."""


TurboStage = Literal["off", "waiting", "compiling", "ready", "unavailable"]


@dataclass(frozen=True, slots=True)
class TurboState:
    """The state of the loaded model's compiled decode path. Belongs to no request."""

    stage: TurboStage = "off"
    reason: str = ""
    """Why it is unavailable, as part of a sentence."""
    seconds: float = 0.0
    """Duration of the compilation; 0 if a compiled step was already stored."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """Sent when the prefill starts, and again as its chunks complete."""

    new: int
    """Prompt tokens to be computed."""
    reused: int
    """Prompt tokens whose keys and values were still in the KV cache."""
    done: int = 0
    """How many of the `new` tokens have been computed."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Sent for each new piece of the reply."""

    text: str
    """New text; may be empty while a character or a possible stop string is incomplete."""
    token_ids: tuple[int, ...] = ()
    """The tokens sampled since the last delta."""
    logprobs: tuple[float, ...] = ()
    """Natural logarithms of the tokens' probabilities before filtering, one for each token."""


@dataclass(frozen=True, slots=True)
class Stats:
    """The cost of one reply."""

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
    """The path that computed the last token: `eager`, the library's own forward pass, or `turbo`,
    the compiled step.
    """


@dataclass(frozen=True, slots=True)
class Finished:
    """Sent when the reply has ended without an error."""

    reason: FinishReason
    stats: Stats


@dataclass(frozen=True, slots=True)
class Failed:
    """Sent when the request failed; the text so far is kept."""

    code: FailureCode
    title: str
    detail: str = ""
    hint: str = ""
    remedy: Remedy | None = None
    """Where the user can follow the hint."""

    @property
    def error(self) -> TuiChatError:
        """The failure as an exception."""
        return TuiChatError(self.title, self.detail, self.hint, self.remedy)

    @property
    def one_line(self) -> str:
        """Title, detail and hint as one line of sentences."""
        parts = (self.title, self.detail, self.hint)
        return " ".join(part.rstrip(".") + "." for part in parts if part)


EngineEvent = Loading | Unloaded | Ready | TurboState | Prefill | Delta | Finished | Failed
