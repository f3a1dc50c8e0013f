"""From settings to a session: registry, database, backend, and the chat to go on with."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from tui_chat import paths
from tui_chat.chat.conversation import Conversation
from tui_chat.config import LoadedSettings, Settings
from tui_chat.engine.backend import Backend, LoadRequest
from tui_chat.engine.registry import Registry, load_registry
from tui_chat.errors import StoreError, TranscriptNotFoundError, TuiChatError, UsageError
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.storage.reading import read_transcripts
from tui_chat.storage.transcripts import TranscriptStore
from tui_chat.storage.writer import TranscriptWriter

_OPEN_S = 5.0
"""How long to wait for the database before going on; it is opened in the background."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that has not been started, and what its user should be told first."""

    session: ChatSession
    notices: tuple[str, ...]
    """What is wrong with settings and models; what the session says itself is not in it."""
    writer: TranscriptWriter | None

    def saving_notices(self) -> list[str]:
        """What there is to say about the database, once it is open. Waits for that."""
        if self.writer is None:
            return []
        self.writer.wait_ready(_OPEN_S)
        state = self.writer.state
        notices = [notice.text for notice in self.writer.notices]
        if not state.ok:
            reason = state.detail.removeprefix("Nothing is saved: ")
            notices.append(f"Chats are not saved: {reason}.")
        return notices


def open_session(loaded: LoadedSettings, resume: str | None = None) -> Opened:
    """Build the session that the settings describe.

    Args:
        loaded: The settings.
        resume: A saved chat to go on with, by its id, the beginning of it, or `last`.

    Raises:
        UsageError: If a typed preset does not exist.
        TuiChatError: If the chat to go on with cannot be read.
    """
    from tui_chat.engine.local import LocalBackend

    registry = load_registry()
    problems: list[TuiChatError] = [*loaded.problems, *registry.problems]
    loaded = _with_known_preset(loaded, registry, problems)
    conversation = _load_to_go_on(resume) if resume is not None else None
    settings = session_settings(loaded, registry, conversation)
    writer = TranscriptWriter(paths.database_file()) if loaded.settings.save else None
    backend: Backend = LocalBackend(registry)
    session = ChatSession(backend, registry, settings, writer)
    if conversation is not None:
        session.open_chat(conversation)
        if "system" in loaded.sources and loaded.sources["system"] == "flag":
            session.set_system(loaded.settings.system)
    return Opened(session, tuple(problem.one_line for problem in problems), writer)


def load_request(settings: Settings, registry: Registry) -> LoadRequest:
    """Which model the settings ask for."""
    return LoadRequest(
        model=settings.model or registry.default,
        precision=settings.precision,
        device=settings.device,
        template=settings.template,
        context=settings.context,
        reserve=settings.reserve,
    )


def session_settings(
    loaded: LoadedSettings, registry: Registry, conversation: Conversation | None = None
) -> SessionSettings:
    """How the session begins. A chat goes on with its own model unless another one is named."""
    settings = loaded.settings
    request = load_request(settings, registry)
    is_named = loaded.sources.get("model", "config.toml") != "config.toml"
    if conversation is not None and conversation.model and not is_named:
        try:
            registry.resolve(conversation.model)
        except TuiChatError:
            pass  # the chat's model is not known any more
        else:
            request = replace(request, model=conversation.model)
    return SessionSettings(
        load=request,
        preset=settings.preset,
        overrides=settings.parameters,
        system=settings.system,
    )


def load_chat(name: str) -> Conversation:
    """Read a saved chat by its id, the beginning of its id, or `last`.

    Raises:
        TranscriptNotFoundError: If there is none.
        StoreError: If several match, or the database cannot be read.
    """
    with read_transcripts(paths.database_file()) as reader:
        return reader.load(reader.find(name))


def _load_to_go_on(name: str) -> Conversation:
    """The same for a chat that will be written to, so a damaged database is repaired first."""
    try:
        return load_chat(name)
    except TranscriptNotFoundError:
        raise
    except StoreError:
        with TranscriptStore(paths.database_file()) as store:
            return store.load(store.find(name))


def _with_known_preset(
    loaded: LoadedSettings, registry: Registry, problems: list[TuiChatError]
) -> LoadedSettings:
    """The settings without a preset that does not exist."""
    name = loaded.settings.preset
    if name is None or name in registry.presets:
        return loaded
    near = difflib.get_close_matches(name, registry.presets, n=1)
    hint = f"Did you mean {near[0]}?" if near else "Known: " + ", ".join(registry.presets)
    source = loaded.sources.get("preset", "")
    error = UsageError(f"There is no preset {name!r}", "", hint)
    if source == "flag":
        raise error
    problems.append(UsageError(error.title, f"It is set in {source}", hint))
    return replace(loaded, settings=replace(loaded.settings, preset=None))
