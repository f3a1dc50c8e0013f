"""The terminal of a random walk: what it shows, kept strictly and quickly enough for hours."""

from __future__ import annotations

import codecs
import os
import re
import select
import sys
import time
from collections import deque
from functools import lru_cache
from pathlib import Path

from wcwidth import wcwidth

from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.e2e.walk_fault import HANG_S, Fault

ROWS, COLUMNS = 30, 100
"""The size at which what is painted is compared."""
KEPT_BYTES = 1 << 16
"""Bytes of output that are kept for a report."""

_OUTPUT = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<private>[<>=?]?)(?P<numbers>[0-9;:]*)(?P<between>[ !\"$']*)(?P<final>[@-~])"
    r"|\x1b\](?P<command>[0-9]+);[^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|(?P<control>[\r\n\x07\b\t])"  # the last two are what the system echoes while nobody reads
    r"|(?P<keypad>\x1b[=>78cM])"
)
_BEGUN = re.compile(r"\x1b(?:\[[<>=?]?[0-9;:]*[ !\"$']*|\][^\x07\x1b]*\x1b?)?\Z")
_WIDE_FILL = ""


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    return wcwidth(character)


class Painted:
    """What a terminal shows: characters alone, strictly and quickly.

    Args:
        rows: Its height.
        columns: Its width.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.unknown = ""
        """The first output that no terminal should get."""
        self._row = self._column = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._begun = ""

    @property
    def lines(self) -> list[str]:
        """The rows as texts."""
        return ["".join(row).rstrip() for row in self.cells]

    def resize(self, rows: int, columns: int) -> None:
        """Another size; what is inside stays."""
        kept = [[*row[:columns], *[" "] * (columns - len(row))] for row in self.cells[:rows]]
        self.cells = [*kept, *([" "] * columns for _ in range(rows - len(kept)))]
        self.rows, self.columns = rows, columns
        self._move(self._row, self._column)

    def feed(self, data: bytes) -> None:
        """Take output of the program."""
        text = self._begun + self._decoder.decode(data)
        begun = _BEGUN.search(text)
        end = begun.start() if begun else len(text)
        self._begun = text[end:]
        at = 0
        while at < end:
            found = _OUTPUT.match(text, at, end)
            if found is None:
                self.unknown = self.unknown or text[max(0, at - 20) : at + 40]
                at += 1
                continue
            at = found.end()
            if found["text"] is not None:
                self._put(found["text"])
            elif found["final"] is not None:
                self._obey(found["private"], found["numbers"], found["final"])
            elif found["control"] == "\r":
                self._column = 0
            elif found["control"] == "\n":
                self._move(self._row + 1, self._column)
            elif found["control"] == "\b":
                self._move(self._row, self._column - 1)

    def _move(self, row: int, column: int) -> None:
        self._row = max(0, min(row, self.rows - 1))
        self._column = max(0, min(column, self.columns - 1))

    def _put(self, text: str) -> None:
        row, at = self.cells[self._row], self._column
        if text.isascii() and at + len(text) <= self.columns:
            self._free(row, at, at + len(text))
            row[at : at + len(text)] = text
            self._column = at + len(text)
            return
        for character in text:
            width = _width(character)
            if width <= 0:
                before = max(0, at - 1)
                before -= row[before] == _WIDE_FILL and before > 0
                row[before] += character
                continue
            at = min(at, self.columns - width)
            if at < 0:
                break
            self._free(row, at, at + width)
            row[at : at + width] = [character, *[_WIDE_FILL] * (width - 1)]
            at += width
        self._column = at

    def _free(self, row: list[str], start: int, end: int) -> None:
        """Take away the halves of wide characters that are written over."""
        if start < len(row) and row[start] == _WIDE_FILL:
            row[start - 1] = " "
        if end < len(row) and row[end] == _WIDE_FILL:
            row[end] = " "

    def _obey(self, private: str, numbers: str, final: str) -> None:
        if private:
            return
        values = [int(n) for n in numbers.split(";") if n.isdigit()]
        if final in "Hf":
            row, column = [*values, 1, 1][:2] if values else (1, 1)
            self._move(row - 1, column - 1)
        elif final == "J" and (values or [0])[0] in (2, 3):
            self.cells = [[" "] * self.columns for _ in range(self.rows)]
        elif final == "K":
            way = (values or [0])[0]
            cells = self.cells[self._row]
            first = self._column if way == 0 else 0
            last = self._column + 1 if way == 1 else self.columns
            cells[first:last] = [" "] * (last - first)
        elif final in "ABCD":
            count = (values or [1])[0] or 1
            down, right = {"A": (-1, 0), "B": (1, 0), "C": (0, 1), "D": (0, -1)}[final]
            self._move(self._row + down * count, self._column + right * count)
        elif final not in "mhlutnc" and final != "p":
            self.unknown = self.unknown or f"CSI {numbers}{final}"


class WalkTerminal(PseudoTerminal):
    """A program in a pseudo-terminal that can go on for hours.

    Args:
        file: The script of the program, see `scripted_program`.
        environ: The whole environment.
        home: Where the program runs.
    """

    def __init__(self, file: Path, environ: dict[str, str], home: Path) -> None:
        super().__init__(
            [str(file)],
            environ,
            (ROWS, COLUMNS),
            (sys.executable, "-m", "tests.e2e.scripted_program"),
            home,
        )
        self.painted = Painted(ROWS, COLUMNS)
        self.is_open = True
        self.taken = 0
        """Bytes that have come."""
        self.sent: deque[tuple[float, bytes]] = deque(maxlen=24)
        """What was written last, and when."""

    @property
    def lines(self) -> list[str]:
        """The screen, read anew."""
        self.read()
        return self.painted.lines

    def _feed(self, data: bytes) -> None:
        self.taken += len(data)
        self.output = self.output[-KEPT_BYTES:]
        self.painted.feed(data)

    def read(self, wait_s: float = 0.0) -> bool:
        """Take what the program has written; False once it has closed the terminal."""
        if self.is_open:
            self.is_open = super().read(wait_s)
        return self.is_open

    def send(self, data: bytes) -> None:
        """Write to the program, while reading what it paints.

        Raises:
            Fault: If it takes nothing for a long time.
        """
        limit = time.monotonic() + HANG_S
        self.sent.append((time.monotonic(), data))
        descriptor = self.child.child_fd
        while data and self.is_open:
            if select.select([], [descriptor], [], 0.01)[1]:
                try:
                    data = data[os.write(descriptor, data[:1024]) :]
                except OSError:
                    self.is_open = False
            self.read()
            if time.monotonic() > limit:
                raise Fault("hang", "the program reads no keys")

    def resize(self, rows: int, columns: int) -> None:
        """Another size of the window."""
        if self.is_open:
            self.painted.resize(rows, columns)
            self.child.setwinsize(rows, columns)

    def rest(self, quiet_s: float = 0.05, most_s: float = 1.0) -> None:
        """Read until nothing has come for a while."""
        limit = time.monotonic() + most_s
        before = -1
        while before != self.taken and self.is_open and time.monotonic() < limit:
            before = self.taken
            self.read(quiet_s)
