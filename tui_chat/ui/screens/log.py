"""The log screen (Ctrl+L), which shows the end of the log file and follows it.

The file holds the log of the engine and its libraries. The screen reads its last `MOST_BYTES`
again whenever it has changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.types import CSSPathType

from tui_chat.safe_text import safe_line, safe_text
from tui_chat.ui.screens.sheet import CLOSE, Sheet
from tui_chat.ui.widgets.line_view import LineView, wrapped

MOST_LINES = 2_000
"""Most lines that are shown."""
MOST_BYTES = 1024 * 1024
"""Most bytes that are read from the end of the file."""
LONGEST_LINE = 2_000
"""Most characters of a line that are shown."""
REFRESH_S = 0.5
"""Seconds between two checks of the file."""

_TONES = (("ERROR", "$error"), ("CRITICAL", "$error"), ("WARNING", "$warning"))


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of a log file."""

    lines: tuple[str, ...]
    """The lines, oldest first, with control characters made visible."""
    is_cut: bool
    """Whether the file has earlier lines that are left out."""
    stamp: tuple[int, int, int]
    """Inode, size and modification time in nanoseconds; they differ once the file has changed."""


class LogScreen(Sheet[None]):
    """Shows a log file and follows it.

    Args:
        path: The log file, which need not exist yet.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "log.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy_path", "Copy path", id="log_copy_path",
                tooltip="Copies the path of the log file."),
        Binding("end", "follow", "Follow", id="log_follow",
                tooltip="Goes to the newest line and follows it."),
        Binding("ctrl+l", "close", "Close", show=False),
        CLOSE,
    ]  # fmt: skip

    def __init__(self, path: Path) -> None:
        super().__init__("Log")
        self._path = path
        self._tail: LogTail | None = None

    def compose_body(self) -> ComposeResult:
        """Compose the view of the lines."""
        yield LineView(follow=True, id="lines")

    def on_mount(self) -> None:
        """Start reading the file, and checking it for changes."""
        super().on_mount()
        self.add_class("-tall-sheet")
        self.note = str(self._path)
        self.say("reading…")
        self._look()
        self.set_interval(REFRESH_S, self._look)

    def _look(self) -> None:
        known = None if self._tail is None else self._tail.stamp
        self.read(lambda: read_tail(self._path, known), self._show)

    def _show(self, tail: LogTail | None) -> None:
        if tail is None:  # nothing new
            return
        self._tail = tail
        if not tail.lines:
            self.say("Nothing has been logged yet.")
            return
        self.unsay()
        view = self.query_one(LineView)
        view.show_lines(lambda width: log_lines(tail, width))
        if not view.has_focus:
            view.focus()

    def action_follow(self) -> None:
        """Scroll to the newest line and follow it."""
        self.query_one(LineView).scroll_end(animate=False)

    def action_copy_path(self) -> None:
        """Copy the path of the log file."""
        self.copy_text(str(self._path))


def read_tail(path: Path, known: tuple[int, int, int] | None = None) -> LogTail | None:
    """Read the end of a log file.

    Args:
        path: The file. A missing file reads as an empty one.
        known: The stamp of the previous reading, if any.

    Returns:
        The end of the file; None if the file still has the stamp `known`.

    Raises:
        OSError: If the file exists and cannot be read.
    """
    try:
        with path.open("rb") as stream:
            state = os.fstat(stream.fileno())
            stamp = (state.st_ino, state.st_size, state.st_mtime_ns)
            if stamp == known:
                return None
            start = max(0, state.st_size - MOST_BYTES)
            stream.seek(start)
            data = stream.read(MOST_BYTES)
    except FileNotFoundError:
        stamp, start, data = (0, 0, 0), 0, b""
        if stamp == known:
            return None
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if start:
        del lines[0]  # reading began in the middle of this line
    if lines and not lines[-1]:
        del lines[-1]
    kept = lines[-MOST_LINES:]
    shown = tuple(safe_text(line[:LONGEST_LINE]).replace("\n", "␊") for line in kept)
    return LogTail(shown, bool(start) or len(lines) > len(kept), stamp)


def log_lines(tail: LogTail, width: int) -> list[Content]:
    """Return the lines wrapped to `width` cells, with warnings and errors coloured."""
    lines: list[Content] = []
    if tail.is_cut:
        text = safe_line("Older lines are in the file.")
        lines.append(Content.styled(text, "$text-muted"))
    for line in tail.lines:
        tone = next((colour for word, colour in _TONES if word in line[:80]), "")
        pieces = wrapped(line.expandtabs(4), width) or [""]
        lines += [Content.styled(piece, tone) if tone else Content(piece) for piece in pieces]
    return lines
