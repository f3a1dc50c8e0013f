"""Ownership of the terminal while the full-screen program runs, and its restoration afterwards.

File descriptors 1 and 2 are redirected to the log, so that native code cannot write over the
screens. The signals INT, TERM, HUP and QUIT, and a closed terminal, ask the program to end and
start a countdown. If the program has not ended by then, because its event loop is blocked or the
terminal accepts no output, the process is ended from here. Modes and screen are restored either
way.
"""

from __future__ import annotations

import io
import logging
import os
import select
import signal
import sys
import termios
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from tui_chat.errors import UsageError
from tui_chat.logs import LogFile
from tui_chat.terminal.ending import end_process, flush_output

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end the program in an orderly way, with exit code 128 + n."""
DEADLINE_S = 2.0
"""Seconds that the process may live after a signal."""
_AGAIN_S = 0.2
"""Seconds after which a second signal ends the process at once; a closed terminal sends several."""
_LAST_S = 0.4
"""Seconds of the deadline kept for saving if the program has not ended by itself."""

_LEAVE = (
    "\x1b[?2026l"  # end a synchronised update
    "\x1b[?2004l\x1b[?2048l\x1b[?7h"  # no bracketed paste, no resize reports, wrap lines
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # no mouse
    "\x1b[<u\x1b[?1049l"  # keyboard protocol, then alternate screen
    "\x1b[?25h\x1b[?1004l\x1b[0m"  # cursor, no focus reports, plain text
)
"""Resets the modes that Textual's driver sets; harmless where they were not set."""

log = logging.getLogger(__name__)
OnSignal = Callable[[int], None]


def require_terminal(environ: Mapping[str, str] | None = None) -> None:
    """Check that a full-screen program can run here.

    Raises:
        UsageError: If standard input or output is not a terminal, or the terminal cannot position
            the cursor.
    """
    environ = os.environ if environ is None else environ
    hint = "Use `tui-chat chat --plain` for a line-by-line chat, or `tui-chat ask` for one reply"
    for name, descriptor in (("input", 0), ("output", 1)):
        if not _is_terminal(descriptor):
            raise UsageError(
                "The full-screen chat needs a terminal", f"Standard {name} is none", hint
            )
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        shown = f"TERM is {term}" if term else "TERM is not set"
        raise UsageError("The full-screen chat needs a terminal that can place text", shown, hint)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


class OwnedTerminal:
    """The terminal while a full-screen program uses it. Create it with `owned_terminal`.

    Args:
        on_end: Saves everything and stops background work, within `DEADLINE_S`; called in a thread
            of its own after a signal or when the terminal was closed.
        log_file: Receives what is written to descriptors 1 and 2; None discards it.
    """

    def __init__(self, on_end: Callable[[], object], log_file: LogFile | None) -> None:
        self.signum = 0
        """The signal that ended the program; SIGHUP for a closed terminal, 0 for none."""
        self._on_end = on_end
        self._log_file = log_file
        self._program: tuple[AbstractEventLoop, OnSignal] | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._signalled_at = 0.0
        self._is_restored = False
        self._is_lent = False
        self._modes = termios.tcgetattr(0)
        self._output = os.dup(1)
        self._screen = _Output(self._output)
        self._saved = (os.dup(1), os.dup(2))
        self._streams = (sys.__stdout__, sys.__stderr__)
        self._handlers: dict[int, Any] = {}
        self._wake_read, self._wake_write = os.pipe()
        self._watcher = threading.Thread(target=self._watch, name="terminal-watch", daemon=True)

    # For the program

    def on_signal(self, loop: AbstractEventLoop, callback: OnSignal) -> None:
        """Call `callback` on the loop when a signal arrives, or at once if one already has."""
        self._program = (loop, callback)
        if self.signum:
            self._tell_program()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Restore descriptors 1 and 2 in this block, for a child process such as an editor.

        The program must leave its screen modes first, as `App.suspend` does. Meanwhile INT and QUIT
        are ignored here, since they are meant for the child.
        """
        self._is_lent = True
        self._point_back()
        try:
            yield
        finally:
            self._redirect()
            self._is_lent = False

    # Taking and giving back

    def take(self) -> None:
        """Redirect output, install the signal handlers, and watch for the terminal being closed."""
        flush_output()
        # Textual writes to sys.__stderr__ and measures sys.__stdout__.
        setattr(sys, "__stdout__", self._screen)  # noqa: B010 - read-only for mypy
        setattr(sys, "__stderr__", self._screen)  # noqa: B010
        self._redirect()
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, self._on_signal)
        self._watcher.start()

    def give_back(self, is_clean: bool) -> None:
        """Restore everything that `take` changed. Later calls do nothing.

        Args:
            is_clean: Whether the program has left its screen modes by itself.
        """
        with self._lock:
            if self._is_restored:
                return
            self._is_restored = True
        self._restore_terminal(is_clean)
        self._point_back()
        setattr(sys, "__stdout__", self._streams[0])  # noqa: B010
        setattr(sys, "__stderr__", self._streams[1])  # noqa: B010
        self._ended.set()
        os.write(self._wake_write, b".")
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _redirect(self) -> None:
        if self._log_file is not None:
            with suppress(OSError):
                self._log_file.follow(1, 2)
                return
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)

    def _point_back(self) -> None:
        if self._log_file is not None:
            self._log_file.unfollow()
        for descriptor, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, descriptor)

    def _restore_terminal(self, is_clean: bool) -> None:
        if not is_clean and self._screen.was_used:
            _write_soon(self._output, _LEAVE.encode())
        # Without blocking SIGTTOU, tcsetattr would stop a process that runs in the background.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        with suppress(termios.error, OSError):
            termios.tcsetattr(0, termios.TCSANOW, self._modes)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    # Ending

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._is_lent and number in (signal.SIGINT, signal.SIGQUIT):
            return
        if not self.signum:
            self._begin_to_end(number)
        elif number != signal.SIGHUP and time.monotonic() - self._signalled_at > _AGAIN_S:
            self._end_process()  # the user insists

    def _begin_to_end(self, number: int) -> None:
        self.signum = number
        self._signalled_at = time.monotonic()
        threading.Thread(target=self._count_down, name="terminal-end", daemon=True).start()
        self._tell_program()

    def _tell_program(self) -> None:
        if self._program is not None:
            loop, callback = self._program
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(callback, self.signum)

    def _count_down(self) -> None:
        """Wait for the program to end; if it does not, save and end the process."""
        log.info("ending because of %s", signal.Signals(self.signum).name)
        left = DEADLINE_S
        if self._program is not None and not self._is_closed():
            if self._ended.wait(DEADLINE_S - _LAST_S):
                return
            left = _LAST_S
        saving = threading.Thread(target=self._save, name="terminal-save", daemon=True)
        saving.start()
        saving.join(left)
        self._end_process()

    def _save(self) -> None:
        try:
            self._on_end()
        except Exception:
            log.exception("saving at the end failed")

    def _end_process(self) -> NoReturn:
        self._restore_terminal(is_clean=False)
        end_process(128 + self.signum)

    def _watch(self) -> None:
        """Wait until the terminal is closed, which need not send a signal."""
        poll = select.poll()
        poll.register(self._output, 0)
        poll.register(self._wake_read, select.POLLIN)
        for descriptor, event in poll.poll():
            if descriptor == self._output and event and not self.signum:
                self._begin_to_end(signal.SIGHUP)

    def _is_closed(self) -> bool:
        poll = select.poll()
        poll.register(self._output, 0)
        return bool(poll.poll(0))


_owned: OwnedTerminal | None = None


@contextmanager
def owned_terminal(
    on_end: Callable[[], object], log_file: LogFile | None = None
) -> Iterator[OwnedTerminal]:
    """Own the terminal in this block, and restore it afterwards.

    Call it in the main thread, with a terminal on descriptors 0 and 1.

    Args:
        on_end: See `OwnedTerminal`.
        log_file: See `OwnedTerminal`.
    """
    global _owned
    terminal = OwnedTerminal(on_end, log_file)
    terminal.take()
    _owned = terminal
    is_clean = False
    try:
        yield terminal
        is_clean = True
    finally:
        _owned = None
        terminal.give_back(is_clean)


def on_signal(loop: AbstractEventLoop, callback: OnSignal) -> None:
    """Register a callback for signals that ask the program to end; does nothing without ownership.

    Args:
        loop: The event loop of the program.
        callback: Called on the loop with the signal number; ends the program with exit code 128 +
            the number.
    """
    if _owned is not None:
        _owned.on_signal(loop, callback)


@contextmanager
def lent_terminal() -> Iterator[None]:
    """Let a child process, such as an editor, write to the terminal in this block.

    The program must leave its screen modes first, as `App.suspend` does.
    """
    if _owned is None:
        yield
    else:
        with _owned.lent():
            yield


class _Output(io.TextIOWrapper):
    """A text stream for a terminal that does not close its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.was_used = False
        raw = io.FileIO(descriptor, "w", closefd=False)
        super().__init__(io.BufferedWriter(raw), "utf-8", "replace", newline="")

    def write(self, text: str, /) -> int:
        self.was_used = True
        return super().write(text)


def _write_soon(descriptor: int, data: bytes) -> None:
    """Write to a terminal, unless it accepts no output because it is stopped or closed."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if any(event & select.POLLOUT for _, event in poll.poll(100)):
        with suppress(OSError):
            os.write(descriptor, data)
