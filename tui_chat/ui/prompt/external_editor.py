"""Editing of a text in the user's own editor, for Ctrl+G.

The text passes through a temporary file. The app gives up the terminal before and takes it back
afterwards.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tui_chat.errors import TuiChatError

_FALLBACKS = ("nano", "vim", "vi")
_LARGEST = 16 * 1024**2


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """Return the command of `$VISUAL`, else of `$EDITOR`, else the first editor that is installed.

    Raises:
        TuiChatError: If there is no editor, or the variable cannot be read as a command.
    """
    import shutil

    for variable in ("VISUAL", "EDITOR"):
        value = environ.get(variable, "").strip()
        if not value:
            continue
        try:
            command = shlex.split(value)
        except ValueError as error:
            raise TuiChatError(
                "The editor could not be started", f"${variable} is {value!r}: {error}",
                f"Set ${variable} to a command such as nano",
            ) from None  # fmt: skip
        if shutil.which(command[0], path=environ.get("PATH")) is None:
            raise TuiChatError(
                "The editor could not be started", f"${variable} names {command[0]!r}, which is "
                "not installed", f"Set ${variable} to a command such as nano",
            )  # fmt: skip
        return command
    for name in _FALLBACKS:
        if shutil.which(name, path=environ.get("PATH")):
            return [name]
    raise TuiChatError("There is no editor", "Neither $VISUAL nor $EDITOR is set", "Set $EDITOR")


def edit_text(text: str, command: list[str]) -> str:
    """Let the user edit a text; blocks until the editor exits.

    Args:
        text: The text to begin with.
        command: The command of the editor, to which the file's name is added.

    Returns:
        The text as saved, without the line break that editors put at the end of a file.

    Raises:
        TuiChatError: If the editor cannot be started, fails, or leaves no text.
    """
    handle, name = tempfile.mkstemp(prefix="tui-chat-", suffix=".md")
    path = Path(name)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(f"{text}\n" if text else "")
        try:
            done = subprocess.run([*command, str(path)], env=dict(os.environ), check=False)
        except OSError as error:
            raise TuiChatError(
                "The editor could not be started", error.strerror or type(error).__name__
            ) from None
        if done.returncode != 0:
            raise TuiChatError(
                "The draft was not changed", f"The editor ended with code {done.returncode}"
            )
        return _read(path)
    finally:
        path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise TuiChatError("The draft was not changed", "The file has more than 16 MiB")
        with path.open(encoding="utf-8", newline="") as stream:
            text = stream.read()
    except (OSError, ValueError):
        raise TuiChatError("The draft was not changed", "The editor left no UTF-8 text") from None
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text
