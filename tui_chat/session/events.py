"""What a session tells its listeners, and how it is told to begin: plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tui_chat.chat.events import EngineEvent, Failed
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.storage.save_state import Notice, SaveState

State = Literal["empty", "loading", "ready", "prefill", "decoding"]


@dataclass(frozen=True, slots=True)
class EngineUpdate:
    """The engine said something; `message_id` is the reply it belongs to, None while loading."""

    message_id: str | None
    event: EngineEvent


@dataclass(frozen=True, slots=True)
class TreeChanged:
    """Messages came, went or changed; read the path again."""


@dataclass(frozen=True, slots=True)
class ChatOpened:
    """Another conversation is the current one now."""


@dataclass(frozen=True, slots=True)
class ParamsChanged:
    """The sampling parameters, the preset or the system message are different now."""


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A message got no answer at all; `take_back` gives its text back."""

    reply_id: str
    failure: Failed


@dataclass(frozen=True, slots=True)
class Saved:
    """Saving works, or does not; see `SaveState`."""

    state: SaveState


@dataclass(frozen=True, slots=True)
class StorageNotice:
    """The user should know something about the database, once."""

    notice: Notice


SessionEvent = (
    EngineUpdate | TreeChanged | ChatOpened | ParamsChanged | RequestFailed | Saved | StorageNotice
)
Listener = Callable[[SessionEvent], None]
"""Called on any thread; must be quick."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How a session begins."""

    load: LoadRequest
    preset: str | None = None
    """None takes the preset of the model."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Parameter values laid over the preset."""
    system: str = ""
    data_use: bool = True
    """Whether new chats may be exported for training."""
