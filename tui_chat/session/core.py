"""The state of a session: its model, prompt composer, listeners and saving.

`SessionCore` is the base of `ChatSession` and holds what front ends read of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from tui_chat.chat.budget import ContextView
from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.events import Loading, ModelInfo, Stats, TurboState
from tui_chat.chat.notes import with_note
from tui_chat.chat.params import Preset, SamplingParams
from tui_chat.engine.contract.backend import Backend, LoadRequest
from tui_chat.engine.contract.runner import EngineRunner, JobHandle
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.errors import BusyError, ParameterError, TuiChatError
from tui_chat.session.events import (
    EngineUpdate,
    Listener,
    Saved,
    SessionEvent,
    SessionSettings,
    State,
    StorageNotice,
)
from tui_chat.session.reply import Reply, sendable
from tui_chat.storage.save_state import Notice, SaveState

if TYPE_CHECKING:
    from tui_chat.chat.model_size import ModelChoice, PrecisionChoice
    from tui_chat.chat.prompt import Prompt, PromptComposer
    from tui_chat.chat.templates import TokenEncoder
    from tui_chat.storage.saving.writer import TranscriptWriter

log = logging.getLogger(__name__)

DEFAULT_PRESET = "k50"
"""The preset for models that name none."""
DEFAULT_CONTEXT = 2048
DEFAULT_RESERVE = 512


def context_bound(request: LoadRequest, spec: ModelSpec | None) -> int:
    """Return the largest context, in tokens, that a load request can result in.

    Args:
        request: The model to load.
        spec: The registry's entry for the model, if it has one; the model's files can only make the
            context smaller.
    """
    return request.context or (spec.context if spec is not None else None) or DEFAULT_CONTEXT


class SessionCore:
    """The state of a session, and the values that front ends read."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        settings: SessionSettings,
        writer: TranscriptWriter | Callable[[], TranscriptWriter] | None = None,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._make_writer = writer if callable(writer) else None
        self._making_writer = threading.Lock()
        self._known_writer: TranscriptWriter | None = None
        self._runner = EngineRunner(backend)
        backend.listen(lambda event: self._tell(EngineUpdate(None, event)))
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []
        self._notices: list[StorageNotice] = []
        self._unheard: Saved | None = None
        self._replies: dict[str, Reply] = {}
        self._load_job: JobHandle | None = None
        self._load_number = 0
        self._wanted = settings.load
        self._state: State = "empty"
        self._loading: Loading | None = None
        self._composer: PromptComposer | None = None
        self._path: tuple[Conversation, int, list[Message], list[Message]] | None = None
        self._growing_note: Message | None = None
        self._last_stats: Stats | None = None
        self._data_use = settings.data_use
        self._conversation = self._empty_chat(settings.system)
        self._overrides = dict(settings.overrides)
        self._chosen_preset = settings.preset
        self._preset = self._preset_for(settings.load.model)
        self._params = self.preset_values(self._preset).with_values(self._overrides)
        if writer is not None and not callable(writer):
            self._save_with(writer)

    # For front ends

    @property
    def conversation(self) -> Conversation:
        """The current chat.

        The engine thread changes it while `is_busy`; read it through `messages` and `message` then.
        """
        return self._conversation

    @property
    def params(self) -> SamplingParams:
        """The parameters in force: as chosen, with `max_new_tokens` limited to the context."""
        return self._params.within(self._limits()[0])

    @property
    def preset(self) -> str:
        """The name of the preset that the parameters are based on."""
        return self._preset

    @property
    def presets(self) -> Mapping[str, Preset]:
        """Every preset by name: built in, from the project's models.toml and from the user's."""
        return self._registry.presets

    @property
    def state(self) -> State:
        """The engine's current activity."""
        return self._state

    @property
    def loading(self) -> Loading | None:
        """The newest step of loading; None while no model is loading."""
        return self._loading

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model; None if there is none."""
        return self._backend.info

    @property
    def turbo(self) -> TurboState:
        """The state of the loaded model's compiled decode path."""
        return self._backend.turbo

    @property
    def encoder(self) -> TokenEncoder | None:
        """The tokenizer of the loaded model; None until it has been read."""
        return self._backend.encoder

    @property
    def wanted(self) -> LoadRequest:
        """The request for the model that is loaded or loading."""
        return self._wanted

    @property
    def is_busy(self) -> bool:
        """Whether the engine is writing a reply or a note, or a reply waits in the queue."""
        return bool(self._replies) or self._growing_note is not None

    @property
    def last_stats(self) -> Stats | None:
        """The statistics of the last reply in this run; None before the first."""
        return self._last_stats

    @property
    def save_state(self) -> SaveState | None:
        """Whether saving works; None if the user chose not to save."""
        if self._known_writer is not None:
            return self._known_writer.state
        return SaveState(True, 0) if self._make_writer is not None else None

    def memory_bytes(self) -> int:
        """Return the device memory in use, in bytes."""
        return self._backend.memory_bytes()

    def messages(self) -> list[Message]:
        """Return the active path with its note, oldest first.

        A note that the model is writing appears at its future place. The same list object is
        returned until the chat changes.
        """
        return self._paths()[0]

    def _paths(self) -> tuple[list[Message], list[Message]]:
        """Return the active path and the sendable part of it, cached until the chat changes."""
        with self._lock:
            conversation = self._conversation
            kept = self._path
            if kept is None or kept[0] is not conversation or kept[1] != conversation.version:
                path = with_note(conversation.path())
                shown = self._with_growing_note(path)
                kept = (conversation, conversation.version, shown, sendable(path))
                self._path = kept
            return kept[2], kept[3]

    def _with_growing_note(self, path: list[Message]) -> list[Message]:
        """Return a path with the unfinished note at its place."""
        note = self._growing_note
        if note is None or note.note_on not in {message.id for message in path}:
            return path
        shown = [message for message in path if message.id != note.id]
        index = next(i for i, message in enumerate(shown) if message.id == note.note_on)
        return [*shown[: index + 1], note, *shown[index + 1 :]]

    def is_here(self, message_id: str) -> bool:
        """Return whether the current chat has a message, or shows a note, with that id."""
        with self._lock:
            return message_id in self._conversation or any(
                m.id == message_id for m in self._paths()[0]
            )

    def _note(self, message_id: str) -> Message:
        """Return the note with that id from the active path.

        Raises:
            KeyError: If the path shows no such note.
        """
        for message in self._paths()[0]:
            if message.is_note and message.id == message_id:
                return message
        raise KeyError(message_id)

    def message(self, message_id: str) -> Message:
        """Return a message or note of the current chat, with the text that has arrived so far.

        Raises:
            KeyError: If there is none with that id.
        """
        with self._lock:
            if message_id not in self._conversation:
                return self._note(message_id)
            reply = self._replies.get(message_id)
            if reply is not None and reply.conversation is self._conversation and reply.has_begun:
                reply.apply()
            return self._conversation[message_id]

    def versions(self, message_id: str) -> tuple[int, int]:
        """Return a message's version number, counted from 1, and the number of versions."""
        with self._lock:
            if message_id not in self._conversation:
                return 1, 1  # a note
            ids = [m.id for m in self._conversation.siblings(message_id)]
            return ids.index(message_id) + 1 if message_id in ids else 1, max(1, len(ids))

    def context_view(self, draft: str) -> ContextView:
        """Return how the context would be used if the draft were sent now. Not for a UI loop."""
        composer = self._current_composer()
        if composer is None:
            return ContextView(context=self._limits()[0])
        return composer.view(self._paths()[1], self._conversation.system, draft)

    def prompt(self) -> Prompt:
        """Return the prompt that would be sent for the chat as it is. Not for a UI loop.

        Raises:
            ContextError: If there is nothing to send, or the newest turn does not fit.
            BusyError: If no tokenizer is loaded yet.
        """
        composer = self._current_composer()
        if composer is None:
            raise BusyError("The model is not loaded yet", "", "Wait until it is")
        return composer.compose(self._paths()[1], self._conversation.system)

    def models(self) -> list[ModelChoice]:
        """Return the rows of the model picker. Reads files; not for a UI loop."""
        return self._backend.models()

    def precisions(self, model: str | None = None) -> list[PrecisionChoice]:
        """Return the rows of the precision picker. Reads files; not for a UI loop."""
        return self._backend.precisions(model or self._wanted.model)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event, and return a function that ends the subscription.

        A new listener first receives the database notices so far. If saving failed before anyone
        listened, the first listener also receives that failure, followed by the present state of
        saving.
        """
        with self._lock:
            self._listeners.append(listener)
            for notice in self._notices:
                listener(notice)
            if self._unheard is not None and self._writer is not None:
                listener(self._unheard)
                listener(Saved(self._writer.state))
                self._unheard = None
        return lambda: self._listeners.remove(listener)

    def preset_values(self, name: str) -> SamplingParams:
        """Return the complete parameters of a preset.

        Raises:
            ParameterError: If no preset has that name.
        """
        presets = self.presets
        if name not in presets:
            raise ParameterError(
                f"There is no preset {name!r}", "", "Known: " + ", ".join(sorted(presets))
            )
        return presets[name].params()

    def stop_all(self) -> None:
        """Stop the running reply and keep its text; waiting messages stay in the queue."""
        with self._lock:
            jobs = [r.job for r in self._replies.values() if r.has_begun and r.job is not None]
        for job in jobs:
            job.cancel()

    def begin_saving(self) -> None:
        """Open the database now, instead of at the first change.

        Does nothing if the user chose not to save. It may import modules, so do not call it on a UI
        loop.
        """
        if self._make_writer is not None and self._known_writer is None:
            with self._making_writer:
                if self._make_writer is not None and self._known_writer is None:
                    self._save_with(self._make_writer())

    # For the other parts of the session

    def _on_save_state(self, state: SaveState) -> None:
        """Tell listeners about saving; without one, keep a failure for the first listener."""
        if not self._listeners:
            with self._lock:  # and check again, as a listener may have subscribed meanwhile
                if not self._listeners:
                    if not state.ok:
                        self._unheard = Saved(state)
                    return
        self._tell(Saved(state))

    def _empty_chat(self, system: str, model: str = "") -> Conversation:
        """Return a new chat with the session's default for data use."""
        chat = Conversation(system=system, model=model)
        chat.details = replace(chat.details, allow_data_use=self._data_use)
        return chat

    @property
    def _writer(self) -> TranscriptWriter | None:
        """The writer, made on first use; None if the user chose not to save."""
        self.begin_saving()
        return self._known_writer

    def _save_with(self, writer: TranscriptWriter) -> None:
        writer.listen(self._on_save_state, self._on_notice)
        self._known_writer = writer
        writer.start()

    def _close_writer(self, timeout: float) -> None:
        with self._making_writer:
            self._make_writer = None
        if self._known_writer is not None:
            self._known_writer.close(timeout)

    def _on_notice(self, notice: Notice) -> None:
        """Tell listeners, and save the open chat again if the database was replaced."""
        with self._lock:
            self._notices.append(StorageNotice(notice))
            self._tell(self._notices[-1])
        if notice.kind in ("damaged", "replaced") and self._writer is not None:
            with self._lock:
                if len(self._conversation):
                    self._writer.save_conversation(self._conversation)

    def _requeue_waiting(self) -> None:
        """Queue the waiting replies again; `Talking` implements this."""

    def _preset_for(self, model: str) -> str:
        """Return the name of the preset that a model starts with."""
        if self._chosen_preset is not None:
            return self._chosen_preset
        spec = self._spec(model)
        name = spec.preset if spec is not None and spec.preset else DEFAULT_PRESET
        return name if name in self.presets else DEFAULT_PRESET

    def _spec(self, model: str) -> ModelSpec | None:
        try:
            return self._registry.resolve(model)
        except TuiChatError:
            return None

    def _current_composer(self) -> PromptComposer | None:
        with self._lock:
            encoder, template = self._backend.encoder, self._backend.template
            if encoder is None or template is None:
                return None
            from tui_chat.chat.prompt import PromptComposer  # not needed before the first frame

            context, reserve = self._limits()
            current = self._composer
            if (
                current is None
                or current.encoder is not encoder
                or current.template is not template
                or (current.context, current.reserve) != (context, reserve)
            ):
                current = PromptComposer(template, encoder, context, reserve)
                self._composer = current
            return current

    def _limits(self) -> tuple[int, int]:
        """Return context and reserve in tokens, from the loaded model or else from the registry.

        Until a model's files have been read, its context can turn out smaller, but never larger.
        """
        info = self._backend.info
        if info is not None:
            return info.context, info.reserve
        spec = self._spec(self._wanted.model)
        context = context_bound(self._wanted, spec)
        reserve = self._wanted.reserve
        if reserve is None:
            reserve = spec.reserve if spec is not None else None
        return context, DEFAULT_RESERVE if reserve is None else reserve

    def _save(self, conversation: Conversation, message: Message) -> Future[None] | None:
        if self._writer is None:
            return None
        return self._writer.save_message(conversation.id, message)

    def _save_header(self, conversation: Conversation) -> None:
        if len(conversation) and self._writer is not None:
            self._writer.save_header(conversation)

    def _saving_together(self) -> AbstractContextManager[None]:
        """Return a context manager that commits everything saved inside it in one transaction."""
        return nullcontext() if self._writer is None else self._writer.together()

    def _tell(self, event: SessionEvent) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed")
