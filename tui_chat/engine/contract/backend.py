"""The `Backend` protocol: what the engine thread calls to load a model and to write replies.

`engine.local.LocalBackend` implements it with a real model, and
`engine.contract.scripted.ScriptedBackend` with prepared text, for tests of the screens.
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
"""Receives events, on the engine thread. It must return quickly and must not raise."""
EmitEach = Callable[[int, EngineEvent], None]
"""Receives the events of several requests, each with the index of its request."""


ReplyPath = Literal["auto", "eager", "turbo"]
"""How tokens are computed: `eager` runs the model through transformers, `turbo` runs its compiled
step, and `auto` uses the compiled step once it is ready."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Which model to load, and how. None takes the value from the registry or the model's files."""

    model: str
    """Registry name, local directory or hub id."""
    precision: str = "auto"
    """One of `chat.known_names.PRECISION_NAMES`."""
    device: str = "auto"
    """`auto`, `cpu`, `mps`, `cuda` or `cuda:N`."""
    template: str | None = None
    """Name of the prompt template; `auto` is the model's own chat template."""
    context: int | None = None
    """Most tokens that prompt and reply have together, at most what the model was trained for."""
    reserve: int | None = None
    """Tokens of the context to keep free for the reply; less than `context`."""
    allow_download: bool = True
    """Whether missing files may be downloaded from the hub."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A prompt and the settings for one reply to it."""

    ids: tuple[int, ...]
    """Token ids of the whole prompt; at least one."""
    params: Callable[[], SamplingParams]
    """Called before every token, so that a parameter changed during the reply applies from the next
    token on."""
    seed: int
    """Seed of the random generator for this reply, 0 to 2^64-1."""
    stop_ids: tuple[int, ...]
    """Token ids that end the reply, in addition to the model's own; none becomes part of it."""
    context: int
    """Most tokens that prompt and reply have together."""
    dropped_turns: int = 0
    """Turns left out of the prompt; the backend copies the number into `Stats`."""
    ignore_eos: bool = False
    """Ignore the end tokens and `stop_ids`, for measurements of a fixed length."""


class Backend(Protocol):
    """Loads a model and generates with it; holds one model at a time.

    Only the engine thread may call its members, except where "Any thread" is noted.
    """

    @property
    def info(self) -> ModelInfo | None:
        """Facts about the loaded model, or None while no model is loaded. Any thread."""

    @property
    def encoder(self) -> TokenEncoder | None:
        """The model's tokenizer, or None. Any thread.

        It is available before the weights are loaded, so that drafts can be counted meanwhile.
        """

    @property
    def template(self) -> PromptTemplate | None:
        """The prompt template of the model, available with `encoder`. Any thread."""

    @property
    def turbo(self) -> TurboState:
        """State of the loaded model's compiled decoding step. Any thread."""

    def listen(self, emit: Emit) -> None:
        """Set the listener for events that belong to no request, such as `TurboState`.

        The backend may call it from any thread.
        """

    def choose_path(self, path: ReplyPath, cancel: Event) -> None:
        """Choose how replies are decoded from now on.

        Args:
            path: `eager` never uses the compiled step. `auto` uses it once it is ready. `turbo`
                compiles it if necessary, and blocks until it is ready.
            cancel: Stops the wait for `turbo`.

        Raises:
            UsageError: If the path is unknown, or no model is loaded for `turbo`.
            LoadCancelledError: If the wait was cancelled.
            TuiChatError: If the model cannot use turbo on this machine, with the reason.
        """

    def preflight(self, request: LoadRequest) -> LoadRequest:
        """Check a load request, and fill in its defaults, while the loaded model is still there.

        The memory of the loaded model counts as free, because the load will free it first.

        Returns:
            The request with precision, device, template, context and reserve filled in.

        Raises:
            ModelNotFoundError: If the model does not exist.
            MemoryShortError: If it does not fit, with the sizes and a suggestion that does.
            ModelLoadError: If its files are unusable, or the device does not exist.
            ConfigError: If the template does not exist.
        """

    def load(self, request: LoadRequest, emit: Emit, cancel: Event) -> ModelInfo:
        """Load and check a model, emitting `Loading` events. Call `unload` before.

        Raises:
            TuiChatError: If loading fails or is cancelled; no model is loaded then.
        """

    def unload(self) -> Unloaded | None:
        """Free the loaded model.

        Returns:
            The event with the bytes that were freed, or None if no model was loaded.
        """

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        """Write one reply; never raises.

        Emits `Prefill` and `Delta` events, then exactly one `Finished` or `Failed`.

        Args:
            request: The prompt and its settings.
            emit: Receives the events.
            cancel: Ends the reply early; it then ends with `Finished("cancelled", ...)`.
        """

    def generate_several(
        self, requests: Sequence[GenerateRequest], emit: EmitEach, cancels: Sequence[Event]
    ) -> None:
        """Write several replies to one prompt; never raises.

        The backend decodes as many of them in a batch as memory allows, and the others after
        those. Each request gets the events of `generate` and the text that `generate` would give,
        except where a batch adds numbers in another order and rounding changes a token.

        Args:
            requests: At least one request; all with the same ids and context.
            emit: Receives each event with the index of its request.
            cancels: One for each request, in the same order.
        """

    def memory_bytes(self) -> int:
        """Return the bytes of device memory in use. Any thread.

        On a GPU it is what torch has allocated, on a CPU the resident memory of the process.
        """

    def models(self) -> list[ModelChoice]:
        """Return the registry's models, with the memory that each needs and whether it fits.

        It reads files: call it from any thread but the UI's.
        """

    def precisions(self, model: str) -> list[PrecisionChoice]:
        """Return the memory that a model needs in each precision, and whether it fits.

        It reads files: call it from any thread but the UI's.

        Args:
            model: Registry name, local directory or hub id.

        Raises:
            TuiChatError: If the model is unknown or its files cannot be read.
        """
