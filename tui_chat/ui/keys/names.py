"""Names of the keys in force for an action, for help, menus and the palette.

Use these functions to show a key: a user may have changed the keys that an action declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from textual.app import App
from textual.keys import format_key

from tui_chat.actions import Action, describe_key

UNBOUND = "unbound+"
"""Prefix of the key given to an action that the user left without one; no keyboard has it."""


@runtime_checkable
class HasKeymap(Protocol):
    """An app that exposes the keymap it has set; Textual keeps its own private."""

    keymap: Mapping[str, str]
    """Keys by action id, separated by commas."""


def pressed_keys(app: App[Any], action: Action) -> tuple[str, ...]:
    """Return the keys of an action in Textual's spelling, with the user's keymap applied.

    Args:
        app: The app whose keymap applies, if it has one.
        action: The action, whose id is the id of its binding.
    """
    changed = app.keymap.get(action.id) if isinstance(app, HasKeymap) else None
    return action.keys if changed is None else tuple(key.strip() for key in changed.split(","))


def keys_of(app: App[Any], action: Action) -> str:
    """Return the keys of an action as people write them, as `Ctrl+R`; empty if it has none."""
    keys = (key for key in pressed_keys(app, action) if not key.startswith(UNBOUND))
    return " / ".join(_described(key) for key in keys)


def _described(key: str) -> str:
    """Return `describe_key` of a key, also for the long names of signs, as `question_mark`."""
    *modifiers, base = key.split("+")
    return describe_key("+".join([*modifiers, format_key(base)]) if "_" in base else key)
