"""The decode paths that can be measured, and a check that a reply used the right one."""

from __future__ import annotations

from collections.abc import Sequence

from tui_chat.chat.events import Stats
from tui_chat.engine.contract.backend import ReplyPath
from tui_chat.errors import TuiChatError, UsageError

PATHS: tuple[ReplyPath, ...] = ("eager", "turbo")
"""The paths that can be measured: all but `auto`, which is one or the other at any time."""


def parse_paths(text: str) -> tuple[ReplyPath, ...]:
    """Return the paths of a list such as `eager,turbo`, without repetitions.

    Raises:
        UsageError: If a name is no path that can be measured, or is missing.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    check_paths(names)
    return tuple(path for name in names for path in PATHS if path == name)


def check_paths(names: Sequence[str]) -> None:
    """Raise an error unless every name is a path that can be measured.

    Raises:
        UsageError: If a name is not one, or there are no names.
    """
    for name in names or ("",):
        if name not in PATHS:
            raise UsageError(
                f"There is no path {name!r}" if name else "A path is missing",
                "",
                f"Choose of {', '.join(PATHS)}, with commas between them (--paths)",
            )


def check_path(stats: Stats, path: ReplyPath) -> None:
    """Raise an error unless a reply was decoded on the path it is reported for.

    Args:
        stats: Statistics of the reply.
        path: The path that was asked for.

    Raises:
        TuiChatError: If the reply was decoded on another path.
    """
    if stats.path != path:
        raise TuiChatError(
            f"The path {path!r} could not be measured",
            f"The reply was decoded on {stats.path!r}",
            "The log says why",
        )
