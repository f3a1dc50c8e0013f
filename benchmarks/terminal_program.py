"""The real program in a pseudo-terminal, with the screen that a user would see.

Waits by reading, never by sleeping, so times are those of the program.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import ptyprocess
import pyte


class TerminalProgram:
    """A program in a pseudo-terminal of its own.

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
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        env.update(environment or {})
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.started = time.perf_counter()
        self._process = ptyprocess.PtyProcess.spawn(list(argv), env=env, dimensions=(rows, columns))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill(signal.SIGKILL)
        self._process.wait()
        self._process.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid)

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(self._screen.display)

    def send(self, keys: str) -> None:
        """Press keys, given as the bytes that a terminal sends."""
        self._process.write(keys.encode())

    def pump(self, limit: float) -> bool:
        """Read what has arrived, waiting at most `limit` seconds; False if nothing came."""
        ready, _, _ = select.select([self._process.fd], [], [], limit)
        if not ready:
            return False
        self._stream.feed(os.read(self._process.fd, 65536))
        return True

    def skip_to(self, written: str) -> None:
        """Read until the program has written so, without following its screen.

        To follow the screen takes a processor of its own, which the program may need.
        """
        wanted, end = written.encode(), b""
        while wanted not in end:
            end = end[-len(wanted) :] + os.read(self._process.fd, 65536)

    def quit(self) -> None:
        """Leave it with Ctrl+Q, and wait until it has saved everything and ended."""
        self.send("\x11")
        with suppress(OSError):  # how Linux tells that nobody is left at the other end
            while os.read(self._process.fd, 65536):
                pass
        self._process.wait()

    def wait_for(self, predicate: Callable[[str], object], limit: float = 120.0) -> float:
        """Read until the screen fulfils the predicate; returns the time, `time.perf_counter`.

        Raises:
            TimeoutError: If it does not within `limit` seconds, with the screen.
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
