"""The one object every front end talks to: a chat, its parameters, its model and its saving.

`ChatSession` decides what is sent, applies what the engine says, and has it saved. Its parts stand
on each other: `core` (state), `model_control`, `talking`, `editing`, `choosing`, `compacting`,
`sharing`, `chat_session`. Every method returns at once, unless it says that it is not for a UI
loop, and may be called from any thread; what happens later is told to listeners. Refuses to know
how anything is shown.
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
