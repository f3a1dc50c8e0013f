"""Defines the keys of models.toml and their valid values, and reads one such file.

Every mistake becomes a `ConfigError` with file, line and key, and the nearest valid key. Among the
mistakes are a file over 1 MiB, an unknown key, a control character in a value, and a key such as
`trust_remote_code`, which would make a model run its own code.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_chat.chat.known_names import PRECISION_NAMES, TEMPLATE_NAMES
from tui_chat.chat.model_size import ModelShape, gpt_neox_shape, llama_shape
from tui_chat.chat.params import MAX_CONTEXT
from tui_chat.config.strict_values import (
    Check,
    Mistake,
    TableError,
    checked_table,
    either,
    one_of,
    text,
    truth,
    whole,
)
from tui_chat.engine.files.spec import GUIDE_SOURCE, ModelSpec, is_hub_id, is_path
from tui_chat.errors import ConfigError
from tui_chat.safe_text import safe_line

MAX_BYTES = 1024**2
"""Largest models.toml that is read."""
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Valid names of models and presets, as a regular expression for the whole name."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control and formatting characters, such as zero-width spaces and changes of text direction."""
_TOP_KEYS = ("default", "models", "presets")


def _printable(checks: Mapping[str, Check]) -> Mapping[str, Check]:
    """Return checks that also reject control characters in text, by key."""

    def printable(check: Check) -> Check:
        def checked(value: Any) -> Any:
            if isinstance(value, str) and _CONTROL.search(value):
                raise ValueError("control characters are not allowed")
            return check(value)

        return checked

    return MappingProxyType({key: printable(check) for key, check in checks.items()})


_COUNT = whole(1, 10_000_000)
_SHAPE_KEYS = _printable(
    {
        "family": either("gpt_neox", "llama"),
        "layers": _COUNT,
        "hidden": _COUNT,
        "vocab": _COUNT,
        "heads": _COUNT,
        "kv_heads": _COUNT,
        "intermediate": _COUNT,
        "tied": truth,
        "qkv_bias": truth,
    }
)
"""Keys of `[models.NAME.shape]`: what it takes to estimate memory before a download."""


def _shape(table: Any) -> ModelShape:
    """Return the `ModelShape` that a `shape` table describes.

    Raises:
        ValueError: If a value is missing or invalid; a `TableError` if it can say where.
    """
    if not isinstance(table, dict):
        raise ValueError("Input should be a valid dictionary or instance of ShapeTable")
    values = checked_table(table, _SHAPE_KEYS, ("layers", "hidden", "vocab", "heads"))
    layers, hidden, heads = values["layers"], values["hidden"], values["heads"]
    if hidden % heads:
        raise ValueError("hidden must be a multiple of heads")
    if values.get("family", "gpt_neox") == "gpt_neox":
        return gpt_neox_shape(layers, hidden, values["vocab"], values.get("intermediate"))
    return llama_shape(
        layers=layers,
        hidden=hidden,
        vocab=values["vocab"],
        intermediate=values.get("intermediate") or 4 * hidden,
        heads=heads,
        kv_heads=values.get("kv_heads") or heads,
        is_tied=values.get("tied", False),
        has_qkv_bias=values.get("qkv_bias", False),
    )


_MODEL_KEYS = _printable(
    {
        "source": text(1, 4096),
        "revision": text(pattern="^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$"),
        "template": one_of("template", TEMPLATE_NAMES),
        "context": whole(16, MAX_CONTEXT),
        "reserve": whole(1, MAX_CONTEXT),
        "precision": one_of("precision", PRECISION_NAMES),
        "device": text(pattern="^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$"),
        "preset": text(),
        "description": text(most=400),
        "shape": _shape,
    }
)
"""Keys of `[models.NAME]`. All but `source` are optional, with the defaults of `ModelSpec`."""


def _model_values(table: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values of `[models.NAME]`.

    Raises:
        TableError: If a key or a value is invalid.
    """
    values = checked_table(table, _MODEL_KEYS, ("source",))
    context, reserve = values.get("context"), values.get("reserve")
    if context and reserve and reserve >= context:
        message = f"reserve {reserve} leaves no room in context {context}"
        raise TableError([Mistake("wrong", (), table, message)])
    return values


@dataclass(frozen=True, slots=True)
class RawFile:
    """One parsed models.toml. The values of its models and presets are not checked yet."""

    path: Path
    text: str = ""
    """The whole text, for finding lines; empty if the file could not be read."""
    models: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Values of each model by its name."""
    presets: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Values of each preset by its name."""
    default: str | None = None
    """Name of the model to load by default; None if the file sets none."""
    problems: tuple[ConfigError, ...] = ()
    """Mistakes found so far, which is before the values of models and presets are checked."""

    def where(self, section: str, key: str = "") -> str:
        """Return file and line of a section, or of a key in it, for an error message."""
        line = _line_of(self.text, section, key)
        shown = safe_line(str(self.path), 160)
        return f"{shown}, line {line}" if line else shown

    def model(self, name: str, values: Mapping[str, Any]) -> ModelSpec:
        """Check the values of one model and return its spec.

        Args:
            name: Name of the model.
            values: Its values; those of several files may be merged.

        Raises:
            ConfigError: If a key or a value is invalid.
        """
        section = f"models.{name}"
        try:
            checked = _model_values(values)
        except TableError as error:
            raise self._invalid(section, error.mistakes[0]) from None
        source = checked["source"]
        if is_path(source):
            folder = Path(source).expanduser()
            source = str(folder if folder.is_absolute() else (self.path.parent / folder).resolve())
        elif source != GUIDE_SOURCE and not is_hub_id(source):
            raise ConfigError(
                f"[{section}] was skipped: {safe_line(source, 80)!r} is no source",
                self.where(section, "source"),
                f"Write a hub id as owner/name, a directory from / or ~, or {GUIDE_SOURCE}",
            )
        return ModelSpec(**{**checked, "name": name, "source": source})

    def _invalid(self, section: str, mistake: Mistake) -> ConfigError:
        """Return the error for a mistake in a section, with file and line."""
        key = mistake.keys[-1] if mistake.keys else ""
        if len(mistake.keys) > 1:
            section = ".".join((section, *mistake.keys[:-1]))
        where = self.where(section, key)
        if mistake.kind == "unknown":
            known = _SHAPE_KEYS if section.endswith(".shape") else _MODEL_KEYS
            return _unknown_key(section, key, tuple(known), where)
        shown = safe_line(key, 64)
        if mistake.kind == "missing":
            return ConfigError(
                f"[{section}] was skipped: {shown} is missing", where, f"Add a line for {shown}"
            )
        problem = safe_line(mistake.message, 200)
        subject = f"{shown} = {safe_line(repr(mistake.value), 80)}" if key else "the values"
        return ConfigError(
            f"[{section}] was skipped: {subject} is not valid",
            f"{problem[:1].upper()}{problem[1:]} ({where})",
            "Correct the value or remove the line",
        )


def read_models_file(path: Path, is_required: bool) -> RawFile:
    """Read a models.toml. Never raises: whatever is wrong is in `RawFile.problems`.

    Args:
        path: The file.
        is_required: Whether a missing file is a problem.
    """
    shown = safe_line(str(path), 160)
    hint = "Correct the file; until then it is ignored"
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError("it is larger than 1 MiB")
        text = data.decode("utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        missing = ConfigError("models.toml is missing", shown, "Install the program again")
        return RawFile(path, problems=(missing,) if is_required else ())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return RawFile(path, problems=(_unreadable(shown, reason, "Check the permissions"),))
    except RecursionError:
        return RawFile(path, problems=(_unreadable(shown, "it is nested too deeply", hint),))
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
        return RawFile(path, problems=(_unreadable(shown, reason, hint),))
    except ValueError as error:
        return RawFile(path, problems=(_unreadable(shown, safe_line(str(error), 200), hint),))
    return _raw_file(path, text, tables)


def _raw_file(path: Path, text: str, tables: Mapping[str, Any]) -> RawFile:
    """Split a parsed file into models and presets; unknown keys and wrong types become problems."""
    bare = RawFile(path, text)
    problems: list[ConfigError] = [
        _unknown_key("", key, _TOP_KEYS, bare.where("", key))
        for key in tables
        if key not in _TOP_KEYS
    ]
    default = tables.get("default")
    if default is not None and not isinstance(default, str):
        problems.append(
            ConfigError("default is not a name", bare.where("", "default"), "Write it in quotes")
        )
        default = None
    sections: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in ("models", "presets"):
        sections[kind] = {}
        entries = tables.get(kind, {})
        if not isinstance(entries, dict):
            problems.append(
                ConfigError(
                    f"{kind} is not a table", bare.where("", kind), f"Write [{kind}.NAME] sections"
                )
            )
            continue
        for name, values in entries.items():
            if re.fullmatch(NAME_PATTERN, name) is None or not isinstance(values, dict):
                problems.append(
                    ConfigError(
                        f"[{kind}.{safe_line(name, 64)}] was skipped: not a valid name or section",
                        bare.where(kind),
                        "Names are 1 to 64 letters, digits, '.', '_' or '-', starting with a "
                        "letter or a digit",
                    )
                )
                continue
            sections[kind][name] = values
    return RawFile(path, text, sections["models"], sections["presets"], default, tuple(problems))


def _unreadable(shown: str, reason: str, hint: str) -> ConfigError:
    return ConfigError("models.toml could not be read", f"{shown}: {reason}", hint)


def _unknown_key(section: str, key: str, known: tuple[str, ...], where: str) -> ConfigError:
    """Return the error for an unknown key, which suggests the nearest valid one."""
    near = difflib.get_close_matches(key, known, n=1)
    if key in ("trust_remote_code", "auto_map"):
        hint = "Models never run their own code here; remove the line"
    else:
        hint = f"Did you mean {near[0]}?" if near else "Known keys: " + ", ".join(known)
    place = f"[{section}] was skipped: there" if section else "There"
    return ConfigError(f"{place} is no key {safe_line(key, 64)!r}", where, hint)


def _line_of(text: str, section: str, key: str) -> int:
    """Return the line of a key in a section, counted from 1.

    `tomllib` reports no positions, so this searches the text.

    Args:
        text: A valid TOML file.
        section: Name of the section, as `models.NAME`; empty for the top level.
        key: The key; empty to find the header of the section.

    Returns:
        The line of the key, else of the header, else 0.
    """
    header = re.compile(r"\s*\[\[?\s*" + r"\s*\.\s*".join(
        rf"[\"']?{re.escape(part)}[\"']?" for part in _parts(section)
    ) + r"\s*\]") if section else None  # fmt: skip
    wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*(=|\.)") if key else None
    is_inside = header is None
    found = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header is not None and header.match(line):
            is_inside, found = True, number
        elif line.lstrip().startswith("["):
            is_inside = False
        elif is_inside and wanted is not None and wanted.match(line):
            return number
    return found


def _parts(section: str) -> list[str]:
    """Split `models.NAME.shape` into its parts; NAME itself may contain dots."""
    kind, _, rest = section.partition(".")
    if rest.endswith(".shape"):
        return [kind, rest.removesuffix(".shape"), "shape"]
    return [kind, rest] if rest else [kind]
