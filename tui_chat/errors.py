"""The one family of errors that users see: what failed, why, and what to do next.

Nothing here formats for a particular front end; the command line prints `one_line`, the screens
lay the three parts out. Exceptions hold text only, so keeping one never keeps a model in memory.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Self


def _sentence(text: str) -> str:
    """The text with the mark at its end that a sentence needs."""
    text = text.rstrip().rstrip(".")
    return text if text.endswith(("?", "!")) else f"{text}."


class Remedy(StrEnum):
    """Where the user does what a hint advises; the values are the ids of `tui_chat.actions`.

    No hint names a key or a command: each front end adds its own, the screens the key in force
    ("Choose a model (F3)"), the command line what to type in a shell.
    """

    CHOOSE_MODEL = "model"
    CHOOSE_PRECISION = "precision"
    CHOOSE_PARAMETERS = "parameters"
    CHOOSE_CHAT = "open"
    OPEN_LOG = "log"
    STOP_REPLY = "stop"
    COPY_CHAT = "fork"
    WRITE_NOTE = "compact"


def remedied(hint: str, place: str) -> str:
    """A hint with where to do what it advises, in the words of a front end; empty for nowhere."""
    return f"{hint.rstrip('.')} ({place})" if hint and place else hint


class TuiChatError(Exception):
    """A failure with something useful to say.

    Args:
        title: What failed, as one clause without a full stop.
        detail: Why, as one sentence or more.
        hint: What the user can do next, without the keys or commands of any front end.
        remedy: Where to do that.
    """

    exit_code = 1
    code = "internal"

    def __init__(
        self, title: str, detail: str = "", hint: str = "", remedy: Remedy | None = None
    ) -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.hint = hint
        self.remedy = remedy

    @property
    def one_line(self) -> str:
        """Title, detail and hint joined into one plain line."""
        parts = [self.title.rstrip(".") + ":" if self.detail else _sentence(self.title)]
        parts += [_sentence(part) for part in (self.detail, self.hint) if part]
        return " ".join(" ".join(parts).split())

    def __str__(self) -> str:
        return self.one_line


class UsageError(TuiChatError):
    """Wrong usage of the command line, or no usable terminal."""

    exit_code = 2


class ConfigError(TuiChatError):
    """A settings, theme or model file that cannot be used as written."""

    file: Path | None = None
    """The file that the mistake is in, where it is in one."""

    def in_file(self, path: Path) -> Self:
        """The same error, known to be a mistake in this file."""
        self.file = path
        return self


class ParameterError(TuiChatError):
    """A sampling parameter that is unknown or out of its range."""


class ModelNotFoundError(TuiChatError):
    """No model of that name, directory or hub id."""

    code = "load"


class ModelLoadError(TuiChatError):
    """A model that could not be loaded or did not pass the checks after loading."""

    code = "load"


class MemoryShortError(ModelLoadError):
    """A model that does not fit the free memory of the device."""

    code = "oom"


class LoadCancelledError(ModelLoadError):
    """The user stopped a load or a download."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__("Loading was stopped", "", "Load the model again whenever you like")


class ContextError(TuiChatError):
    """A message or prompt that does not fit the context."""

    code = "context"


class StoreError(TuiChatError):
    """The transcript database cannot be read or written."""


class TranscriptNotFoundError(StoreError):
    """No saved chat with that id."""


class BusyError(TuiChatError):
    """The request cannot be taken while another one runs."""
