"""The command `transcripts search`, and the query of `--filter`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_chat.cli import options as opt
from tui_chat.cli.file_problems import require_home
from tui_chat.cli.output import is_terminal, print_json, require_output
from tui_chat.errors import UsageError
from tui_chat.safe_text import safe_line, safe_line_parts

if TYPE_CHECKING:
    from tui_chat.chat.query import Query
    from tui_chat.storage.database.search import Found

_SHORT_ID = 8
_MARK, _PLAIN = "\x1b[1;33m", "\x1b[0m"


def search(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS...",
            help='Words, "phrases", begin*, and filters: model:NAME role:user|assistant '
            "before:YYYY-MM-DD after:YYYY-MM-DD rated:up|down|any tag:NAME is:archived|active.",
        ),
    ],
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Messages at most.")
    ] = 20,
    as_json: opt.Json = False,
) -> int:
    """Find messages in the saved chats, the best first; with filters alone, the newest."""
    from tui_chat.chat.query import parse_query
    from tui_chat.config import paths
    from tui_chat.storage.database.reading import read_transcripts

    query = parse_query(" ".join(words))
    if not query:
        raise _nothing("search for")
    require_home()
    with read_transcripts(paths.database_file()) as reader:
        found = reader.search(query, limit)
    if as_json:
        print_json([_record(each) for each in found])
        return 0
    require_output()
    is_coloured = _has_colours()
    for each in found:
        title = safe_line(each.title, 60) or "Untitled chat"
        who = "you" if each.role == "user" else safe_line(each.model or each.role, 24)
        print(f"{each.chat_id[:_SHORT_ID]}  {each.created.astimezone():%Y-%m-%d}  {who}  {title}")
        print(f"    {_shown(each, is_coloured)}")
    return 0


def filter_of(text: str | None) -> Query | None:
    """Return the query of `--filter`; None if the option is absent.

    Raises:
        UsageError: If the query is invalid or empty.
    """
    from tui_chat.chat.query import parse_query

    if text is None:
        return None
    query = parse_query(text)
    if not query:
        raise _nothing("filter by")
    return query


def _nothing(wanted: str) -> UsageError:
    return UsageError(f"There is nothing to {wanted}", "", "Give a word or a filter, as tag:work")


def _has_colours() -> bool:
    """Return whether stdout is a terminal on which colours are supported and wanted."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "")
    return is_terminal(sys.stdout) and not unwanted


def _shown(found: Found, is_coloured: bool) -> str:
    """Return the snippet on one line, with the matches highlighted."""
    parts = safe_line_parts(found.snippet, found.ranges)
    if not is_coloured:
        return "".join(parts).strip()
    # After cleaning, which would remove the colours.
    return "".join(f"{_MARK}{p}{_PLAIN}" if i % 2 else p for i, p in enumerate(parts)).strip()


def _record(found: Found) -> dict[str, Any]:
    return {
        "chat_id": found.chat_id,
        "title": found.title,
        "message_id": found.message_id,
        "role": found.role,
        "model": found.model,
        "created": found.created.isoformat(),
        "snippet": found.snippet,
    }
