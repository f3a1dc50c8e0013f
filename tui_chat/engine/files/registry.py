"""The models and presets known by name: the project's models.toml with the user's laid over it.

Owns the reading of both files and the way from what a user types to a `ModelSpec`. A mistake costs
the entry it is in and is reported in `Registry.problems`; it is never fatal. Refuses to look at
model files, devices or the hub, and to run code that a model brings along.
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


@dataclass(frozen=True, slots=True)
class Registry:
    """Every model and preset known by name."""

    models: Mapping[str, ModelSpec]
    presets: Mapping[str, Preset] = field(default_factory=lambda: BUILTIN_PRESETS)
    default: str = DEFAULT_MODEL
    """The model to load where none is named; always one of `models`, or `guide`."""
    problems: tuple[ConfigError, ...] = ()
    """What was wrong with the files, each with file, line and what to do."""

    def resolve(self, name: str) -> ModelSpec:
        """The model that a user means: a registry name, a directory, or a hub id.

        Args:
            name: As typed; `~` is expanded. Empty means the default.

        Raises:
            ModelNotFoundError: If it is none of them, naming the nearest known name.
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
    """The spec of a directory that a user named.

    Raises:
        ModelNotFoundError: If there is no such directory.
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
    """Read the project's file and the user's, which wins key by key.

    Args:
        project: The project's models.toml; the one that ships with the program if None.
        user: The user's; the one in the configuration folder if None. It need not exist.

    Returns:
        What could be read; what could not is in `problems`.
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
    """One model from both files; the project's alone where the user's keys are not valid."""
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
    """The built-in presets with those of the files laid over, value by value."""
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
    """The first default that exists, the user's before the project's."""
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
    """A model names something that does not exist."""
    section = f"models.{name}"
    file = over if what in over.models.get(name, {}) else base
    near = difflib.get_close_matches(value, known, n=1)
    return ConfigError(
        f"[{section}] was skipped: there is no {what} {safe_line(value, 64)!r}",
        file.where(section, what),
        f"Did you mean {near[0]}?" if near else "Known: " + ", ".join(known),
    ).in_file(file.path)
