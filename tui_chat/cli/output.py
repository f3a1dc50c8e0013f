"""Output of commands: data on stdout, progress and errors on stderr.

The functions print JSON, text and plain tables; a terminal never receives control characters from
data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line, safe_text


def require_output() -> None:
    """Check that the program was not started with stdout closed.

    Raises:
        TuiChatError: If stdout is closed.
    """
    if sys.stdout is None:
        raise TuiChatError(
            "Standard output is closed", "There is nowhere to print to", "Redirect it to a file"
        )


def print_json(value: Any) -> None:
    """Print one JSON value on one line, in ASCII, so that it cannot steer a terminal."""
    require_output()
    import json  # not needed by the full-screen chat

    print(json.dumps(value, ensure_ascii=True, allow_nan=False))


def print_text(text: str) -> None:
    """Print a text: unchanged to a file or a pipe, cleaned to a terminal."""
    require_output()
    sys.stdout.write(safe_text(text) if is_terminal(sys.stdout) else text)
    if not text.endswith("\n"):
        sys.stdout.write("\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns without lines or colours, aligned by their width in terminal cells."""
    require_output()
    from rich.cells import cell_len

    table = [list(header), *([safe_line(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(row[i]) for row in table) for i in range(len(header))]
    for row in table:
        cells = [cell + " " * (widths[i] - cell_len(cell)) for i, cell in enumerate(row)]
        print("  ".join(cells).rstrip())


def complain(line: str) -> None:
    """Print one line about a failure to stderr."""
    _to_stderr(f"tui-chat: {safe_line(line)}")


def narrate(line: str) -> None:
    """Print a line of progress to stderr if it is a terminal."""
    if is_terminal(sys.stderr):
        _to_stderr(safe_line(line))


def is_terminal(stream: Any) -> bool:
    """Return whether a standard stream is a terminal; False for a closed one."""
    try:
        return stream is not None and bool(stream.isatty())
    except ValueError:
        return False


def _to_stderr(line: str) -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
