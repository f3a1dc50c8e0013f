"""The real program in a pseudo-terminal, with the screen that a user would see.

Waits by reading, never by sleeping, so times are those of the program.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

from benchmarks.pseudo_terminal import PseudoTerminal


class TerminalProgram(PseudoTerminal):
    """A program in a pseudo-terminal of its own, whose screen is followed where that is asked for.

    Args:
        argv: The program and its arguments.
        environment: Laid over the environment of this process.
        columns: Width of the screen in cells.
        rows: Height of the screen in cells.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        columns: int = 100,
        rows: int = 30,
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        super().__init__(argv, environment, columns, rows)

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(self._screen.display)

    def pump(self, limit: float) -> None:
        """Draw what arrives within `limit` seconds.

        Raises:
            EOFError: If the program has ended.
        """
        written = self.read(limit)
        if written is None:
            raise EOFError("the program has ended:\n" + self.text)
        self.feed(written)

    def feed(self, written: bytes) -> None:
        """Draw what the program has written."""
        self._stream.feed(written)

    def wait_for(self, predicate: Callable[[str], object], limit: float = 120.0) -> float:
        """Read until the screen fulfils the predicate; returns the time, `time.perf_counter`.

        Raises:
            TimeoutError: If it does not within `limit` seconds, with the screen.
            EOFError: If the program ends before.
        """
        end = time.perf_counter() + limit
        while not predicate(self.text):
            if time.perf_counter() > end:
                raise TimeoutError("the screen never showed it:\n" + self.text)
            self.pump(0.5)
        return time.perf_counter()


def chat_argv(*options: str) -> list[str]:
    """The command that opens the chat with this interpreter."""
    return [sys.executable, "-m", "tui_chat", *options]
