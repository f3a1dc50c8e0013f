"""The shared options as typed, and their conversion to settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_chat.errors import ParameterError, TuiChatError, UsageError
from tui_chat.safe_text import safe_line

if TYPE_CHECKING:
    from tui_chat.config.layers import LoadedSettings

_MAX_SYSTEM_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class Typed:
    """Shared options as typed; None for an option that was not."""

    model: str | None = None
    precision: str | None = None
    device: str | None = None
    template: str | None = None
    context: int | None = None
    reserve: int | None = None
    preset: str | None = None
    assignments: list[str] | None = None
    system: str | None = None
    seed: str | None = None
    theme: str | None = None
    no_save: bool = False

    def load_settings(self) -> LoadedSettings:
        """Load all layers of settings, with these options on top.

        Raises:
            UsageError: If a value is not valid.
            TuiChatError: If the file with the system message cannot be read.
        """
        from tui_chat.config import layers

        flags: dict[str, Any] = {
            "model": self.model,
            "precision": self.precision,
            "device": self.device,
            "template": self.template,
            "context": self.context,
            "reserve": self.reserve,
            "preset": self.preset,
            "system": None if self.system is None else _system_text(self.system),
            "theme": self.theme,
            "save": False if self.no_save else None,
            "parameters": _parameters(self.assignments or [], self.seed),
        }
        return layers.load_settings(flags)


def _parameters(assignments: list[str], seed: str | None) -> Mapping[str, Any] | None:
    """Return the values of `--set` and `--seed`; repeated stop strings accumulate.

    Raises:
        UsageError: If a value is not valid.
    """
    from tui_chat.chat.params import find_spec, parse_assignment

    values: dict[str, Any] = {}
    try:
        for assignment in assignments:
            name, value = parse_assignment(assignment)
            values[name] = values.get(name, ()) + value if name == "stop" else value
        if seed is not None:
            values["seed"] = find_spec("seed").parse(seed)
        if "stop" in values:
            values["stop"] = find_spec("stop").check(values["stop"])
    except ParameterError as error:
        raise UsageError(error.title, error.detail, error.hint) from None
    return values or None


def _system_text(value: str) -> str:
    """Return the text of `--system`: literal, or read from the file named after `@`.

    Raises:
        TuiChatError: If the file cannot be read as text.
    """
    if not value.startswith("@"):
        return value
    path = Path(value[1:]).expanduser()
    shown = safe_line(str(path), 160)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SYSTEM_BYTES + 1)
        if len(data) > _MAX_SYSTEM_BYTES:
            raise ValueError("it is larger than 1 MiB")
        return data.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except ValueError as error:
        reason = str(error)
    raise TuiChatError(
        "The system message could not be read", f"{shown}: {reason}", "Write --system @FILE"
    )
