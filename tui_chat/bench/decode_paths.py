"""The decode paths that can be measured: which there are, and that a figure belongs to its own."""

from __future__ import annotations

from collections.abc import Sequence

from tui_chat.chat.events import Stats
from tui_chat.engine.contract.backend import ReplyPath
from tui_chat.errors import TuiChatError, UsageError

PATHS: tuple[ReplyPath, ...] = ("eager", "turbo")
"""All but `auto`, whose figures would be those of one or the other."""


def parse_paths(text: str) -> tuple[ReplyPath, ...]:
    """The paths of a list as `eager,turbo`, each once.

    Raises:
        UsageError: If there is none of such a name.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    check_paths(names)
    return tuple(path for name in names for path in PATHS if path == name)


def check_paths(names: Sequence[str]) -> None:
    """Refuse what is no path that can be measured.

    Raises:
        UsageError: If one is none, or there are none.
    """
    for name in names or ("",):
        if name not in PATHS:
            raise UsageError(
                f"There is no path {name!r}" if name else "A path is missing",
                "",
                f"Choose of {', '.join(PATHS)}, with commas between them (--paths)",
            )


def check_path(stats: Stats, path: ReplyPath) -> None:
    """Make sure that a figure belongs to the path it is reported for.

    Raises:
        TuiChatError: If the reply was decoded on another one.
    """
    if stats.path != path:
        raise TuiChatError(
            f"The path {path!r} could not be measured",
            f"The reply was decoded on {stats.path!r}",
            "The log says why",
        )
