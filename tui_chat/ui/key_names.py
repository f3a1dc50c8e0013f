"""The keys of actions as the user has them now, for help, menus and the palette.

Owns the reading of the keymap. Refuses to bind anything.
"""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.keys import format_key

from tui_chat.actions import Action, describe_key


def pressed_keys(app: App[Any], action: Action) -> tuple[str, ...]:
    """The keys of an action in Textual's spelling, with the user's keymap applied.

    Args:
        app: Whose keymap counts.
        action: Its id is the id of its binding.
    """
    changed = app._keymap.get(action.id)  # Textual has no public way to read its keymap
    return action.keys if changed is None else tuple(key.strip() for key in changed.split(","))


def keys_of(app: App[Any], action: Action) -> str:
    """The keys of an action as people write them: `Ctrl+R`, or empty where it has none."""
    return " / ".join(_described(key) for key in pressed_keys(app, action))


def _described(key: str) -> str:
    """`describe_key`, also for the long names of signs, as `question_mark`."""
    *modifiers, base = key.split("+")
    return describe_key("+".join([*modifiers, format_key(base)]) if "_" in base else key)
