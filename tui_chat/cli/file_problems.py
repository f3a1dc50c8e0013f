"""What is wrong with the user's files, told before a command does its work: one line for each file.

Owns which problems are told and how many lines they take; `tui-chat doctor` has them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tui_chat.config import paths
from tui_chat.errors import ConfigError, TuiChatError
from tui_chat.safe_text import safe_line


def one_for_each_file(problems: Iterable[TuiChatError]) -> list[str]:
    """The problems as lines: several mistakes in one file make one line with the first of them.

    A `TUI_CHAT_HOME` that cannot be used comes first, and stands for every file that would be in
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
    """Refuse a command that is about nothing but the user's files where there can be none.

    Raises:
        ConfigError: If `TUI_CHAT_HOME` names a place that cannot be a folder.
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
