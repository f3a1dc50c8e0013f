"""A program in a pseudo-terminal of its own, as a terminal window runs it.

Owns the terminal's other end: what the program writes has to be read, or it stops. Refuses to
understand what is written.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from tui_chat.errors import TuiChatError

_PIECE = 65536


class PseudoTerminal:
    """Starts the program at once; it is killed when the block ends.

    Args:
        argv: The program and its arguments.
        environment: Laid over the environment of this process.
        columns: Width of the screen in cells.
        rows: Height of the screen in cells.
        pass_fds: File descriptors that the program gets, by the same numbers.

    Raises:
        TuiChatError: If this system has no pseudo-terminals.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        columns: int = 100,
        rows: int = 30,
        pass_fds: Sequence[int] = (),
    ) -> None:
        try:
            import termios

            self.fd, inner = os.openpty()
        except (ImportError, OSError, AttributeError) as error:
            raise TuiChatError(
                "No pseudo-terminal can be opened", str(error), "Measure without the screen"
            ) from None
        termios.tcsetwinsize(inner, (rows, columns))
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        env.update(environment or {})
        self.started = time.perf_counter()
        """When it was started."""
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=inner,
                stdout=inner,
                stderr=inner,
                env=env,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        except BaseException:
            os.close(self.fd)
            raise
        finally:
            os.close(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self.fd)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, keys: str) -> None:
        """Press keys, given as the bytes that a terminal sends."""
        data = keys.encode()
        while data:
            data = data[os.write(self.fd, data) :]

    def read(self, limit: float | None = None) -> bytes | None:
        """What the program has written since, waiting for at most `limit` seconds.

        Returns:
            Nothing (`b""`) if nothing came in time; None once the program has closed the terminal.
        """
        if not select.select([self.fd], [], [], limit)[0]:
            return b""
        with suppress(OSError):  # how Linux tells that nobody is left at the other end
            return os.read(self.fd, _PIECE) or None
        return None

    def skip_to(self, written: str) -> None:
        """Read until the program has written so, without following its screen.

        To follow the screen takes a processor of its own, which the program may need.

        Raises:
            EOFError: If it ends before.
        """
        wanted, end = written.encode(), b""
        while wanted not in end:
            if (piece := self.read()) is None:
                raise EOFError(f"the program ended before it wrote {written!r}")
            end = end[-len(wanted) :] + piece

    def quit(self, limit: float = 30.0) -> None:
        """Leave it with Ctrl+Q, and wait until it has saved everything and ended.

        Args:
            limit: Seconds after which it is ended as a closed window would.
        """
        self.send("\x11")
        deadline = time.perf_counter() + limit
        while (left := deadline - time.perf_counter()) > 0 and self.read(left) is not None:
            pass
        if left <= 0:
            self._process.send_signal(signal.SIGHUP)
        self._process.wait(limit)
