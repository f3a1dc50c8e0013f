"""Errors in the words of the screens: what to do, and the key that is in force for it."""

from __future__ import annotations

from typing import Any

from textual.app import App

from tui_chat.actions import action_by_id
from tui_chat.errors import Remedy, TuiChatError, remedied
from tui_chat.ui.keys.names import keys_of


def place_of(remedy: Remedy | None, app: App[Any]) -> str:
    """The key of a remedy, or its slash command where it has none."""
    if remedy is None:
        return ""
    action = action_by_id(remedy)
    return keys_of(app, action) or action.command


def in_screens(error: TuiChatError, app: App[Any]) -> TuiChatError:
    """The same error, its hint with the key that does what it advises."""
    if error.remedy is None:
        return error
    return TuiChatError(
        error.title, error.detail, remedied(error.hint, place_of(error.remedy, app))
    )
