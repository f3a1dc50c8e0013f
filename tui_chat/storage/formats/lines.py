"""A reader for plain or gzip-compressed text files from outside, line by line in bounded memory.

Lines longer than a limit are skipped and reported. A file that has to be read as a whole raises an
error if it is longer than a limit.
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
"""Maximum length of a line, in bytes."""
LARGEST_WHOLE = 256 * 2**20
"""Maximum length of a file that is read as a whole, in bytes after decompression."""
Refuse = Callable[[int, str], None]
"""Callback with the number of a line, from 1, and the reason why it is not imported."""


class LineFile:
    """A text file that is open for reading; the `with` statement closes it.

    Args:
        path: The file. Its first bytes show whether it is compressed with gzip.

    Raises:
        StoreError: If the file cannot be opened.
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
        """Number of the current line for error messages; 0 while lines are not counted."""
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
        """Number of bytes read so far of the `size` bytes on the disk, before decompression."""
        return min(self._raw.tell(), self.size)

    def begin(self) -> None:
        """Go back to the beginning of the file."""
        self._line = 0
        self._file.seek(0)

    def lines(self, refuse: Refuse, longest: int = LONGEST_LINE) -> Iterator[tuple[int, str]]:
        """Yield the number and the text of each line that is not blank.

        Args:
            refuse: Called for each line that is too long or not UTF-8.
            longest: Maximum length of a line, in bytes.

        Raises:
            StoreError: If reading or decompressing the file fails.
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
        """Return the rest of the text from the current position.

        Args:
            largest: Maximum length, in bytes after decompression.

        Raises:
            StoreError: If the text is too long or not UTF-8, or reading it fails.
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
        """Read the next line, but at most `limit` bytes; return nothing at the end of the file."""
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
