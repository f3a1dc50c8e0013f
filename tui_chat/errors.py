"""The errors that users see: what failed, why, and what to do next.

The classes format for no particular front end: the command line prints `one_line`, and the screens
lay out the three parts. They hold text only, so keeping one never keeps a model in memory.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Self


def _sentence(text: str) -> str:
    """Return the text with a full stop, unless it ends in a question or exclamation mark."""
    text = text.rstrip().rstrip(".")
    return text if text.endswith(("?", "!")) else f"{text}."


class Remedy(StrEnum):
    """The place where the user can follow a hint; the values are ids from `tui_chat.actions`.

    Hints name no key and no command, because each front end adds its own: the screens the current
    key ("Choose a model (F3)"), the command line what to type in a shell.
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
    """Return the hint with the place to follow it in parentheses; unchanged if either is empty."""
    return f"{hint.rstrip('.')} ({place})" if hint and place else hint


class TuiChatError(Exception):
    """A failure described to the user.

    Args:
        title: What failed, as one clause without a full stop.
        detail: Why it failed, in one sentence or more.
        hint: What the user can do next, without the keys or commands of any front end.
        remedy: Where the user can do that; None for nowhere in particular.
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

    def worded(self, place: str) -> Self:
        """Return the same error, its hint with where to do what it advises; empty for nowhere."""
        if not place:
            return self
        same = type(self).__new__(type(self))
        same.args = self.args
        same.__dict__.update(self.__dict__, hint=remedied(self.hint, place), remedy=None)
        return same

    @property
    def one_line(self) -> str:
        """Title, detail and hint joined into one plain line."""
        parts = [self.title.rstrip(".") + ":" if self.detail else _sentence(self.title)]
        parts += [_sentence(part) for part in (self.detail, self.hint) if part]
        return " ".join(" ".join(parts).split())

    def __str__(self) -> str:
        return self.one_line


class UsageError(TuiChatError):
    """A mistake on the command line, or a terminal that cannot be used."""

    exit_code = 2


class ConfigError(TuiChatError):
    """A settings, theme or model file that cannot be used as written."""

    file: Path | None = None
    """The file that contains the mistake; None if the mistake is in no file."""

    def in_file(self, path: Path) -> Self:
        """Record the file that contains the mistake, and return this error."""
        self.file = path
        return self


class ParameterError(TuiChatError):
    """An unknown sampling parameter, or a value out of its range."""


class ModelNotFoundError(TuiChatError):
    """A name that matches no model, directory or hub id."""

    code = "load"


class ModelLoadError(TuiChatError):
    """A model that could not be loaded or did not pass the checks after loading."""

    code = "load"


class MemoryShortError(ModelLoadError):
    """A model that does not fit into the free memory of the device."""

    code = "oom"


class LoadCancelledError(ModelLoadError):
    """A load or download that the user stopped."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__("Loading was stopped", "", "Load the model again whenever you like")


class ContextError(TuiChatError):
    """A message or prompt that does not fit into the context or cannot be composed."""

    code = "context"


class StoreError(TuiChatError):
    """A failure to read, write, import or export saved chats."""


class TranscriptNotFoundError(StoreError):
    """An id that matches no saved chat, or a message that no longer exists."""


class BusyError(TuiChatError):
    """A request that cannot be accepted in the current state."""
