"""The keys of actions as the user has them now, for help, menus and the palette.

Come here to show a key: the declared ones are not what somebody presses who has changed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from textual.app import App
from textual.keys import format_key

from tui_chat.actions import Action, describe_key

UNBOUND = "unbound+"
"""Begins the key, which no keyboard has, of an action that the user gave none."""


@runtime_checkable
class HasKeymap(Protocol):
    """An app that remembers the keymap which it has set; Textual keeps its own to itself."""

    keymap: Mapping[str, str]
    """Keys by action id, separated by commas."""


def pressed_keys(app: App[Any], action: Action) -> tuple[str, ...]:
    """The keys of an action in Textual's spelling, with the user's keymap applied.

    Args:
        app: Whose keymap counts, where it has one.
        action: Its id is the id of its binding.
    """
    changed = app.keymap.get(action.id) if isinstance(app, HasKeymap) else None
    return action.keys if changed is None else tuple(key.strip() for key in changed.split(","))


def keys_of(app: App[Any], action: Action) -> str:
    """The keys of an action as people write them: `Ctrl+R`, or empty where it has none."""
    keys = (key for key in pressed_keys(app, action) if not key.startswith(UNBOUND))
    return " / ".join(_described(key) for key in keys)


def _described(key: str) -> str:
    """`describe_key`, also for the long names of signs, as `question_mark`."""
    *modifiers, base = key.split("+")
    return describe_key("+".join([*modifiers, format_key(base)]) if "_" in base else key)
