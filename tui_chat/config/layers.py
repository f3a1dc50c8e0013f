"""The layers of settings: defaults, then `config.toml`, environment variables, and typed flags.

Later layers override earlier ones. A mistake in the file or in the environment affects only its own
setting and is reported in `LoadedSettings.problems`; a mistake in a typed flag raises at once. The
allowed values are declared in `settings`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_chat.actions import ACTIONS
from tui_chat.chat.params import find_spec
from tui_chat.config import paths
from tui_chat.config.file import ConfigFile, read_config_file, write_setting
from tui_chat.config.keymap import key_conflicts, read_keys
from tui_chat.config.settings import LOG_LEVEL_VARIABLE, LOG_LEVELS, SETTING_SPECS, Settings
from tui_chat.config.strict_values import truth
from tui_chat.errors import ConfigError, ParameterError, UsageError
from tui_chat.safe_text import safe_line

_PREFIX = "TUI_CHAT_"
OTHER_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        paths.HOME_VARIABLE: "One folder for all files, in place of the platform's own folders.",
        LOG_LEVEL_VARIABLE: f"What the log holds: {', '.join(LOG_LEVELS)}. Without it, info.",
    }
)
"""The program's environment variables that are not settings, with their purpose."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

SCALARS = tuple(SETTING_SPECS)
"""The settings with a single value, in the order of their declaration."""
_NAMES = (*SCALARS, "parameters", "keys")


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings in force, with their sources and problems."""

    settings: Settings
    sources: Mapping[str, str] = field(default_factory=dict)
    """The source of each setting that is not at its default: `config.toml`, the name of a variable,
    or `flag`; also of each value of a table, as `parameters.temperature`.
    """
    problems: tuple[ConfigError, ...] = ()
    """The mistakes found in the file and the environment."""


def variable(name: str) -> str:
    """Return the environment variable of a setting: `TUI_CHAT_MODEL` for `model`."""
    return _PREFIX + name.upper()


def load_settings(
    flags: Mapping[str, Any] = MappingProxyType({}),
    environ: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> LoadedSettings:
    """Read all layers.

    Parameters from the file apply on top of the preset from the file; a preset from a higher layer
    discards them.

    Args:
        flags: Typed settings by name; None means not typed.
        environ: The environment; the process's own if None.
        path: The file; the user's if None.

    Raises:
        UsageError: If a flag has an invalid value.
    """
    environ = os.environ if environ is None else environ
    typed = {name: value for name, value in flags.items() if value is not None}
    problems: list[ConfigError] = []
    layers = (
        ("config.toml", _from_file(path or paths.config_file(), problems)),
        ("environment", _from_environment(environ, problems)),
        ("flag", _from_flags(typed)),
    )
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        if "preset" in layer:
            values.pop("parameters", None)
            for name in [name for name in sources if name.partition(".")[0] == "parameters"]:
                del sources[name]
        for name, value in layer.items():
            sources[name] = variable(name) if source == "environment" else source
            if isinstance(value, dict):
                sources.update({f"{name}.{key}": source for key in value})
                value = {**values.get(name, {}), **value}
            values[name] = value
    return LoadedSettings(Settings(**values), MappingProxyType(sources), tuple(problems))


def save_setting(name: str, value: str | int | bool, path: Path | None = None) -> None:
    """Write one setting into config.toml and keep everything else in it.

    Args:
        name: One of `SCALARS`.
        value: Its value.
        path: The file; the user's if None. It is created if it does not exist.

    Raises:
        ConfigError: If the value is not valid or the file cannot be changed; the file is unchanged
            then.
    """
    try:
        _checked(name, value)
    except ValueError as error:
        raise ConfigError(f"{name} was not saved", str(error)) from None
    write_setting(path or paths.config_file(), name, value)


# The layers -------------------------------------------------------------------------------------


def _from_file(path: Path, problems: list[ConfigError]) -> dict[str, Any]:
    try:
        file = read_config_file(path)
    except ConfigError as error:
        problems.append(error.in_file(path))
        return {}
    layer: dict[str, Any] = {}
    for name, value in file.values.items():
        where = file.where(name)
        if name not in _NAMES:
            problems.append(_unknown("setting", name, _NAMES, where))
        elif name in SCALARS:
            try:
                layer[name] = _checked(name, value)
            except ValueError as error:
                problems.append(_skipped(f"{name} = {value!r}", str(error), where))
        elif not isinstance(value, dict):
            problems.append(_skipped(name, f"it is no table; write a section [{name}]", where))
        else:
            read = _read_parameters if name == "parameters" else _read_keys
            layer[name] = read(value, file, problems)
    for problem in problems:
        problem.in_file(path)
    return layer


def _read_parameters(
    table: Mapping[str, Any], file: ConfigFile, problems: list[ConfigError]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in table.items():
        where = file.where(name, "parameters")
        try:
            spec = find_spec(name)
            values[spec.name] = spec.check(value)
        except ParameterError as error:
            detail = ". ".join(part for part in (error.detail, where) if part)
            problems.append(ConfigError(f"[parameters] {error.title}", detail, error.hint))
    return values


def _read_keys(
    table: Mapping[str, Any], file: ConfigFile, problems: list[ConfigError]
) -> dict[str, tuple[str, ...]]:
    known = [action.id for action in ACTIONS]
    keys: dict[str, tuple[str, ...]] = {}
    for action_id, value in table.items():
        where = file.where(action_id, "keys")
        if action_id not in known:
            problems.append(_unknown("action", action_id, known, where))
            continue
        try:
            keys[action_id] = read_keys(value)
        except ValueError as error:
            problems.append(_skipped(f"[keys] {action_id} = {value!r}", str(error), where))
    for action_id, message in key_conflicts(keys):
        problems.append(_skipped(f"[keys] {action_id}", message, file.where(action_id, "keys")))
        keys.pop(action_id, None)
    return keys


def _from_environment(environ: Mapping[str, str], problems: list[ConfigError]) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for name in SCALARS:
        text = environ.get(variable(name), "")
        if not text:
            continue
        try:
            layer[name] = _checked(name, _parsed(name, text))
        except ValueError as error:
            problems.append(
                _skipped(f"{variable(name)}={text}", str(error), "environment", "Correct it")
            )
    known = [variable(name) for name in SCALARS] + list(OTHER_VARIABLES)
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            if near:
                problems.append(_unknown("variable", name, near, "environment"))
    return layer


def _from_flags(typed: Mapping[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for name, value in typed.items():
        if name == "parameters":
            layer[name] = dict(value)
            continue
        try:
            layer[name] = _checked(name, value)
        except ValueError as error:
            raise UsageError(
                f"--{name} {safe_line(str(value), 80)} is not valid", str(error)
            ) from None
    return layer


def _parsed(name: str, text: str) -> str | int | bool:
    """Return the value of an environment variable in the type of its setting.

    Raises:
        ValueError: If it is not of that type.
    """
    if name in ("context", "reserve"):
        try:
            return int(text)
        except ValueError:
            raise ValueError("it is not a whole number") from None
    if SETTING_SPECS[name].check is truth:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise ValueError("write 1 or 0")
        return text.lower() in _TRUE
    return text


def _checked(name: str, value: Any) -> Any:
    """Return the value of a setting, checked against its declaration.

    Raises:
        ValueError: If it is invalid; the message is shown to the user.
    """
    try:
        return SETTING_SPECS[name].check(value)
    except ValueError as error:
        message = str(error)
        raise ValueError(safe_line(message[:1].lower() + message[1:], 200)) from None


def _unknown(what: str, name: str, known: Iterable[str], where: str) -> ConfigError:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return ConfigError(
        f"There is no {what} {safe_line(name, 64)!r}",
        where,
        f"Did you mean {near[0]}?" if near else "Known: " + ", ".join(known),
    )


def _skipped(
    what: str, reason: str, where: str, hint: str = "Correct it or remove the line"
) -> ConfigError:
    return ConfigError(
        f"{safe_line(what, 80)} was skipped", f"{reason[:1].upper()}{reason[1:]} ({where})", hint
    )
