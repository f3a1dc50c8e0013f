"""The commands `transcripts check`, `backup` and `vacuum`, which maintain the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_chat.cli import options as opt
from tui_chat.cli.file_problems import require_home
from tui_chat.cli.output import print_json, print_text
from tui_chat.safe_text import safe_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tui_chat.storage.care.maintenance import Problem


def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Make the search index anew and mend what is mendable.")
    ] = False,
    as_json: opt.Json = False,
) -> int:
    """Look for anything wrong with the saved chats. Exits with 1 if there is."""
    from tui_chat.storage.care import maintenance

    path = _database()
    report = maintenance.check(path, repair=repair)
    if as_json:
        print_json(
            {
                "path": str(path),
                "ok": not report.problems,
                "chats": report.chats,
                "messages": report.messages,
                "index_checked": report.is_index_checked,
                "problems": _records(report.problems),
                "repaired": _records(report.repaired),
            }
        )
        return 1 if report.problems else 0
    for problem in report.repaired:
        print_text(f"Mended: {safe_line(problem.text, 200)}.")
    for problem in report.problems:
        print_text(f"{safe_line(problem.text, 200)}.")
    if not report.problems:
        text = f"Nothing is wrong. Chats: {report.chats}, messages: {report.messages}"
        unchecked = "" if report.is_index_checked else "; the search index was not looked at"
        print_text(f"{text}{unchecked}.")
        return 0
    if any(problem.kind in ("damage", "pages") for problem in report.problems):
        print_text("`tui-chat` sets the file aside when it starts, and saves what is readable.")
    elif not repair:
        print_text("`tui-chat transcripts check --repair` mends it.")
    return 1


def backup(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="By default a dated one beside the database."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: opt.Json = False,
) -> int:
    """Copy all saved chats into one file, also while the chat is open."""
    from tui_chat.storage.care import maintenance

    path = _database()
    target = file or maintenance.dated_copy(path)
    size = maintenance.backup(path, target, overwrite=force)
    if as_json:
        print_json({"path": str(target), "bytes": size})
    else:
        print_text(safe_line(str(target)))
    return 0


def vacuum(as_json: opt.Json = False) -> int:
    """Give the room of deleted chats back to the disk. No other tui-chat may be open."""
    from tui_chat.storage.care import maintenance

    sizes = maintenance.vacuum(_database())
    freed = max(0, sizes.before - sizes.after)
    if as_json:
        print_json({"before": sizes.before, "after": sizes.after, "freed": freed})
    else:
        print_text(f"{freed} bytes came back; the database has {sizes.after} now.")
    return 0


def _database() -> Path:
    from tui_chat.config import paths

    require_home()
    return paths.database_file()


def _records(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [{"kind": p.kind, "text": p.text, "chat_id": p.chat_id or None} for p in problems]
