"""Facts for the answers, read from the program's own declarations.

The corpus contains placeholders such as `{key undo}` or `{range top_k}` instead of keys and values,
so it cannot drift from the program. This module fills them in.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from tui_chat.actions import ACTIONS, SLASH_COMMANDS, Action, action_by_id
from tui_chat.chat.params import BUILTIN_PRESETS, PARAM_SPECS, find_spec

_PLACEHOLDER = re.compile(r"\{([a-z_]+)(?: ([^{}]+))?\}")
_TRAILING_ZEROS = re.compile(r"\b(\d+)(?:\.0+|(\.\d*?[1-9])0+)\b")
_REGISTRY_PLACES = (
    Path(__file__).resolve().parents[2] / "models.toml",
    Path(__file__).resolve().parents[1] / "_data" / "models.toml",
)


class FactError(KeyError):
    """A placeholder for something that the program does not declare."""


@cache
def registry() -> dict[str, dict[str, Any]]:
    """Return the models of the project's `models.toml`, by name.

    Raises:
        FactError: If the file is not found.
    """
    for place in _REGISTRY_PLACES:
        if place.is_file():
            models = tomllib.loads(place.read_text("utf-8"))["models"]
            return {name: dict(entry) for name, entry in models.items()}
    raise FactError("models.toml was not found beside the package")


def listing(items: list[str], last: str = "and") -> str:
    """Join words as people do: `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def first_key(action: Action) -> str:
    """Return the first default key of an action as people write it, such as `Ctrl+R`."""
    return action.key_text.split(" / ")[0]


def plain(text: str) -> str:
    """Strip trailing zeros from numbers: `0.50 to 3.00` becomes `0.5 to 3`."""
    return _TRAILING_ZEROS.sub(lambda m: m.group(1) + (m.group(2) or ""), text)


def preset_text(name: str) -> str:
    """Return the values of a preset in words."""
    values = BUILTIN_PRESETS[name].values
    return listing([f"{k} {plain(find_spec(k).format(v))}" for k, v in values.items()])


def _value(kind: str, name: str) -> str:
    if kind == "key":
        return first_key(action_by_id(name))
    if kind == "keys":
        return listing(action_by_id(name).key_text.split(" / "), "or")
    if kind == "slash":
        return action_by_id(name).command
    if kind == "usage":
        return action_by_id(name).slash
    if kind == "range":
        return plain(find_spec(name).range_text)
    if kind == "default":
        spec = find_spec(name)
        return plain(spec.format(spec.default))
    if kind == "off":
        spec = find_spec(name)
        return plain(spec.format(spec.off))
    if kind in ("context", "reserve", "source", "description"):
        return str(registry()[name][kind])
    if kind == "preset":
        return preset_text(name)
    raise FactError(kind)


def _list_of(kind: str) -> str:
    if kind == "all_slash":
        return listing([f"`{command}`" for command in SLASH_COMMANDS])
    if kind == "all_params":
        return listing([spec.name for spec in PARAM_SPECS])
    if kind == "all_presets":
        return listing([f"`{name}`" for name in BUILTIN_PRESETS])
    raise FactError(kind)


def fill(text: str) -> str:
    """Replace every placeholder in a text by the fact that it names.

    Raises:
        FactError: If a placeholder names nothing, or its value is empty.
    """

    def replace(match: re.Match[str]) -> str:
        kind, name = match.groups()
        try:
            value = _value(kind, name) if name else _list_of(kind)
        except KeyError as error:
            raise FactError(f"{match.group(0)} in: {text}") from error
        if not value:
            raise FactError(f"{match.group(0)} is empty in: {text}")
        return value

    return _PLACEHOLDER.sub(replace, text)


def named_action(text: str, kind: str) -> Action | None:
    """Return the action that the first placeholder of a kind names; None if there is none.

    Args:
        text: An answer with placeholders.
        kind: `key` for `{key ..}` and `{keys ..}`, else `{slash ..}` and `{usage ..}`.
    """
    kinds = ("key", "keys") if kind == "key" else ("slash", "usage")
    for match in _PLACEHOLDER.finditer(text):
        if match.group(1) in kinds:
            return action_by_id(match.group(2))
    return None


def keys_by_text() -> dict[str, list[Action]]:
    """Return every key as people write it, with its actions in the different scopes."""
    found: dict[str, list[Action]] = {}
    for action in ACTIONS:
        for text in filter(None, action.key_text.split(" / ")):
            found.setdefault(text, []).append(action)
    return found
