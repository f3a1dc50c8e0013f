"""The end of the process: a normal exit where possible, `os._exit` if a thread cannot be joined.

A thread inside native code would keep the interpreter from exiting. The module also turns signals
into exceptions for line-by-line commands; `ownership` handles those of the full-screen program.
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
    """Record that a thread is inside native code, so `exit_process` must not wait for it."""
    global _has_stray_thread
    _has_stray_thread = True


def exit_process(code: int) -> NoReturn:
    """End the process with an exit code: normally, or at once if a thread was left behind."""
    if _has_stray_thread:
        end_process(code)
    sys.exit(code)


def end_process(code: int) -> NoReturn:
    """End the process at once, whatever other threads are doing inside native code."""
    flush_output()
    with suppress(Exception):
        logging.shutdown()
    os._exit(code)


_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Ended(BaseException):
    """A signal asked a line-by-line command to end. Raised in the main thread."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise `Ended` for TERM, HUP and QUIT in this block, so that `finally` clauses run."""

    def raise_ended(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
        raise Ended(number)

    before = {n: signal.signal(n, raise_ended) for n in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def flush_output() -> None:
    """Flush the standard streams."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
