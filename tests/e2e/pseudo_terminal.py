"""The real program in a pseudo-terminal: real keys in, the screen as a person would see it out."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import pexpect
import pyte

PATIENCE_S = 40.0
"""How long anything may take on a busy machine before a test gives up."""
KEYS = {
    "Enter": "\r", "Esc": "\x1b", "Up": "\x1b[A", "Down": "\x1b[B", "Right": "\x1b[C",
    "Left": "\x1b[D", "F1": "\x1bOP", "F2": "\x1bOQ", "F3": "\x1bOR", "F4": "\x1bOS",
    "F6": "\x1b[17~", "F9": "\x1b[20~", "Delete": "\x1b[3~", "Backspace": "\x7f", "PgUp": "\x1b[5~",
    **{f"Ctrl+{letter}": chr(ord(letter) - 64) for letter in "ACGJLNOPQR"},
}  # fmt: skip
LEAVE_SCREEN = b"\x1b[?1049l"

_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$[a-z]")
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;?<>=$]*)?\Z")


class PseudoTerminal:
    """A program in a pseudo-terminal of its own.

    Args:
        arguments: The command line of tui-chat; or with `program`, of that.
        environ: The whole environment.
        size: Rows and columns.
        program: What to run instead of tui-chat.
        folder: Where it runs; here if None.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        size: tuple[int, int] = (30, 100),
        program: Sequence[str] = (sys.executable, "-m", "tui_chat"),
        folder: Path | None = None,
    ) -> None:
        self.output = b""
        """Every byte that the program has written."""
        command = [*program, *arguments]
        self.child = pexpect.spawn(
            command[0],
            command[1:],
            env=dict(environ),
            dimensions=size,
            timeout=PATIENCE_S,
            cwd=folder,
        )
        self.modes = termios.tcgetattr(self.child.child_fd)
        """The terminal's modes before the program could change them."""
        self._screen = pyte.Screen(size[1], size[0])
        self._stream = pyte.ByteStream(self._screen)
        self._pending = b""
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_closed:
            return
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
        self.child.close(force=True)

    def close_window(self) -> int:
        """Close the terminal under the program, as closing its window does.

        Returns:
            The exit code of the program, or minus its signal.
        """
        self.child.ptyproc.fileobj.close()
        self.child.closed = self.child.ptyproc.closed = self._is_closed = True
        limit = time.monotonic() + PATIENCE_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < limit, "the program goes on without a terminal"
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        """The program's process."""
        return int(self.child.pid)

    @property
    def lines(self) -> list[str]:
        """The screen, read anew."""
        self.read()
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines)

    def read(self, wait_s: float = 0.0) -> bool:
        """Take what the program has written; False once it has closed the terminal."""
        while select.select([self.child.child_fd], [], [], wait_s)[0]:
            try:
                data = os.read(self.child.child_fd, 65536)
            except OSError:
                return False
            if not data:
                return False
            self.output += data
            self._feed(data)
            wait_s = 0.0
        return True

    def _feed(self, data: bytes) -> None:
        data = _UNKNOWN_TO_PYTE.sub(b"", self._pending + data)
        unfinished = _UNFINISHED.search(data)
        cut = unfinished.start() if unfinished else len(data)
        self._pending = data[cut:]
        self._stream.feed(data[:cut])

    def keys(self, *names: str) -> None:
        """Press keys by name, or type a text that is no name."""
        for name in names:
            os.write(self.child.child_fd, KEYS.get(name, name).encode())

    def send(self, data: bytes) -> None:
        """Write bytes as they are, and take what the program writes meanwhile."""
        limit = time.monotonic() + PATIENCE_S
        while data:
            _, can_write, _ = select.select([], [self.child.child_fd], [], 0.02)
            if can_write:
                data = data[os.write(self.child.child_fd, data[:4000]) :]
            self.read()
            assert time.monotonic() < limit, f"the program takes no input\n{self.text}"

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until something is so; the screen is in the message if it never is."""
        limit = time.monotonic() + PATIENCE_S
        while not is_so():
            is_open = self.read(0.02)
            if time.monotonic() > limit or (not is_open and not is_so()):
                raise AssertionError(
                    f"never happened: {what}\n{self.text}\n{self.output[-2000:]!r}"
                )

    def wait_for(self, pattern: str) -> str:
        """Wait until the screen shows a regular expression; returns what it matched."""
        found: list[str] = []

        def shown() -> bool:
            match = re.search(pattern, self.text, re.MULTILINE)
            found[:] = [match[0]] if match else []
            return match is not None

        self.wait_until(shown, f"the screen shows {pattern!r}")
        return found[0]

    def wait_gone(self, pattern: str) -> None:
        """Wait until the screen does not show a regular expression."""
        self.wait_until(
            lambda: re.search(pattern, self.text, re.MULTILINE) is None, f"{pattern!r} is gone"
        )

    def wait_exit(self) -> int:
        """Wait until the program has ended; returns its exit code, or minus its signal."""
        limit = time.monotonic() + PATIENCE_S
        while self.child.isalive():
            self.read(0.01)
            assert time.monotonic() < limit, f"does not end\n{self.text}"
        self.read()
        if self.child.signalstatus is not None:
            return -int(self.child.signalstatus)
        return int(self.child.exitstatus)

    def has_its_modes_back(self) -> bool:
        """Whether the terminal's modes are what they were before."""
        return termios.tcgetattr(self.child.child_fd) == self.modes


def environment(home: Path, **variables: str) -> dict[str, str]:
    """A small, predictable environment with its own home."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ
    }
    return {
        **kept,
        "HOME": str(home),
        "TUI_CHAT_HOME": str(home / "tui-chat"),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "TEXTUAL_ANIMATIONS": "none",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        "TUI_CHAT_TURBO": "false",
        **variables,
    }
