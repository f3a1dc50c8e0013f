"""Build a session from the settings: registry, writer, backend, and the chat to resume."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from tui_chat.chat.conversation import Conversation
from tui_chat.chat.events import ModelInfo
from tui_chat.chat.params import find_spec
from tui_chat.cli.file_problems import one_for_each_file, require_home
from tui_chat.cli.output import complain
from tui_chat.cli.reply_length import within_context
from tui_chat.config import paths
from tui_chat.config.layers import LoadedSettings
from tui_chat.config.settings import Settings
from tui_chat.engine.contract.backend import Backend, LoadRequest
from tui_chat.engine.files.registry import Registry, load_registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.errors import StoreError, TranscriptNotFoundError, TuiChatError, UsageError
from tui_chat.safe_text import safe_line
from tui_chat.session import ChatSession, SessionSettings, context_bound
from tui_chat.terminal.shell_remedies import place_of, shell_line

if TYPE_CHECKING:
    from tui_chat.storage.saving.writer import TranscriptWriter

_OPEN_S = 5.0
"""Longest wait, in seconds, for the background thread to open the database."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that has not been started, and what to tell its user first."""

    session: ChatSession
    notices: tuple[str, ...]
    """Problems in settings and models, as lines; the session reports its own separately."""
    writer: Callable[[], TranscriptWriter] | None
    """Returns the writer, made on the first call; None if the user chose not to save."""
    check_context: Callable[[ModelInfo], None]
    """Reports settings that exceed the context of the loaded model."""

    def saving_notices(self) -> list[str]:
        """Open the database, wait for it, and return notices about it."""
        if self.writer is None:
            return []
        self.session.begin_saving()
        writer = self.writer()
        writer.wait_ready(_OPEN_S)
        state = writer.state
        notices = [notice.worded(place_of(notice.remedy)) for notice in writer.notices]
        is_told = any(notice.kind == "read-only" for notice in writer.notices)
        if not state.ok and not is_told and paths.home_problem() is None:
            reason = state.detail.removeprefix("Nothing is saved: ")
            notices.append(f"Chats are not saved: {reason}.")
        return notices


def open_session(
    loaded: LoadedSettings, resume: str | None = None, is_lasting: bool = False
) -> Opened:
    """Build the session that the settings describe.

    Args:
        loaded: The settings.
        resume: The saved chat to resume: its id, a prefix of its id, or `last`.
        is_lasting: Whether the session lasts long enough to compile a step of the model.

    Raises:
        UsageError: If a typed preset does not exist, or if it or a typed `max_new_tokens` exceeds
            the context.
        TuiChatError: If the chat to resume cannot be read.
    """
    from tui_chat.engine.local import LocalBackend, TurboUse

    registry = load_registry()
    conversation = _load_to_go_on(resume) if resume is not None else None
    loaded, problems = usable_settings(loaded, registry, conversation)
    settings = session_settings(loaded, registry, conversation)
    bound = _context_bound(settings.load, registry)
    writer = cache(_new_writer) if loaded.settings.save else None
    turbo: TurboUse = "auto" if is_lasting else "kept"
    backend: Backend = LocalBackend(registry, turbo=turbo if loaded.settings.turbo else "off")
    session = ChatSession(backend, registry, settings, writer)
    if conversation is not None:
        session.open_chat(conversation)
        if "system" in loaded.sources and loaded.sources["system"] == "flag":
            session.set_system(loaded.settings.system)

    def check_context(info: ModelInfo) -> None:
        if info.context < bound:
            preset = registry.presets.get(session.preset)
            for problem in within_context(loaded, preset, info.context)[1]:
                complain(shell_line(problem))

    notices = tuple(one_for_each_file(problems))
    return Opened(session, notices, writer, check_context)


def _new_writer() -> TranscriptWriter:
    """Return a new writer. Its imports, such as SQLite, can wait until after the first frame."""
    from tui_chat.storage.saving.writer import TranscriptWriter

    return TranscriptWriter(paths.database_file())


def usable_settings(
    loaded: LoadedSettings, registry: Registry, conversation: Conversation | None = None
) -> tuple[LoadedSettings, list[TuiChatError]]:
    """Return the settings without values that these models cannot use, and all problems.

    Args:
        loaded: The settings as read.
        registry: The known models and presets.
        conversation: The saved chat to resume, which brings its own model.

    Raises:
        UsageError: If an unusable value was typed.
    """
    problems: list[TuiChatError] = [*loaded.problems, *registry.problems]
    problems += _missing_model(loaded, registry, conversation)
    loaded = _with_known_preset(loaded, registry, problems)
    request = session_settings(loaded, registry, conversation).load
    spec = _spec(request, registry)
    preset = loaded.settings.preset or (spec.preset if spec is not None else None) or ""
    loaded, too_long = within_context(
        loaded, registry.presets.get(preset), context_bound(request, spec)
    )
    return loaded, [*problems, *too_long]


def _context_bound(request: LoadRequest, registry: Registry) -> int:
    return context_bound(request, _spec(request, registry))


def _spec(request: LoadRequest, registry: Registry) -> ModelSpec | None:
    try:
        return registry.resolve(request.model)
    except TuiChatError:
        return None  # loading the model reports it


def load_request(settings: Settings, registry: Registry) -> LoadRequest:
    """Return the request for the model that the settings name."""
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
    """Return the initial settings of the session.

    A resumed chat keeps its own model, unless an option or an environment variable names one.
    """
    settings = loaded.settings
    request = load_request(settings, registry)
    if conversation is not None and _goes_on_with_its_model(loaded, conversation):
        try:
            registry.resolve(conversation.model)
        except TuiChatError:
            pass  # `usable_settings` reports it
        else:
            request = replace(request, model=conversation.model)
    preset, overrides = settings.preset, dict(settings.parameters)
    if conversation is not None:
        preset, overrides = _gone_on_with(loaded, registry, conversation)
    return SessionSettings(
        load=request, preset=preset, overrides=overrides, system=settings.system,
        data_use=settings.data_use,
    )  # fmt: skip


def _goes_on_with_its_model(loaded: LoadedSettings, conversation: Conversation) -> bool:
    """Return whether a resumed chat keeps its own model, because no other one was typed."""
    is_named = loaded.sources.get("model", "config.toml") != "config.toml"
    return bool(conversation.model) and not is_named


def _missing_model(
    loaded: LoadedSettings, registry: Registry, conversation: Conversation | None
) -> list[TuiChatError]:
    """Return a problem if the model of a resumed chat no longer exists."""
    if conversation is None or not _goes_on_with_its_model(loaded, conversation):
        return []
    try:
        registry.resolve(conversation.model)
    except TuiChatError as error:
        used = load_request(loaded.settings, registry).model
        return [
            TuiChatError(
                f"The model of this chat, {safe_line(conversation.model, 80)}, is not there any "
                "more",
                error.detail,
                f"{safe_line(used, 80)} is used; name another one with --model, or press F3",
            )
        ]
    return []


def _gone_on_with(
    loaded: LoadedSettings, registry: Registry, conversation: Conversation
) -> tuple[str | None, dict[str, Any]]:
    """Return the preset and parameters of a resumed chat; typed ones take precedence."""
    settings, sources = loaded.settings, loaded.sources
    kept = str(conversation.working.get("preset"))
    if sources.get("preset", "config.toml") != "config.toml" or kept not in registry.presets:
        return settings.preset, dict(settings.parameters)
    values = conversation.working.get("values")
    overrides: dict[str, Any] = {}
    for name, value in (values if isinstance(values, dict) else {}).items():
        with suppress(TuiChatError, TypeError, ValueError):
            overrides[name] = find_spec(name).check(value)
    typed = {
        name: value
        for name, value in settings.parameters.items()
        if sources.get(f"parameters.{name}", "config.toml") != "config.toml"
    }
    return kept, overrides | typed


def load_chat(name: str) -> Conversation:
    """Read a saved chat by its id, a prefix of its id, or `last`.

    Raises:
        TranscriptNotFoundError: If no chat matches.
        StoreError: If several match, or the database cannot be read.
        ConfigError: If the folder of `TUI_CHAT_HOME` cannot be used.
    """
    require_home()
    from tui_chat.storage.database.reading import read_transcripts

    with read_transcripts(paths.database_file()) as reader:
        return reader.load(reader.find(name))


def _load_to_go_on(name: str) -> Conversation:
    """Read a chat that will be written to, after repairing a damaged database if necessary."""
    try:
        return load_chat(name)
    except TranscriptNotFoundError:
        raise
    except StoreError:
        from tui_chat.storage.database.writing import TranscriptStore

        with TranscriptStore(paths.database_file()) as store:
            return store.load(store.find(name))


def _with_known_preset(
    loaded: LoadedSettings, registry: Registry, problems: list[TuiChatError]
) -> LoadedSettings:
    """Return the settings without a preset that does not exist.

    Raises:
        UsageError: If that preset was typed.
    """
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
