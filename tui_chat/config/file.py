"""Read `config.toml`, and change one setting in it at a time.

The functions check size, encoding and syntax, and find the line of a key for error messages.
Writing is atomic and keeps comments. Which settings exist is declared in `settings`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tui_chat.config.paths import private_dir
from tui_chat.errors import ConfigError
from tui_chat.safe_text import safe_line

MAX_BYTES = 1024**2
"""Largest config.toml that is read, in bytes."""

_TABLE = re.compile(r"\s*\[")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The contents of a config.toml."""

    path: Path
    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def where(self, key: str, table: str = "") -> str:
        """Return file and line of a setting, for an error message."""
        shown = safe_line(str(self.path), 160)
        line = _line_of(self.text, key, table)
        return f"{shown}, line {line}" if line else shown


def read_config_file(path: Path) -> ConfigFile:
    """Read a file; a missing one counts as empty.

    Raises:
        ConfigError: If it cannot be read or is not valid TOML.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise _unreadable(path, "it is larger than 1 MiB")
        text = data.decode("utf-8-sig")
        return ConfigFile(path, text, tomllib.loads(text))
    except FileNotFoundError:
        return ConfigFile(path)
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    except RecursionError:
        raise _unreadable(path, "it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"byte {error.start} is not UTF-8") from None
    except ValueError as error:
        raise _unreadable(path, safe_line(str(error), 200)) from None


def write_setting(path: Path, key: str, value: str | int | bool) -> None:
    """Change or add one setting outside all tables; everything else in the file stays as it is.

    Raises:
        ConfigError: If the file cannot be read or written, or the setting is written in a form that
            cannot be changed without touching others. The file is unchanged then.
    """
    file = read_config_file(path)
    lines = file.text.splitlines(keepends=True)
    top = next((i for i, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    import json  # here, because the first frame waits for reading only

    # JSON strings, numbers and booleans are valid TOML, except that TOML requires DEL escaped.
    literal = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    line = f"{key} = {literal}\n"
    number = _line_of(file.text, key, "")
    if number:
        comment = re.search(r"\s+#[^\"']*$", lines[number - 1].rstrip("\n"))
        lines[number - 1] = line.rstrip("\n") + (comment[0] if comment else "") + "\n"
    else:
        if top and not lines[top - 1].endswith("\n"):
            lines[top - 1] += "\n"
        lines.insert(_place(lines, top), line)
    text = "".join(lines)
    # The edit was textual: parse the result to be sure that it changed this setting only.
    try:
        is_right = tomllib.loads(text) == {**file.values, key: value}
    except ValueError:
        is_right = False
    if not is_right:
        raise ConfigError(
            f"{key} was not saved",
            f"{file.where(key)}: it is written in a way that only its author can change",
            f"Set {line.strip()} there",
        )
    try:
        private_dir(path.parent)
        _replace(Path(os.path.realpath(path)), text.encode())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            f"{key} was not saved", f"{safe_line(str(path), 160)}: {reason}",
            "Free some disk space or check the permissions",
        ) from None  # fmt: skip


def _place(lines: list[str], top: int) -> int:
    """Return the line index for a new setting: after the last non-blank line before `top`."""
    while top and not lines[top - 1].strip():
        top -= 1
    return top


def _replace(path: Path, data: bytes) -> None:
    """Replace a file atomically, keeping its permissions."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()
    with suppress(OSError):  # makes the rename durable, where a folder can be synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        "config.toml could not be read",
        f"{safe_line(str(path), 160)}: {reason}",
        "Correct the file; until then it is ignored",
    )


def _line_of(text: str, key: str, table: str) -> int:
    """Return the line of a key, counted from 1; 0 if it is not found. `table` is empty for none."""
    wanted = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
    header = re.compile(rf"""\s*\[\s*["']?{re.escape(table)}["']?\s*\]""")
    dotted = re.compile(rf"""\s*{re.escape(table)}\s*\.\s*["']?{re.escape(key)}["']?\s*=""")
    is_inside = not table
    for number, line in enumerate(text.splitlines(), start=1):
        if _TABLE.match(line):
            if not table and is_inside and re.match(rf"\s*\[\s*{re.escape(key)}\s*[\].]", line):
                return number
            is_inside = bool(table) and header.match(line) is not None
        elif (is_inside and wanted.match(line)) or (table and dotted.match(line)):
            return number
    return 0
