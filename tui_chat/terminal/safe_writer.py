"""Write streamed text to a terminal so that the pieces together are safe.

Cleaning each piece by itself is not enough, since CR LF or a stack of combining marks can be spread
over several pieces.
"""

from __future__ import annotations

from typing import IO

from tui_chat.safe_text import safe_text

_LONGEST_LINE = 4096
"""Longest line, in characters, that is cleaned again as a whole with each piece."""


class SafeWriter:
    """A writer for pieces of text that together cannot steer a terminal.

    Args:
        stream: The stream to write to.
        is_terminal: Whether the stream is a terminal; other streams receive the exact text.
    """

    def __init__(self, stream: IO[str], is_terminal: bool) -> None:
        self._stream = stream
        self._is_terminal = is_terminal
        self._line = ""
        self._shown = ""
        self.ends_line = True
        """Whether the last character written was a line break, or nothing has been written."""

    def write(self, piece: str) -> None:
        """Write a piece at once."""
        if self._is_terminal:
            self._write_safely(piece)
        else:
            self._put(piece)

    def end_line(self) -> None:
        """Begin a new line, unless the output is at the start of one."""
        self._line = self._shown = ""
        if not self.ends_line:
            self._put("\n")

    def _write_safely(self, piece: str) -> None:
        """Clean the line as a whole, and write what this piece adds to it."""
        self._line += piece
        held = "\r" if self._line.endswith("\r") else ""  # its LF may come with the next piece
        shown = safe_text(self._line.removesuffix(held) if held else self._line)
        self._put(shown[len(self._shown) :])
        self._shown = shown
        if len(self._line) > _LONGEST_LINE or shown.endswith("\n"):
            self._line, self._shown = held, ""

    def _put(self, text: str) -> None:
        if text:
            self.ends_line = text.endswith("\n")  # before writing, which a signal may interrupt
            self._stream.write(text)
            self._stream.flush()
