"""Problems in the user's files, reported before a command runs: at most one line per file.

`tui-chat doctor` lists every problem.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tui_chat.config import paths
from tui_chat.errors import ConfigError, TuiChatError
from tui_chat.safe_text import safe_line


def one_for_each_file(problems: Iterable[TuiChatError]) -> list[str]:
    """Return the problems as lines; several mistakes in one file become one line with the first.

    If `TUI_CHAT_HOME` cannot be used, that problem comes first and replaces those of files inside
    it.
    """
    lines: list[str] = []
    home, home_problem = paths.home(), paths.home_problem()
    if home_problem is not None:
        lines.append(home_problem.one_line)
    by_file: dict[Path, list[TuiChatError]] = {}
    for problem in problems:
        file = problem.file if isinstance(problem, ConfigError) else None
        if file is None:
            lines.append(problem.one_line)
        elif home_problem is None or home not in file.parents:
            by_file.setdefault(file, []).append(problem)
    return lines + [_line(file, mistakes) for file, mistakes in by_file.items()]


def require_home() -> None:
    """Check that the user's files have a place, for commands that do nothing else.

    Raises:
        ConfigError: If the folder of `TUI_CHAT_HOME` cannot be used.
    """
    problem = paths.home_problem()
    if problem is not None:
        raise problem


def _line(file: Path, mistakes: list[TuiChatError]) -> str:
    first = mistakes[0]
    if len(mistakes) == 1:
        return first.one_line
    shown = safe_line(str(file), 160)
    return (
        f"{len(mistakes)} mistakes in {shown}, the first: {first.one_line} "
        "`tui-chat doctor` lists them all."
    )
