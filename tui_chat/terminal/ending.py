"""How the process ends: in order where that is possible, at once where a thread is deaf.

Owns the exit of the interpreter and the signals of line-by-line commands; those of the full-screen
program are `terminal`'s.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

_has_stray_thread = False


def leave_thread_behind() -> None:
    """Note that a thread is inside native code, so that the interpreter cannot end in order."""
    global _has_stray_thread
    _has_stray_thread = True


def exit_process(code: int) -> NoReturn:
    """End the process with an exit code: in order, or at once if a thread was left behind."""
    if _has_stray_thread:
        end_process(code)
    sys.exit(code)


def end_process(code: int) -> NoReturn:
    """End at once, whatever other threads are doing inside native code."""
    flush_output()
    with suppress(Exception):
        logging.shutdown()
    os._exit(code)


_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Ended(BaseException):
    """A signal asked a line-by-line command to end; raised in the main thread."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


@contextmanager
def signals_raised() -> Iterator[None]:
    """Turn TERM, HUP and QUIT into `Ended` in this block, so that `finally` clauses run."""

    def raise_ended(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # the second one ends it at once
        raise Ended(number)

    before = {n: signal.signal(n, raise_ended) for n in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def flush_output() -> None:
    """Write out what the standard streams still hold."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
