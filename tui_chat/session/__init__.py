"""A chat session: the chat, its sampling parameters, its model and its saving, without a UI.

Front ends use `ChatSession`, which decides what is sent, applies the engine's events and saves the
result. It is built as a chain of classes, each extending the one before: `core` (state),
`model_control`, `talking`, `editing`, `choosing`, `compacting`, `sharing`, `chat_session`. Methods
may be called from any thread. They return at once, unless their docstring says "not for a UI loop";
later results reach the front end through listeners.
"""

from tui_chat.session.chat_session import ChatSession
from tui_chat.session.core import context_bound
from tui_chat.session.events import (
    ChatOpened,
    EngineUpdate,
    Listener,
    ParamsChanged,
    RequestFailed,
    Saved,
    SessionEvent,
    SessionSettings,
    State,
    StorageNotice,
    TreeChanged,
)

__all__ = [
    "ChatOpened",
    "ChatSession",
    "EngineUpdate",
    "Listener",
    "ParamsChanged",
    "RequestFailed",
    "Saved",
    "SessionEvent",
    "SessionSettings",
    "State",
    "StorageNotice",
    "TreeChanged",
    "context_bound",
]
