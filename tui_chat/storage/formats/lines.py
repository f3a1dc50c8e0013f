"""Files from outside, read a line at a time in bounded memory, compressed or not.

Owns the limits on what is read: a longer line is skipped and told, a longer file is refused where
it has to be read as a whole. Refuses to know what the lines mean.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Self

from tui_chat.errors import StoreError
from tui_chat.safe_text import safe_line

LONGEST_LINE = 16 * 2**20
"""Bytes of a line; one more is too many."""
LARGEST_WHOLE = 256 * 2**20
"""Bytes of a file that has to be read as a whole."""
Refuse = Callable[[int, str], None]
"""Told the number of a line, counted from 1, and why what it says is not imported."""


class LineFile:
    """A file that is read in lines; `with` closes it.

    Args:
        path: The file. Whether it is compressed is seen from what it begins with.

    Raises:
        StoreError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._raw: IO[bytes] = path.open("rb")
            magic = self._raw.read(2)
            self._raw.seek(0)
            self.size = path.stat().st_size
        except OSError as error:
            raise self._unreadable(error.strerror or type(error).__name__) from None
        self._line = 0
        """The line that is read; 0 where lines are not counted."""
        self._file: IO[bytes] = self._raw
        if magic == b"\x1f\x8b":
            self._file = io.BufferedReader(gzip.GzipFile(fileobj=self._raw))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._raw.close()

    @property
    def position(self) -> int:
        """How many bytes of the file have been read, of `size`."""
        return min(self._raw.tell(), self.size)

    def begin(self) -> None:
        """Read from the beginning again."""
        self._line = 0
        self._file.seek(0)

    def lines(self, refuse: Refuse, longest: int = LONGEST_LINE) -> Iterator[tuple[int, str]]:
        """Each line that is not empty with its number; those that cannot be read are refused.

        Raises:
            StoreError: If the file cannot be read on.
        """
        number = 0
        while True:
            number += 1
            self._line = number
            line = self._piece(longest + 1)
            if not line:
                return
            if len(line) > longest and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = self._piece(2**20)
                refuse(number, f"The line is longer than {_shown_size(longest)}")
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                text = line.decode("utf-8").strip(" \t\r\n")
            except UnicodeDecodeError:
                refuse(number, "The line is not UTF-8")
                continue
            if text:
                yield number, text

    def whole(self, largest: int = LARGEST_WHOLE) -> str:
        """The whole text.

        Raises:
            StoreError: If it is too long, not UTF-8, or cannot be read.
        """
        pieces: list[bytes] = []
        room = largest
        while piece := self._piece(2**20):
            room -= len(piece)
            if room < 0:
                raise self._unreadable(f"It is larger than {_shown_size(largest)}")
            pieces.append(piece)
        try:
            return b"".join(pieces).removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        except UnicodeDecodeError:
            raise self._unreadable("It is not UTF-8") from None

    def _piece(self, limit: int) -> bytes:
        """The next line, or as much of it as the limit allows."""
        try:
            return self._file.readline(limit)
        except (OSError, EOFError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            place = f" in line {self._line}" if self._line else ""
            raise self._unreadable(f"{reason or 'Its compressed data is damaged'}{place}") from None

    def _unreadable(self, reason: str) -> StoreError:
        name = safe_line(str(self.path), 200)
        return StoreError(f"{name} cannot be read", reason, "Nothing after this place is imported")


def _shown_size(size: int) -> str:
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size} bytes"
