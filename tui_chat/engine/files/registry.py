"""The registry of models and presets, from the project's models.toml and the user's.

`load_registry` merges the two files, and `Registry.resolve` turns what a user types into a
`ModelSpec`. A mistake in a file is never fatal: its entry is skipped, and the mistake is reported
in `Registry.problems`. Nothing here opens model files or asks the hub.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tui_chat.chat.params import BUILTIN_PRESETS, Preset
from tui_chat.config import paths
from tui_chat.engine.files.models_file import RawFile, read_models_file
from tui_chat.engine.files.spec import ModelSpec, is_hub_id, is_path
from tui_chat.errors import ConfigError, ModelNotFoundError, ParameterError, Remedy
from tui_chat.safe_text import safe_line

DEFAULT_MODEL = "guide"
"""The default where no file sets a valid one: the small model that ships with the program."""


@dataclass(frozen=True, slots=True)
class Registry:
    """All models and presets that have a name."""

    models: Mapping[str, ModelSpec]
    presets: Mapping[str, Preset] = field(default_factory=lambda: BUILTIN_PRESETS)
    default: str = DEFAULT_MODEL
    """Name of the model to load if the user names none; one of `models`, or `DEFAULT_MODEL`."""
    problems: tuple[ConfigError, ...] = ()
    """Mistakes in the files, each with file, line and hint."""

    def resolve(self, name: str) -> ModelSpec:
        """Return the model that a user means.

        The name is looked up in the registry, then tried as a directory, then as a hub id.

        Args:
            name: The name as typed; `~` is expanded, and an empty name means the default.

        Raises:
            ModelNotFoundError: If the name is none of them. It suggests the nearest known name.
        """
        wanted = name.strip() or self.default
        if wanted in self.models:
            return self.models[wanted]
        if is_path(wanted) or Path(wanted).is_dir():
            return _directory_spec(wanted)
        if is_hub_id(wanted):
            return ModelSpec(name=wanted, source=wanted)
        shown = safe_line(wanted, 80)
        near = difflib.get_close_matches(wanted.lower(), self.models, n=1, cutoff=0.5)
        raise ModelNotFoundError(
            f"There is no model {shown!r}",
            "It is no name in models.toml, no directory here, and no hub id such as owner/name",
            f"Did you mean {near[0]}?" if near else "See the list of models",
            None if near else Remedy.CHOOSE_MODEL,
        )


def _directory_spec(name: str) -> ModelSpec:
    """Return the spec of a directory that a user named.

    Raises:
        ModelNotFoundError: If the directory does not exist.
    """
    try:
        directory = Path(name).expanduser().resolve()
        is_directory = directory.is_dir()
    except (OSError, RuntimeError, ValueError):
        directory, is_directory = Path(name), False
    if is_directory:
        return ModelSpec(name=str(directory), source=str(directory))
    shown = safe_line(str(directory), 160)
    detail = "That is a file" if directory.is_file() else "No such directory"
    raise ModelNotFoundError(
        f"There is no model in {shown}",
        detail,
        "Name the directory that holds config.json, or a model of the list",
        Remedy.CHOOSE_MODEL,
    )


def load_registry(project: Path | None = None, user: Path | None = None) -> Registry:
    """Read the project's models.toml and the user's, whose values take precedence key by key.

    Args:
        project: The project's file; if None, the one that ships with the program.
        user: The user's file, which need not exist; if None, the one in the configuration folder.

    Returns:
        The valid entries of both files, with the mistakes in `problems`.
    """
    base = read_models_file(project or paths.project_models_file(), is_required=True)
    over = read_models_file(user or paths.user_models_file(), is_required=False)
    problems = [problem.in_file(file.path) for file in (base, over) for problem in file.problems]
    presets = _presets((base, over), problems)
    models: dict[str, ModelSpec] = {}
    for name in dict.fromkeys((*base.models, *over.models)):
        spec = _merged_model(name, base, over, problems)
        if spec is None:
            continue
        if spec.preset is not None and spec.preset not in presets:
            problems.append(_unknown("preset", spec.preset, presets, name, base, over))
            continue
        models[name] = spec
    default = _default(models, (over, base), problems)
    return Registry(MappingProxyType(models), MappingProxyType(presets), default, tuple(problems))


def _merged_model(
    name: str, base: RawFile, over: RawFile, problems: list[ConfigError]
) -> ModelSpec | None:
    """Return one model with the values of both files, or None if neither file has a valid one.

    If the user's values are invalid, those of the project are used alone.
    """
    if name in over.models:
        merged = {**base.models.get(name, {}), **over.models[name]}
        try:
            return over.model(name, merged)
        except ConfigError as error:
            problems.append(error.in_file(over.path))
    if name not in base.models:
        return None
    try:
        return base.model(name, base.models[name])
    except ConfigError as error:
        problems.append(error.in_file(base.path))
        return None


def _presets(files: tuple[RawFile, ...], problems: list[ConfigError]) -> dict[str, Preset]:
    """Return the built-in presets, with the values of the files added or replaced one by one."""
    presets = dict(BUILTIN_PRESETS)
    for file in files:
        for name, values in file.presets.items():
            known = presets.get(name)
            preset = Preset(
                name,
                MappingProxyType({**(known.values if known else {}), **values}),
                file.path.name if known is None else known.source,
            )
            try:
                preset.params()
            except ParameterError as error:
                problems.append(
                    ConfigError(
                        f"[presets.{name}] was skipped: {error.title}",
                        ". ".join(filter(None, (error.detail, file.where(f"presets.{name}")))),
                        error.hint,
                    ).in_file(file.path)
                )
                continue
            presets[name] = preset
    return presets


def _default(
    models: Mapping[str, ModelSpec], files: tuple[RawFile, ...], problems: list[ConfigError]
) -> str:
    """Return the first default that names a known model.

    Args:
        models: The known models.
        files: The files in order of precedence.
        problems: Gets an error for each default that names no known model.
    """
    for file in files:
        if file.default is None:
            continue
        if file.default in models:
            return file.default
        near = difflib.get_close_matches(file.default, models, n=1)
        problems.append(
            ConfigError(
                f"The default model {safe_line(file.default, 64)!r} is not known",
                file.where("", "default"),
                f"Did you mean {near[0]}?" if near else "Name one of the models of the file",
            ).in_file(file.path)
        )
    return DEFAULT_MODEL


def _unknown(
    what: str,
    value: str,
    known: Mapping[str, object],
    name: str,
    base: RawFile,
    over: RawFile,
) -> ConfigError:
    """Return the error for a model that names something unknown.

    Args:
        what: The key, such as `preset`.
        value: Its value.
        known: The valid values.
        name: Name of the model.
        base: The project's file.
        over: The user's file.
    """
    section = f"models.{name}"
    file = over if what in over.models.get(name, {}) else base
    near = difflib.get_close_matches(value, known, n=1)
    return ConfigError(
        f"[{section}] was skipped: there is no {what} {safe_line(value, 64)!r}",
        file.where(section, what),
        f"Did you mean {near[0]}?" if near else "Known: " + ", ".join(known),
    ).in_file(file.path)
