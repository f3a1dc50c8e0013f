"""Problems in the user's files, reported before a command runs: at most one line per file.

`tui-chat doctor` lists every problem.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tui_chat.config import paths
from tui_chat.errors import ConfigError, TuiChatError
from tui_chat.safe_text import safe_line
from tui_chat.terminal.shell_remedies import shell_line


def one_for_each_file(problems: Iterable[TuiChatError]) -> list[str]:
    """Return the problems as lines; several mistakes in one file become one line with the first.

    If `TUI_CHAT_HOME` cannot be used, that problem comes first and replaces those of files inside
    it.
    """
    lines: list[str] = []
    home, home_problem = paths.home(), paths.home_problem()
    if home_problem is not None:
        lines.append(shell_line(home_problem))
    by_file: dict[Path, list[TuiChatError]] = {}
    for problem in problems:
        file = problem.file if isinstance(problem, ConfigError) else None
        if file is None:
            lines.append(shell_line(problem))
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
        return shell_line(first)
    shown = safe_line(str(file), 160)
    return (
        f"{len(mistakes)} mistakes in {shown}, the first: {shell_line(first)} "
        "`tui-chat doctor` lists them all."
    )
