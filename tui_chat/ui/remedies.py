"""Errors as the screens show them: with the key in force that does what the hint advises."""

from __future__ import annotations

from typing import Any

from textual.app import App

from tui_chat.actions import action_by_id
from tui_chat.errors import Remedy, TuiChatError
from tui_chat.ui.keys.names import keys_of


def place_of(remedy: Remedy | None, app: App[Any]) -> str:
    """Return the keys of a remedy's action, or its slash command if it has no key."""
    if remedy is None:
        return ""
    action = action_by_id(remedy)
    keys = keys_of(app, action)
    # a letter is a key in the transcript alone, and would be typed into the prompt
    return keys if keys and action.scope == "app" else action.command or keys


def in_screens(error: TuiChatError, app: App[Any]) -> TuiChatError:
    """Return an error whose hint also names the key or command that does what it advises."""
    return error.worded(place_of(error.remedy, app)) if error.remedy is not None else error
