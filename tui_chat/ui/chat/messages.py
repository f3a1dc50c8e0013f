"""Textual messages that carry session events and token counts to the screens.

They do not originate in a widget. Messages that a widget posts about itself are declared in the
widget's class.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from tui_chat.chat.budget import ContextView
from tui_chat.session import SessionEvent


@dataclass
class EngineBatch(Message):
    """The session events since the last batch, in order."""

    events: tuple[SessionEvent, ...]


@dataclass
class ContextCounted(Message):
    """The use of the context if the draft were sent now."""

    draft: str
    """The text that was counted."""
    view: ContextView
    pushed_turns: int
    """How many more turns are dropped with this draft than without it; 0 or more."""
