"""The terminal driver: Textual's own with a keyboard reader that survives any input.

It differs from `textual.drivers.linux_driver` (8.2.8) in four ways:

- Bytes that are not UTF-8, an escape sequence inside a paste, or any error while a key is read end
  or confuse Textual's input thread. Here `InputSplitter` cuts the bytes first, and an error costs
  only the piece that caused it.
- Esc stops a reply, and may also be the first byte of a sequence. Textual notices that nothing
  follows when it next looks at the clock, every 100 ms; this driver waits `ESCAPE_DELAY_S`.
- After a `SIGCONT` without a stop before it, as `kill -CONT` sends it, Textual starts a second
  input thread and takes the modes of the running program for those of the shell.
- Textual gives the terminal back inside the signal handler of `SIGTSTP`. If the signal comes while
  the loop writes to the terminal, the handler waits for ever for a lock that the loop holds. Here
  the loop itself does what the signals ask for.

This module would be unneeded if Textual handled input as `input_splitter` describes, let a program
set how long Esc waits, took the terminal only when it does not hold it, and stopped on its loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from textual import constants, events
from textual._xterm_parser import XTermParser  # there is no public way from bytes to events
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tui_chat.ui.textual_fixes.input_splitter import InputSplitter, Pasted, Piece, Sequence

log = logging.getLogger(__name__)

ESCAPE_DELAY_S = 0.025
"""Seconds that a lone Esc waits for the rest of a sequence. A terminal on the same machine
writes a sequence in one piece."""

_LOOK_S = 0.1
"""Seconds between two checks whether the program is ending."""
_MOST_BYTES = 64 * 1024
_USUAL_DELAY_S = constants.ESCAPE_DELAY
_ALT_ENTER = "\x1b\r"
"""Alt+Enter as a terminal without an extended keyboard protocol sends it. Textual reads two
keys, and the second would send the message instead of making a new line."""


def escape_delay(environ: Mapping[str, str] = os.environ) -> float:
    """Return the seconds that a lone Esc waits.

    The user's `ESCDELAY` (milliseconds, as in ncurses) takes precedence. Over a network, which may
    cut a sequence in two, Textual's own tenth of a second applies.
    """
    is_remote = any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "MOSH_CONNECTION"))
    return _USUAL_DELAY_S if is_remote or environ.get("ESCDELAY") else ESCAPE_DELAY_S


class PieceReader:
    """Turns the pieces of an `InputSplitter` into Textual's events."""

    def __init__(self) -> None:
        # `InputSplitter` delivers whole sequences, so the parser need not wait for more and `tick`
        # ends them at once. Textual declares this a constant but looks it up at every Esc.
        constants.ESCAPE_DELAY = 0.0  # type: ignore[misc]  # declared final
        self._parser = XTermParser()

    def events_of(self, piece: Piece) -> list[Message]:
        """Return the events of one piece; an error costs that piece and nothing else."""
        try:
            return list(self._read(piece))
        except Exception:  # Textual's parser calls `chr` with any number, for one
            log.warning("a key could not be read", exc_info=True)
            self._parser = _successor(self._parser)
            return []

    def _read(self, piece: Piece) -> Iterable[Message]:
        if isinstance(piece, Pasted):
            return [events.Paste(piece.text)]
        if piece.text == _ALT_ENTER:
            return [events.Key("alt+enter", None)]
        messages = list(self._parser.feed(piece.text))
        unread = list(self._parser.tick())
        if isinstance(piece, Sequence) and len(piece.text) > 2:
            return messages  # Textual would type an unknown sequence letter by letter
        return [*messages, *unread]


def _successor(parser: XTermParser) -> XTermParser:
    """Return a new parser with the terminal state of one that has failed."""
    fresh = XTermParser()
    fresh.last_x, fresh.last_y = parser.last_x, parser.last_y
    fresh.mouse_pixels = parser.mouse_pixels
    fresh.terminal_size = parser.terminal_size
    fresh.terminal_pixel_size = parser.terminal_pixel_size
    return fresh


class TerminalDriver(LinuxDriver):
    """Textual's driver with a keyboard reader of its own, which takes the terminal only once."""

    has_terminal = False
    """Whether the terminal is in the modes of this program."""
    _comes_back = False
    """Whether the program had the terminal when it was stopped."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        with suppress(RuntimeError, ValueError):  # no loop, or not the main thread
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTSTP, self._stop_process)
            loop.add_signal_handler(signal.SIGCONT, self._continue_process)

    # Taking and leaving ---------------------------------------------------------------------------

    def _stop_process(self) -> None:
        """Give the terminal back and stop, as Ctrl+Z in a shell asks for."""
        if self.has_terminal:
            self._comes_back = True
            self.suspend_application_mode()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _continue_process(self) -> None:
        """Take the terminal again, unless an editor had it when the program was stopped."""
        if self.has_terminal or self._comes_back:
            comes_back, self._comes_back = self._comes_back, False
            self.resume_application_mode()
            if comes_back:
                self.send_message(self.SignalResume())

    def start_application_mode(self) -> None:
        """Take the terminal; if this program already has it, only have the screen repainted."""
        if self.has_terminal:
            self.send_message(self.SignalResume())  # a SIGSTOP calls no handler
            return
        self.has_terminal = True  # set first: the SIGCONT after the stop below calls this again
        while not self._is_in_foreground():  # the shell continued the program with `bg`
            os.kill(os.getpid(), signal.SIGSTOP)
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Restore the terminal; do nothing if it is restored already."""
        if self.has_terminal:
            self.has_terminal = False
            super().stop_application_mode()

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:  # not this session's controlling terminal, so there is no job control
            return True

    # Reading --------------------------------------------------------------------------------------

    def run_input_thread(self) -> None:
        """Read the terminal until the program ends, and pass its events to the app."""
        splitter = InputSplitter(escape_delay())
        reader = PieceReader()
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                try:
                    pieces = self._wait_for_pieces(selector, splitter)
                    for piece in pieces:
                        for message in reader.events_of(piece):
                            self.process_message(message)
                except Exception:
                    if self.exit_event.is_set():
                        return
                    log.exception("the keyboard could not be read")
                    self.exit_event.wait(_LOOK_S)

    def _wait_for_pieces(
        self, selector: selectors.BaseSelector, splitter: InputSplitter
    ) -> list[Piece]:
        deadline = splitter.deadline
        wait = _LOOK_S if deadline is None else max(0.0, deadline - time.monotonic())
        if not selector.select(min(wait, _LOOK_S)):
            return splitter.tick(time.monotonic())
        data = os.read(self.fileno, _MOST_BYTES)
        if not data:  # end of file, after which a terminal may still deliver input
            self.exit_event.wait(_LOOK_S)
            return splitter.tick(time.monotonic())
        now = time.monotonic()
        return [*splitter.feed(data, now), *splitter.tick(now)]
