"""Sources of prompts for line-by-line commands: arguments, pipes, scripts and the keyboard."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tui_chat.cli.output import is_terminal
from tui_chat.errors import TuiChatError, UsageError
from tui_chat.safe_text import safe_line

_MAX_INPUT_BYTES = 16 * 1024**2
_PROMPTS_VARIABLE = "EXAMPLE_PROMPTS"


def whole_prompt(prompt: str | None) -> str:
    """Return the prompt from the argument, followed by that from stdin if it is not a terminal.

    Raises:
        UsageError: If there is no prompt.
        TuiChatError: If stdin is not text, or too long.
    """
    parts = [prompt or ""]
    if sys.stdin is not None and not sys.stdin.closed and not is_terminal(sys.stdin):
        parts.append(_piped_text())
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise UsageError(
            "There is nothing to ask", "The prompt is empty", "Give it as an argument or on stdin"
        )
    return text


def _piped_text() -> str:
    try:
        data = sys.stdin.buffer.read(_MAX_INPUT_BYTES + 1)
        if len(data) > _MAX_INPUT_BYTES:
            raise TuiChatError(
                "Standard input is too long", "It has more than 16 MiB", "Send a part of it"
            )
        return data.decode("utf-8-sig")
    except OSError as error:
        raise TuiChatError("Standard input could not be read", error.strerror or "") from None
    except UnicodeDecodeError as error:
        raise TuiChatError(
            "Standard input is not text", f"Byte {error.start} is not UTF-8", "Convert it first"
        ) from None


def scripted_prompts(path: Path | None, environ: Mapping[str, str]) -> list[str] | None:
    """Return the prompts from `--script`, or else from EXAMPLE_PROMPTS; None if neither is given.

    Raises:
        UsageError: If the variable is not a JSON list of strings.
        TuiChatError: If the file cannot be read.
    """
    if path is not None:
        try:
            return path.read_text("utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            shown = safe_line(str(path), 160)
            raise TuiChatError("The script could not be read", f"{shown}: {reason}") from None
    text = environ.get(_PROMPTS_VARIABLE, "")
    if not text:
        return None
    try:
        prompts = json.loads(text)
    except (ValueError, RecursionError):
        prompts = None
    if not isinstance(prompts, list) or not all(isinstance(item, str) for item in prompts):
        raise UsageError(
            f"{_PROMPTS_VARIABLE} is no JSON list of strings", "", 'Write it as ["Hello", "Why?"]'
        )
    return prompts


def piped_lines() -> Iterator[str]:
    """Yield the lines of stdin, each of which is a prompt."""
    if sys.stdin is None or sys.stdin.closed:
        return
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def typed_line(label: str) -> str:
    """Read a line as `input` does, with editing and history if the terminal supports them."""
    if os.environ.get("TERM", "dumb") != "dumb":
        import readline  # noqa: F401 - gives `input` editing and history
    return input(label)
