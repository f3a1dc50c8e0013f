"""`transcripts list|search|show|export|delete`: the saved chats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_chat.cli import options as opt
from tui_chat.cli import searching
from tui_chat.cli.file_problems import require_home
from tui_chat.cli.output import print_json, print_table, print_text
from tui_chat.errors import StoreError, UsageError
from tui_chat.safe_text import safe_line

if TYPE_CHECKING:
    from tui_chat.chat.conversation import Conversation
    from tui_chat.storage.records import ChatSummary

app = typer.Typer(help="The saved chats.", rich_markup_mode=None)

app.command("search")(searching.search)

_Id = Annotated[str, typer.Argument(metavar="ID", help="An id, the beginning of one, or `last`.")]
_SHORT_ID = 8


@app.command("list")
def list_chats(
    as_json: opt.Json = False,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1)] = None,
) -> int:
    """List the saved chats, newest first."""
    from tui_chat import paths
    from tui_chat.storage.reading import read_transcripts

    require_home()
    with read_transcripts(paths.database_file()) as reader:
        chats = reader.list_chats(limit)
    if as_json:
        print_json([_record(chat) for chat in chats])
        return 0
    rows = [
        (
            chat.id[:_SHORT_ID],
            f"{chat.updated.astimezone():%Y-%m-%d %H:%M}",
            str(chat.turns),
            safe_line(chat.model, 24),
            safe_line(chat.title, 60) or "Untitled chat",
        )
        for chat in chats
    ]
    if rows:
        print_table(("ID", "CHANGED", "TURNS", "MODEL", "TITLE"), rows)
    return 0


@app.command("show")
def show(chat_id: _Id, as_json: opt.Json = False) -> int:
    """Print a saved chat."""
    from tui_chat.storage.formats.registry import format_named

    print_text(format_named("json" if as_json else "md").export(_load(chat_id)))
    return 0


@app.command("export")
def export(
    chat_id: _Id,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="md|json", help="By default as -o says, or md."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="A file that is not there."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> int:
    """Write a saved chat as Markdown or JSON, to stdout or to a file."""
    from tui_chat.storage.formats.registry import export_to_file, format_named, format_of

    try:
        if form is not None:
            chosen = format_named(form)
        else:
            chosen = format_named("md") if output is None else format_of(output)
    except StoreError as error:
        raise UsageError(error.title, error.detail, error.hint) from None
    conversation = _load(chat_id)
    if output is None:
        print_text(chosen.export(conversation))
    else:
        print(safe_line(str(export_to_file(conversation, output, chosen, overwrite=force))))
    return 0


@app.command("delete")
def delete(
    chat_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or `last`.")],
    undo: Annotated[bool, typer.Option("--undo", help="Bring deleted chats back.")] = False,
    as_json: opt.Json = False,
) -> int:
    """Delete saved chats. For 30 days they can be brought back with --undo."""
    import sqlite3

    from tui_chat import paths
    from tui_chat.storage.connection import unusable
    from tui_chat.storage.transcripts import TranscriptStore

    require_home()
    with TranscriptStore(paths.database_file()) as store:
        found = [store.find(name, include_deleted=undo) for name in chat_ids]
        titles = {chat.id: chat.title for chat in store.list_chats(include_deleted=True)}
        try:
            with store.change():
                for chat_id in found:
                    (store.undelete if undo else store.delete)(chat_id)
        except sqlite3.Error as error:
            raise unusable(paths.database_file(), error) from None
    found = list(dict.fromkeys(found))
    if as_json:
        print_json({"restored" if undo else "deleted": found})
        return 0
    for chat_id in found:
        title = safe_line(titles.get(chat_id, ""), 60) or "Untitled chat"
        if undo:
            print(f"{title} is back")
        else:
            print(f"Deleted {title}. `tui-chat transcripts delete --undo {chat_id}` undoes it")
    return 0


def _load(name: str) -> Conversation:
    from tui_chat.cli.opening import load_chat

    return load_chat(name)


def _record(chat: ChatSummary) -> dict[str, Any]:
    return {
        "id": chat.id,
        "title": chat.title,
        "model": chat.model,
        "created": chat.created.isoformat(),
        "updated": chat.updated.isoformat(),
        "turns": chat.turns,
        "messages": chat.messages,
        "tags": list(chat.tags),
        "archived": chat.archived,
    }
