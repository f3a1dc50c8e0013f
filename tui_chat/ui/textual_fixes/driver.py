"""The terminal driver: Textual's own, whose keyboard survives anything that a terminal sends.

It differs from `textual.drivers.linux_driver` (8.2.8) in three things:

- A byte that is no UTF-8, an escape sequence inside a paste, or any error while a key is read ends
  or misleads Textual's input thread. Here `InputSplitter` cuts the bytes first, and an error costs
  the piece that caused it.
- Esc is what stops a reply, and may be the first byte of a sequence. Textual finds out that
  nothing follows when it next looks at the clock, every 100 ms; this driver after `ESCAPE_DELAY_S`.
- `SIGCONT` without a stop before, as `kill -CONT` sends it, makes Textual start a second input
  thread and take the modes of the running program for those of the shell.

It would be unneeded if Textual did the first as `input_splitter` says, waited for the rest of
a sequence no longer than it is told, and took the terminal only when it does not have it.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Iterable, Mapping

from textual import constants, events
from textual._xterm_parser import XTermParser  # there is no public way from bytes to events
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tui_chat.ui.textual_fixes.input_splitter import InputSplitter, Pasted, Piece, Sequence

log = logging.getLogger(__name__)

ESCAPE_DELAY_S = 0.025
"""How long a lone Esc waits for the rest of a sequence. A terminal on the same machine writes a
sequence in one piece."""

_LOOK_S = 0.1
"""How often to see whether the program ends."""
_MOST_BYTES = 64 * 1024
_USUAL_DELAY_S = constants.ESCAPE_DELAY
_ALT_ENTER = "\x1b\r"
"""As a terminal without an extended keyboard protocol sends it. Textual reads two keys, of which
the second would send what should be a new line."""


def escape_delay(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds that a lone Esc is held back.

    `ESCDELAY` (in milliseconds, as of ncurses) has its way, and over a network, which may cut a
    sequence in two, Textual's own tenth of a second stays.
    """
    is_remote = any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "MOSH_CONNECTION"))
    return _USUAL_DELAY_S if is_remote or environ.get("ESCDELAY") else ESCAPE_DELAY_S


class PieceReader:
    """Makes Textual's events of the pieces of an `InputSplitter`."""

    def __init__(self) -> None:
        # Every sequence comes whole, so nothing is worth waiting for; `tick` ends it at once. A
        # constant to readers, but looked up at each Esc.
        constants.ESCAPE_DELAY = 0.0  # type: ignore[misc]  # declared final
        self._parser = XTermParser()

    def events_of(self, piece: Piece) -> list[Message]:
        """The events of one piece; an error costs that piece and nothing else."""
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
            return messages  # what Textual does not know it would type letter by letter
        return [*messages, *unread]


def _successor(parser: XTermParser) -> XTermParser:
    """A parser that knows of the terminal what one that has failed knew."""
    fresh = XTermParser()
    fresh.last_x, fresh.last_y = parser.last_x, parser.last_y
    fresh.mouse_pixels = parser.mouse_pixels
    fresh.terminal_size = parser.terminal_size
    fresh.terminal_pixel_size = parser.terminal_pixel_size
    return fresh


class TerminalDriver(LinuxDriver):
    """Textual's driver, with a reader of its own and the terminal taken once at a time."""

    has_terminal = False
    """Whether the terminal is in the modes of the program."""

    # Taking and leaving ---------------------------------------------------------------------------

    def start_application_mode(self) -> None:
        """Take the terminal; where it is taken already, only have it painted anew."""
        if self.has_terminal:
            self.send_message(self.SignalResume())  # a stop that no handler saw may have been
            return
        self.has_terminal = True  # before the stop below, which ends with a SIGCONT
        while not self._is_in_foreground():  # continued by `bg`
            os.kill(os.getpid(), signal.SIGSTOP)
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Leave the terminal as it was; nothing where it is left already."""
        if self.has_terminal:
            self.has_terminal = False
            super().stop_application_mode()

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:  # not the terminal of this session, so nobody stops the program for it
            return True

    # Reading --------------------------------------------------------------------------------------

    def run_input_thread(self) -> None:
        """Read the terminal until the program ends, and hand on what was pressed."""
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
        if not data:  # the end of a file, which for a terminal need not be the last word
            self.exit_event.wait(_LOOK_S)
            return splitter.tick(time.monotonic())
        now = time.monotonic()
        return [*splitter.feed(data, now), *splitter.tick(now)]
