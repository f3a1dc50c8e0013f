"""The decode paths that can be measured, and the one place that puts a backend on one of them."""

from __future__ import annotations

from threading import Event
from typing import Protocol, runtime_checkable

from tui_chat.chat.events import Stats
from tui_chat.engine.backend import Backend
from tui_chat.errors import TuiChatError, UsageError

PATHS = ("eager", "turbo")


@runtime_checkable
class PathChooser(Protocol):
    """A backend with more than one decode path."""

    def choose_path(self, path: str, cancel: Event) -> None:
        """Return once replies will be decoded on this path.

        Raises:
            TuiChatError: If that is not possible here, saying why.
        """


def parse_paths(text: str) -> tuple[str, ...]:
    """The paths of a list as `eager,turbo`, each once.

    Raises:
        UsageError: If there is none of such a name.
    """
    paths = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    check_paths(paths)
    return paths


def check_paths(paths: tuple[str, ...]) -> None:
    """Refuse what is no path.

    Raises:
        UsageError: If one is unknown, or there are none.
    """
    for name in paths or ("",):
        if name not in PATHS:
            raise UsageError(
                f"There is no path {name!r}" if name else "A path is missing",
                "",
                f"Choose of {', '.join(PATHS)}, with commas between them (--paths)",
            )


def choose_path(backend: Backend, path: str) -> None:
    """Have replies decoded on a path from now on, waiting until it is built.

    Raises:
        TuiChatError: If that is not possible here.
    """
    if isinstance(backend, PathChooser):
        backend.choose_path(path, Event())
    elif path != "eager":
        raise TuiChatError(
            f"The path {path!r} cannot be measured", "This model has one path: eager"
        )


def check_path(stats: Stats, path: str) -> None:
    """Make sure that a figure belongs to the path it is reported for.

    Raises:
        TuiChatError: If the reply was decoded on another one.
    """
    used = getattr(stats, "path", path)
    if used != path:
        raise TuiChatError(
            f"The path {path!r} could not be measured",
            f"The reply was decoded on {used!r}",
            "The log says why",
        )
