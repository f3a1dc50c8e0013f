"""The events that a session sends to its listeners, and the settings that it starts with."""

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
    """Sent for every engine event; `message_id` is None if it concerns the model, not a reply."""

    message_id: str | None
    event: EngineEvent


@dataclass(frozen=True, slots=True)
class TreeChanged:
    """Sent when messages were added, removed or changed, so that the path must be read again."""


@dataclass(frozen=True, slots=True)
class ChatOpened:
    """Sent when another conversation has become the current one."""


@dataclass(frozen=True, slots=True)
class ParamsChanged:
    """Sent when the sampling parameters, the preset or the system message changed."""


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """Sent when a message failed without any reply text; `take_back` returns its text."""

    reply_id: str
    failure: Failed


@dataclass(frozen=True, slots=True)
class Saved:
    """Sent when saving starts or stops working; see `SaveState`."""

    state: SaveState


@dataclass(frozen=True, slots=True)
class StorageNotice:
    """Sent once for something about the database that the user should know."""

    notice: Notice


SessionEvent = (
    EngineUpdate | TreeChanged | ChatOpened | ParamsChanged | RequestFailed | Saved | StorageNotice
)
Listener = Callable[[SessionEvent], None]
"""Called on any thread; must return quickly."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The settings that a session starts with."""

    load: LoadRequest
    preset: str | None = None
    """The preset to start from; None for the model's own."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Parameter values that replace those of the preset."""
    system: str = ""
    data_use: bool = True
    """Whether new chats may be exported for training."""
