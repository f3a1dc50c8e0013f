"""The terminal driver: Textual's own, with an Esc that does not wait for a tenth of a second.

Owns the reading of the keyboard. Esc is what stops a reply, and on a terminal without an extended
keyboard protocol it may also be the first byte of a sequence. Textual finds out that nothing
follows when it next looks at the clock, every 100 ms; this one looks after `ESCAPE_DELAY_S`.
"""

from __future__ import annotations

import codecs
import os
import selectors
from collections.abc import Mapping

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

ESCAPE_DELAY_S = 0.025
"""How long a lone Esc waits for the rest of a sequence. A terminal on the same machine writes a
sequence in one piece."""

_ESC = "\x1b"
_LOOK_S = 0.1
"""How often to see whether the program ends."""
_MOST_BYTES = 4096
_USUAL_DELAY_S = constants.ESCAPE_DELAY


def escape_delay(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds that a lone Esc is held back.

    `ESCDELAY` (in milliseconds, as of ncurses) has its way, and over a network, which may cut a
    sequence in two, Textual's own tenth of a second stays.
    """
    is_remote = any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "MOSH_CONNECTION"))
    return _USUAL_DELAY_S if is_remote or environ.get("ESCDELAY") else ESCAPE_DELAY_S


class QuickEscDriver(LinuxDriver):
    """Reads keys as Textual does, and a lone Esc sooner."""

    def run_input_thread(self) -> None:
        """Read the terminal until the program ends, and hand on what was pressed."""
        delay = escape_delay()
        # A constant to readers, but looked up at each Esc; the variable would reach an editor.
        constants.ESCAPE_DELAY = delay  # type: ignore[misc]  # declared final
        parser = XTermParser(self._debug)
        decoder = codecs.getincrementaldecoder("utf-8")()
        is_open, may_be_esc = True, False
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while is_open and not self.exit_event.is_set():
                if selector.select(delay if may_be_esc else _LOOK_S):
                    data = os.read(self.fileno, _MOST_BYTES)
                    is_open = bool(data)
                    text = decoder.decode(data, final=not is_open)
                    may_be_esc = text.endswith(_ESC)
                    self._hand_on(parser, text)
                for event in parser.tick():
                    may_be_esc = False
                    self.process_message(event)

    def _hand_on(self, parser: XTermParser, text: str) -> None:
        if text:  # nothing would tell the parser that the input has ended
            for event in parser.feed(text):
                self.process_message(event)
