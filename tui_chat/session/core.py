"""What every part of a session stands on: its state, its listeners, its prompts, its saving."""

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
"""For models that name no preset of their own."""
DEFAULT_CONTEXT = 2048
DEFAULT_RESERVE = 512


def context_bound(request: LoadRequest, spec: ModelSpec | None) -> int:
    """The largest context that a request can end up with, in tokens.

    Args:
        request: What is to be loaded.
        spec: What is known of the model by its name; its files can only make the context smaller.
    """
    return request.context or (spec.context if spec is not None else None) or DEFAULT_CONTEXT


class SessionCore:
    """The state of a session, and what front ends read of it."""

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

    # What front ends read

    @property
    def conversation(self) -> Conversation:
        """The current chat. Read it under `reading()` if the engine may be writing."""
        return self._conversation

    @property
    def params(self) -> SamplingParams:
        """The parameters in force: as chosen, with no reply longer than the context."""
        return self._params.within(self._limits()[0])

    @property
    def preset(self) -> str:
        """The name of the preset that the parameters started from."""
        return self._preset

    @property
    def presets(self) -> Mapping[str, Preset]:
        """Every preset by name: built in, the project's and the user's."""
        return self._registry.presets

    @property
    def state(self) -> State:
        """What the engine is doing."""
        return self._state

    @property
    def loading(self) -> Loading | None:
        """The newest step of loading, while loading."""
        return self._loading

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model."""
        return self._backend.info

    @property
    def turbo(self) -> TurboState:
        """How far the compiled path of the loaded model is."""
        return self._backend.turbo

    @property
    def encoder(self) -> TokenEncoder | None:
        """The tokenizer of the loaded model; None until it is read."""
        return self._backend.encoder

    @property
    def wanted(self) -> LoadRequest:
        """The model that is loaded or being loaded."""
        return self._wanted

    @property
    def is_busy(self) -> bool:
        """Whether a reply or a note is being written, or a reply waits to be."""
        return bool(self._replies) or self._growing_note is not None

    @property
    def last_stats(self) -> Stats | None:
        """The figures of the last reply of this run."""
        return self._last_stats

    @property
    def save_state(self) -> SaveState | None:
        """Whether saving works; None if nothing is saved by choice."""
        if self._known_writer is not None:
            return self._known_writer.state
        return SaveState(True, 0) if self._make_writer is not None else None

    def memory_bytes(self) -> int:
        """Device memory in use."""
        return self._backend.memory_bytes()

    def messages(self) -> list[Message]:
        """The active path with its note, oldest first. The same list until the chat changes.

        A note that is being written stands where it will be.
        """
        return self._paths()[0]

    def _paths(self) -> tuple[list[Message], list[Message]]:
        """The active path, and the part of it that can be sent; kept until the chat changes."""
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
        """A path with the note that is being written, at its place."""
        note = self._growing_note
        if note is None or note.note_on not in {message.id for message in path}:
            return path
        shown = [message for message in path if message.id != note.id]
        index = next(i for i, message in enumerate(shown) if message.id == note.note_on)
        return [*shown[: index + 1], note, *shown[index + 1 :]]

    def is_here(self, message_id: str) -> bool:
        """Whether the current chat has a message, or shows a note of that id."""
        with self._lock:
            return message_id in self._conversation or any(
                m.id == message_id for m in self._paths()[0]
            )

    def _note(self, message_id: str) -> Message:
        """The note of that id, as it is shown.

        Raises:
            KeyError: If none is.
        """
        for message in self._paths()[0]:
            if message.is_note and message.id == message_id:
                return message
        raise KeyError(message_id)

    def message(self, message_id: str) -> Message:
        """A message of the current chat, or its note, with the text that has arrived so far.

        Raises:
            KeyError: If there is none.
        """
        with self._lock:
            if message_id not in self._conversation:
                return self._note(message_id)
            reply = self._replies.get(message_id)
            if reply is not None and reply.conversation is self._conversation and reply.has_begun:
                reply.apply()
            return self._conversation[message_id]

    def versions(self, message_id: str) -> tuple[int, int]:
        """Which version of how many a message is, counted from 1."""
        with self._lock:
            if message_id not in self._conversation:
                return 1, 1  # a note
            ids = [m.id for m in self._conversation.siblings(message_id)]
            return ids.index(message_id) + 1 if message_id in ids else 1, max(1, len(ids))

    def context_view(self, draft: str) -> ContextView:
        """How the context would be used if the draft were sent now. Not for a UI loop."""
        composer = self._current_composer()
        if composer is None:
            return ContextView(context=self._limits()[0])
        return composer.view(self._paths()[1], self._conversation.system, draft)

    def prompt(self) -> Prompt:
        """What would be sent for the chat as it is. Not for a UI loop.

        Raises:
            ContextError: If nothing can be sent.
            BusyError: If no tokenizer is loaded yet.
        """
        composer = self._current_composer()
        if composer is None:
            raise BusyError("The model is not loaded yet", "", "Wait until it is")
        return composer.compose(self._paths()[1], self._conversation.system)

    def models(self) -> list[ModelChoice]:
        """The rows of the model picker. Reads files; not for a UI loop."""
        return self._backend.models()

    def precisions(self, model: str | None = None) -> list[PrecisionChoice]:
        """The rows of the precision picker. Reads files; not for a UI loop."""
        return self._backend.precisions(model or self._wanted.model)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event; returns what ends that.

        What there was to say about the database before is said again. That saving failed before
        anybody listened is said to the first listener, and how it is now.
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
        """The complete parameters of a preset.

        Raises:
            ParameterError: If there is none of that name.
        """
        presets = self.presets
        if name not in presets:
            raise ParameterError(
                f"There is no preset {name!r}", "", "Known: " + ", ".join(sorted(presets))
            )
        return presets[name].params()

    def stop_all(self) -> None:
        """Stop the running reply, keeping its text; messages that wait go on waiting."""
        with self._lock:
            jobs = [r.job for r in self._replies.values() if r.has_begun and r.job is not None]
        for job in jobs:
            job.cancel()

    def begin_saving(self) -> None:
        """Open the database if chats are saved; the first change does it too.

        What that needs may have to be imported, so call it beside a UI loop.
        """
        if self._make_writer is not None and self._known_writer is None:
            with self._making_writer:
                if self._make_writer is not None and self._known_writer is None:
                    self._save_with(self._make_writer())

    # Inside

    def _on_save_state(self, state: SaveState) -> None:
        """Tell the user; a failure that nobody listens to yet waits for somebody who does."""
        if not self._listeners:
            with self._lock:
                if not self._listeners:
                    if not state.ok:
                        self._unheard = Saved(state)
                    return
        self._tell(Saved(state))

    def _empty_chat(self, system: str, model: str = "") -> Conversation:
        """A new chat, as the settings want it."""
        chat = Conversation(system=system, model=model)
        chat.details = replace(chat.details, allow_data_use=self._data_use)
        return chat

    @property
    def _writer(self) -> TranscriptWriter | None:
        """What saves, made if it was not needed before; None if nothing is saved by choice."""
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
        """Tell the user, and save the open chat again if the database was replaced."""
        with self._lock:
            self._notices.append(StorageNotice(notice))
            self._tell(self._notices[-1])
        if notice.kind in ("damaged", "replaced") and self._writer is not None:
            with self._lock:
                if len(self._conversation):
                    self._writer.save_conversation(self._conversation)

    def _requeue_waiting(self) -> None:
        """Queue what waits again; `Talking` knows how."""

    def _preset_for(self, model: str) -> str:
        """The name of the preset that a model starts with."""
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
        """Context and reserve, in tokens: of the loaded model, else as the registry says.

        Until the files of a model are read its context can turn out smaller, never larger.
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
        """Have what is saved within on the disk at once, or not at all."""
        return nullcontext() if self._writer is None else self._writer.together()

    def _tell(self, event: SessionEvent) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed")
