"""Errors as the screens show them: with the key in force that does what the hint advises."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.widget import Widget

from tui_chat.actions import action_by_id
from tui_chat.errors import Remedy, TuiChatError
from tui_chat.ui.keys.names import keys_of
from tui_chat.ui.plain_text import notify_plain


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
    return error.worded(place_of(error.remedy, app))


def notify_error(
    node: App[Any] | Widget, error: TuiChatError, timeout: float | None = None
) -> None:
    """Show an error as a warning that goes away by itself.

    Args:
        node: The app or a widget of it.
        error: What failed; the key or command that helps is added.
        timeout: Seconds until it goes away; None for the app's default.
    """
    line = in_screens(error, node.app).one_line
    notify_plain(node, line, severity="warning", timeout=timeout)
