"""What speaks: the interface between the one engine thread and whatever runs a model.

Requests and answers are plain values, so a backend could as well live in another process.
Implemented by `local.LocalBackend` (a real model) and `scripted.ScriptedBackend` (chosen text, for
tests of the screens).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Literal, Protocol

from tui_chat.chat.events import EngineEvent, ModelInfo, TurboState, Unloaded

if TYPE_CHECKING:
    from tui_chat.chat.model_size import ModelChoice, PrecisionChoice
    from tui_chat.chat.params import SamplingParams
    from tui_chat.chat.templates import PromptTemplate, TokenEncoder

Emit = Callable[[EngineEvent], None]
"""Takes events on the engine thread; must be quick and must not raise."""
EmitEach = Callable[[int, EngineEvent], None]
"""The same for several requests at once, with the number of the one that an event belongs to."""


ReplyPath = Literal["auto", "eager", "turbo"]
"""What computes tokens: the model as the library runs it, its compiled step, or what is ready."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Which model to load and how. None leaves a value to the registry or the model."""

    model: str
    """Registry name, local directory or hub id."""
    precision: str = "auto"
    device: str = "auto"
    template: str | None = None
    context: int | None = None
    """Tokens; never more than the model was trained for."""
    reserve: int | None = None
    allow_download: bool = True
    """Whether files may be fetched from the hub."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One reply to write."""

    ids: tuple[int, ...]
    """The whole prompt; at least one id."""
    params: Callable[[], SamplingParams]
    """Read before every token, so a changed value acts from the next token on."""
    seed: int
    """Seeds the random numbers of this reply, 0 to 2^64-1."""
    stop_ids: tuple[int, ...]
    """Tokens that end the reply and are not part of it."""
    context: int
    """Prompt and reply together never pass it."""
    dropped_turns: int = 0
    """Passed on into the statistics."""
    ignore_eos: bool = False
    """End only at the length; for measurements."""


class Backend(Protocol):
    """A loaded model, or none. Only the engine thread calls it, except where noted."""

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model; None if there is none. Any thread."""

    @property
    def encoder(self) -> TokenEncoder | None:
        """Its tokenizer, available as soon as it is read, before the weights are. Any thread."""

    @property
    def template(self) -> PromptTemplate | None:
        """The template that goes with the tokenizer. Any thread."""

    @property
    def turbo(self) -> TurboState:
        """How far the compiled path of the loaded model is. Any thread."""

    def listen(self, emit: Emit) -> None:
        """Have events that belong to no request, as `TurboState`, sent here, from any thread."""

    def choose_path(self, path: ReplyPath, cancel: Event) -> None:
        """Decide how replies are decoded from now on.

        Args:
            path: `auto` takes turbo as soon as it is ready. `turbo` builds it and waits for it.
            cancel: Ends the waiting.

        Raises:
            UsageError: If there is no such path.
            TuiChatError: If turbo is not possible here, with the reason.
        """

    def preflight(self, request: LoadRequest) -> LoadRequest:
        """Check a request before anything is freed, and fill in what it leaves open.

        Free memory counts as if the loaded model were gone.

        Returns:
            The request with precision, device, template, context and reserve decided.

        Raises:
            ModelNotFoundError: If there is no such model.
            MemoryShortError: If it does not fit, with the numbers and what would.
            ModelLoadError: If the files cannot be a model, or the device is not there.
        """

    def load(self, request: LoadRequest, emit: Emit, cancel: Event) -> ModelInfo:
        """Load and check a model, emitting `Loading`. Nothing may be loaded before.

        Raises:
            TuiChatError: If it fails or is cancelled; nothing is loaded then.
        """

    def unload(self) -> Unloaded | None:
        """Free the loaded model and say how much memory came back; None if there was none."""

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        """Write one reply: `Prefill`, then `Delta`s, then exactly one `Finished` or `Failed`.

        Never raises.
        """

    def generate_several(
        self, requests: Sequence[GenerateRequest], emit: EmitEach, cancels: Sequence[Event]
    ) -> None:
        """Write several replies to one prompt.

        As many at a time as there is memory for, token by token side by side; the others after
        them. Each gets the events of `generate`, with the same text as if it were the only one, as
        far as the order of summation allows. Never raises.

        Args:
            requests: At least one; all with the same ids and context.
            emit: Takes the events with the number of their request.
            cancels: Each ends the request of the same number.
        """

    def memory_bytes(self) -> int:
        """Device memory in use: allocated on a GPU, resident on a CPU. Any thread."""

    def models(self) -> list[ModelChoice]:
        """The registry with what fits here. Reads files; any thread, but not a UI loop."""

    def precisions(self, model: str) -> list[PrecisionChoice]:
        """What each precision of a model needs here. Reads files; not for a UI loop.

        Raises:
            TuiChatError: If the model is not known or its files cannot be read.
        """
