"""Read the `[keys]` table of config.toml, and find conflicts between key bindings.

Keys such as `"Ctrl+R"` or `">"` are converted to Textual's spelling. The screens make the bindings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from tui_chat.actions import ACTIONS, Scope

_MODIFIERS = ("ctrl", "alt", "shift", "super", "hyper", "meta")
_NAME = re.compile(r"[a-z0-9_]{1,40}")
_SHORT_NAMES = {
    "esc": "escape", "return": "enter", "pgup": "pageup", "pgdn": "pagedown", "pgdown": "pagedown",
    "del": "delete", "ins": "insert", "control": "ctrl", "option": "alt", "cmd": "super",
    "solidus": "slash", "reverse_solidus": "backslash", "commercial_at": "at",
    "hyphen_minus": "minus", "plus_sign": "plus", "low_line": "underscore",
}  # fmt: skip
_SHARED: Mapping[Scope, tuple[Scope, ...]] = {
    "app": ("app", "prompt", "transcript", "parameters"),
    "prompt": ("app", "prompt"),
    "transcript": ("app", "transcript"),
    "parameters": ("app", "parameters"),
}
"""For each scope, the scopes whose keys are active at the same time."""


def read_keys(value: Any) -> tuple[str, ...]:
    """Return the keys of one action from a string or a list of strings; an empty list for none.

    Raises:
        ValueError: If the value is invalid; the message is shown to the user.
    """
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("write a key in quotes, or a list of keys")
    return tuple(dict.fromkeys(read_key(key) for key in keys))


def read_key(text: str) -> str:
    """Return a key in Textual's spelling: `Ctrl+R` is `ctrl+r`, `>` is `greater_than_sign`.

    Raises:
        ValueError: If the text is not a key.
    """
    text = text.strip() if text != " " else "space"
    head, _, last = text.rpartition("+")
    if text.endswith("+"):  # the plus key itself, as `+` or `ctrl++`
        head, last = text[:-1].removesuffix("+"), "+"
    modifiers = [_SHORT_NAMES.get(part.lower(), part.lower()) for part in head.split("+") if head]
    wrong = [part for part in modifiers if part not in _MODIFIERS]
    name = _key_name(last, bool(modifiers))
    if wrong or (_NAME.fullmatch(name, 0, len(name)) is None and len(name) != 1):
        raise ValueError(f"{text!r} is no key; write it as ctrl+r, f2, G or escape")
    return "+".join([*dict.fromkeys(modifiers), name])


def _key_name(text: str, has_modifiers: bool) -> str:
    """Return Textual's name of a key without modifiers."""
    if len(text) == 1:
        if text.isalnum():
            return text.lower() if has_modifiers else text
        name = unicodedata.name(text, "").lower().replace("-", "_").replace(" ", "_")
    else:
        name = text.lower()
    return _SHORT_NAMES.get(name, name)


def key_conflicts(changed: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Find remapped actions whose new key is taken by another action at the same time.

    Args:
        changed: The new keys by action id.

    Yields:
        The id of a remapped action, and the problem with its keys.
    """
    keys = {action.id: changed.get(action.id, action.keys) for action in ACTIONS}
    for action in ACTIONS:
        if action.id not in changed:
            continue
        for other in ACTIONS:
            shared = set(keys[action.id]) & set(keys[other.id])
            same_place = other.scope == action.scope or (
                other.scope in _SHARED[action.scope] and not _was_shared(action.keys, other.keys)
            )
            if other.id != action.id and shared and same_place:
                yield action.id, f"the key {min(shared)} belongs to {other.id}"
                break


def _was_shared(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Return whether two actions share a key by default, where the inner scope is meant to win."""
    return bool(set(first) & set(second))
