"""Textual messages that carry values from outside the widgets to the screens.

Owns nothing but their shape; what a widget says of itself is declared in the widget.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from tui_chat.chat.budget import ContextView
from tui_chat.session import SessionEvent


@dataclass
class EngineBatch(Message):
    """What the session has said since the last batch, in order."""

    events: tuple[SessionEvent, ...]


@dataclass
class ContextCounted(Message):
    """How the context would be used if the draft were sent now."""

    draft: str
    """The text that was counted."""
    view: ContextView
    pushed_turns: int
    """How many of the dropped turns this draft pushes out; 0 where they are out anyway."""
