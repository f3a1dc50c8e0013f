"""`LocalBackend`: runs a Hugging Face model in this process.

It holds the loaded model with its tokenizer, template, KV caches and compiled step. torch and
transformers are imported inside methods, when the first model is loaded, so that the program can
show its first frame before these slow imports.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, get_args

from tui_chat.chat.events import Failed, ModelInfo, TurboState, Unloaded
from tui_chat.engine.contract.backend import Emit, EmitEach, GenerateRequest, LoadRequest, ReplyPath
from tui_chat.engine.files.registry import Registry, load_registry
from tui_chat.errors import LoadCancelledError, Remedy, TuiChatError, UsageError

if TYPE_CHECKING:
    from tui_chat.chat.model_size import ModelChoice, PrecisionChoice
    from tui_chat.chat.templates import PromptTemplate, TokenEncoder
    from tui_chat.engine.files.hub import Hub
    from tui_chat.engine.loading.loader import LoadedModel
    from tui_chat.engine.loading.preflight import LoadPlan
    from tui_chat.engine.replies.decoding import CompiledForward
    from tui_chat.engine.replies.generation import ReplyWriter
    from tui_chat.engine.text.tokenizer import HFEncoder
    from tui_chat.engine.turbo.preparation import Preparation

TurboUse = Literal["off", "kept", "auto"]
"""Use of compiled decoding steps: `off` uses none, `kept` uses those compiled earlier, and `auto`
also compiles missing ones."""

_NO_MODEL = Failed("load", "No model is loaded", "", "Choose one", Remedy.CHOOSE_MODEL)


class LocalBackend:
    """Implements `engine.contract.backend.Backend` with transformers.

    Args:
        registry: The models known by name; if None, read from the project's and the user's
            models.toml.
        hub: The hub and its cache; the usual cache if None.
        threads: Threads for one operation on the CPU; if None, chosen by measuring.
        turbo: Whether compiled steps are used and made.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        hub: Hub | None = None,
        threads: int | None = None,
        turbo: TurboUse = "off",
    ) -> None:
        self._registry = registry or load_registry()
        self._hub = hub
        self._threads = threads
        self._loaded: LoadedModel | None = None
        self._writer: ReplyWriter | None = None
        self._encoder: HFEncoder | None = None
        self._template: PromptTemplate | None = None
        self._turbo = turbo
        self._path: ReplyPath = "auto"
        self._preparation: Preparation | None = None
        self._emit_background: Emit = _nobody

    @property
    def info(self) -> ModelInfo | None:
        loaded = self._loaded
        return loaded.info if loaded is not None else None

    @property
    def encoder(self) -> TokenEncoder | None:
        return self._encoder

    @property
    def template(self) -> PromptTemplate | None:
        return self._template

    @property
    def turbo(self) -> TurboState:
        preparation = self._preparation
        return preparation.state if preparation is not None else TurboState()

    def listen(self, emit: Emit) -> None:
        self._emit_background = emit

    def choose_path(self, path: ReplyPath, cancel: Event) -> None:
        if path not in get_args(ReplyPath):
            known = ", ".join(get_args(ReplyPath))
            raise UsageError(f"There is no path {path!r}", "", f"Choose one of {known}")
        if path == "turbo":
            self._wait_for_turbo(cancel)
        self._path = path

    def _wait_for_turbo(self, cancel: Event) -> None:
        """Wait for the compiled step, compiling it if necessary.

        Raises:
            UsageError: If no model is loaded.
            LoadCancelledError: If the wait was cancelled.
            TuiChatError: If the model has no compiled step on this machine.
        """
        if self._loaded is None:
            raise UsageError("Nothing can be compiled", "No model is loaded", "Load one first")
        if self.turbo.stage == "off":
            self._prepare_turbo(self._loaded.model, is_building=True, pause_s=0.0)
        preparation = self._preparation
        assert preparation is not None
        while not preparation.done.wait(0.1):
            if cancel.is_set():
                raise LoadCancelledError
        if preparation.step is None:
            raise TuiChatError(
                "There is no compiled path for this model here",
                preparation.state.reason,
                "Use the eager path",
            )

    def _prepare_turbo(self, model: Any, is_building: bool, pause_s: float) -> None:
        from tui_chat.engine.turbo.preparation import Preparation

        self._preparation = Preparation(
            model, is_building, lambda state: self._emit_background(state), pause_s
        )
        self._preparation.start()

    def _compiled(self) -> CompiledForward | None:
        """Return the compiled step for the next token; None to run the model itself."""
        preparation = self._preparation
        if preparation is None or self._path == "eager":
            return None
        return preparation.step

    def preflight(self, request: LoadRequest) -> LoadRequest:
        from tui_chat.engine.machine.libraries import configure_libraries, importing

        configure_libraries()
        with importing():
            from tui_chat.engine.loading.preflight import plan_load

            plan = plan_load(request, self._registry, self._reclaimable(), self._hub)
        return plan.request

    def load(self, request: LoadRequest, emit: Emit, cancel: Event) -> ModelInfo:
        from tui_chat.engine.machine.libraries import configure_libraries, importing

        configure_libraries()
        with importing():
            from tui_chat.engine.loading import loader
            from tui_chat.engine.loading.preflight import plan_load
            from tui_chat.engine.replies.generation import ReplyWriter
            from tui_chat.engine.turbo.preparation import PAUSE_S

        try:
            plan = plan_load(request, self._registry, hub=self._hub)
            loaded = loader.load(
                plan, self._registry, emit, cancel, self._take_tokenizer, self._hub
            )
            self._loaded = loaded  # set early, so that `unload` frees it if the rest fails
            assert self._encoder is not None  # the loader has called `_take_tokenizer`
            self._writer = ReplyWriter(
                loaded.model,
                self._encoder,
                loaded.end_ids,
                compiled=self._compiled,
                threads=(self._threads,) if self._threads else _thread_counts(loaded),
                cache_budget=lambda: _branch_budget(loaded),
            )
            if self._turbo != "off":
                self._prepare_turbo(loaded.model, self._turbo == "auto", PAUSE_S)
        except BaseException:
            self._encoder = self._template = self._writer = None
            self.unload()
            raise
        return loaded.info

    def unload(self) -> Unloaded | None:
        from tui_chat.engine.loading import loader

        if self._preparation is not None:
            self._preparation.cancel()
            self._preparation = None
        loaded, self._loaded = self._loaded, None
        self._writer = self._encoder = self._template = None
        if loaded is None:
            return None
        return Unloaded(loaded.info.name, loaded.info.precision, loader.free(loaded))

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        if self._writer is None:
            emit(_NO_MODEL)
            return
        self._writer.write(request, emit, cancel)

    def generate_several(
        self, requests: Sequence[GenerateRequest], emit: EmitEach, cancels: Sequence[Event]
    ) -> None:
        if self._writer is None:
            for number in range(len(requests)):
                emit(number, _NO_MODEL)
            return
        self._writer.write_several(requests, emit, cancels)

    def memory_bytes(self) -> int:
        from tui_chat.engine.machine.devices import memory_in_use

        info = self.info
        return memory_in_use(info.device if info is not None else "cpu")

    def models(self) -> list[ModelChoice]:
        from tui_chat.engine.loading.estimate import model_choices
        from tui_chat.engine.machine.devices import resolve_device

        info = self.info
        device = info.device if info is not None else resolve_device("auto")
        current = info.name if info is not None else None
        return model_choices(self._registry, device, current, self._reclaimable(), self._hub)

    def precisions(self, model: str) -> list[PrecisionChoice]:
        from tui_chat.engine.loading.estimate import precision_choices
        from tui_chat.engine.machine.devices import resolve_device

        info = self.info
        spec = self._registry.resolve(model)
        is_current = info is not None and info.name == spec.name
        return precision_choices(
            spec,
            info.device if info is not None else resolve_device(spec.device),
            context=info.context if info is not None and is_current else None,
            current=info.precision if info is not None and is_current else None,
            reclaimable=self._reclaimable(),
            hub=self._hub,
        )

    def _reclaimable(self) -> int:
        """Return the bytes that freeing the loaded model would give back: weights and KV caches."""
        info, writer = self.info, self._writer
        return info.weight_bytes + writer.cache_bytes if info and writer else 0

    def _take_tokenizer(self, tokenizer: Any, plan: LoadPlan) -> None:
        """Publish the tokenizer and template, so that drafts are counted while the weights load."""
        from tui_chat.chat.templates import template_named
        from tui_chat.engine.text.chat_template import AutoTemplate
        from tui_chat.engine.text.tokenizer import HFEncoder

        encoder = HFEncoder(tokenizer)
        name = plan.request.template or "raw"
        template: PromptTemplate = (
            AutoTemplate(tokenizer, encoder) if name == "auto" else template_named(name)
        )
        self._encoder, self._template = encoder, template


def _thread_counts(loaded: LoadedModel) -> tuple[int, ...] | None:
    """Return the numbers of threads to choose from; None if the model is not on the CPU."""
    from tui_chat.engine.machine.devices import thread_counts

    return thread_counts() if loaded.info.device == "cpu" else None


def _branch_budget(loaded: LoadedModel) -> int:
    """Return the bytes that the KV caches of other branches may take.

    It is what the cache of one full context takes, at most a quarter of the free device memory.
    """
    from tui_chat.engine.loading.estimate import full_cache_bytes
    from tui_chat.engine.machine.devices import device_memory

    info, checkpoint = loaded.info, loaded.plan.checkpoint
    if checkpoint is None:
        return 0
    full = full_cache_bytes(checkpoint.directory, info)
    return min(full, device_memory(info.device).free // 4)


def _nobody(event: object) -> None:
    """Ignore an event; the listener until `listen` is called."""
    del event
