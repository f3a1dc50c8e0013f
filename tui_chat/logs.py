"""The log file: what libraries, the engine and native code had to say.

Owns the one handler of the root logger, its rotation (1 MiB, three old files, mode 0600) and the
form of a record: one line of safe text, except for tracebacks. Refuses to write to the terminal;
where the file cannot be written, nothing is logged. What each library may say is
`engine.libraries`' matter.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from tui_chat.config import paths
from tui_chat.config.settings import LOG_LEVEL_VARIABLE, LOG_LEVELS
from tui_chat.errors import ConfigError
from tui_chat.safe_text import safe_text

MAX_BYTES = 1024**2
OLD_FILES = 3


class LogFile(RotatingFileHandler):
    """The log file as a logging handler that other file descriptors can follow."""

    def __init__(self, path: Path) -> None:
        self._followers: list[int] = []
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=OLD_FILES, encoding="utf-8",
                         errors="replace")  # fmt: skip
        self.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    @property
    def descriptor(self) -> int:
        """The file descriptor of the file."""
        if self.stream is None:  # closed by another thread's rollover that failed
            self.stream = self._open()
        return int(self.stream.fileno())

    def follow(self, *descriptors: int) -> None:
        """Point descriptors at the file, now and after every rollover."""
        self._followers = list(descriptors)
        for descriptor in descriptors:
            os.dup2(self.descriptor, descriptor)

    def unfollow(self) -> None:
        """Leave the descriptors alone from now on."""
        self._followers = []

    def doRollover(self) -> None:
        super().doRollover()
        self.follow(*self._followers)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a record that cannot be written, as on a full disk: there is nowhere to say it."""

    def _open(self) -> Any:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        path = self.baseFilename
        return open(path, "a", encoding=self.encoding, errors=self.errors, opener=private)


class _OneLine(logging.Formatter):
    """Records that cannot forge other records: line breaks in a message become `\\n`."""

    def format(self, record: logging.LogRecord) -> str:
        return safe_text(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


def configure(environ: Mapping[str, str] = os.environ) -> LogFile | None:
    """Send every log record and warning of this process to the log file.

    Args:
        environ: Where `TUI_CHAT_LOG` names the level; `info` if it is unset or not a level.

    Returns:
        The file; None where it cannot be written, and then nothing is logged.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, LogFile | logging.NullHandler):
            root.removeHandler(handler)
            handler.close()
    logging.captureWarnings(True)
    root.setLevel(level_named(environ.get(LOG_LEVEL_VARIABLE, "")))
    log: LogFile | None
    try:
        paths.private_dir(paths.log_dir())
        log = LogFile(paths.log_file())
    except OSError:
        log = None
    root.addHandler(log or logging.NullHandler())
    return log


def level_named(name: str) -> int:
    """The logging level of a `TUI_CHAT_LOG` value; `info` for anything unknown."""
    level = name.strip().lower()
    return int(getattr(logging, level.upper())) if level in LOG_LEVELS else logging.INFO


def level_problem(environ: Mapping[str, str] = os.environ) -> ConfigError | None:
    """What is wrong with `TUI_CHAT_LOG`, if anything."""
    value = environ.get(LOG_LEVEL_VARIABLE, "")
    if not value or value.strip().lower() in LOG_LEVELS:
        return None
    return ConfigError(
        f"{LOG_LEVEL_VARIABLE} is no level", f"It is {value!r}", "Known: " + ", ".join(LOG_LEVELS)
    )
