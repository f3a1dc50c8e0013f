"""The log file of the program, its engine, the libraries and native code.

The root logger gets one handler, which rotates the file at 1 MiB, keeps three old files, and
creates them with mode 0600. Records are one line of safe text each, tracebacks excepted. Nothing is
written to the terminal; if the file cannot be written, records are lost. The verbosity of each
library is set in `tui_chat.engine.machine.libraries`.
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
    """A logging handler whose file other file descriptors can be pointed at."""

    def __init__(self, path: Path) -> None:
        self._followers: list[int] = []
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=OLD_FILES, encoding="utf-8",
                         errors="replace")  # fmt: skip
        self.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    @property
    def descriptor(self) -> int:
        """The file descriptor of the open log file."""
        if self.stream is None:  # a rollover that failed in another thread left it closed
            self.stream = self._open()
        return int(self.stream.fileno())

    def follow(self, *descriptors: int) -> None:
        """Point file descriptors at the log file, now and after every rollover."""
        self._followers = list(descriptors)
        for descriptor in descriptors:
            os.dup2(self.descriptor, descriptor)

    def unfollow(self) -> None:
        """Stop repointing the descriptors after a rollover; they stay as they are now."""
        self._followers = []

    def doRollover(self) -> None:
        super().doRollover()
        self.follow(*self._followers)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a record that cannot be written, for example on a full disk."""

    def _open(self) -> Any:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        path = self.baseFilename
        return open(path, "a", encoding=self.encoding, errors=self.errors, opener=private)


class _OneLine(logging.Formatter):
    """A formatter that writes line breaks as `\\n`, so that no message can forge another record."""

    def format(self, record: logging.LogRecord) -> str:
        return safe_text(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


def configure(environ: Mapping[str, str] = os.environ) -> LogFile | None:
    """Send every log record and warning of this process to the log file.

    Args:
        environ: The environment, in which `TUI_CHAT_LOG` names the level; `info` if it is unset or
            unknown.

    Returns:
        The handler; None if the file cannot be written, in which case nothing is logged.
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
    """Return the logging level for a `TUI_CHAT_LOG` value; `info` for an unknown one."""
    level = name.strip().lower()
    return int(getattr(logging, level.upper())) if level in LOG_LEVELS else logging.INFO


def level_problem(environ: Mapping[str, str] = os.environ) -> ConfigError | None:
    """Return an error if `TUI_CHAT_LOG` holds an unknown level, else None."""
    value = environ.get(LOG_LEVEL_VARIABLE, "")
    if not value or value.strip().lower() in LOG_LEVELS:
        return None
    return ConfigError(
        f"{LOG_LEVEL_VARIABLE} is no level", f"It is {value!r}", "Known: " + ", ".join(LOG_LEVELS)
    )
