"""The commands under `transcripts`, which list, show and delete saved chats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_chat.cli import exporting, importing, maintenance, searching
from tui_chat.cli import options as opt
from tui_chat.cli.file_problems import require_home
from tui_chat.cli.output import print_json, print_table, print_text
from tui_chat.errors import BusyError
from tui_chat.safe_text import safe_line

if TYPE_CHECKING:
    from tui_chat.chat.conversation import Conversation
    from tui_chat.storage.database.records import ChatSummary

app = typer.Typer(help="The saved chats.", rich_markup_mode=None)
app.command("search")(searching.search)
app.command("export")(exporting.export)
app.command("import")(importing.import_chats)
app.command("check")(maintenance.check)
app.command("backup")(maintenance.backup)
app.command("vacuum")(maintenance.vacuum)

_Id = Annotated[str, typer.Argument(metavar="ID", help="An id, the beginning of one, or `last`.")]
_SHORT_ID = 8


@app.command("list")
def list_chats(
    as_json: opt.Json = False,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1)] = None,
    chosen: opt.Filter = None,
) -> int:
    """List the saved chats, newest first."""
    from tui_chat.config import paths
    from tui_chat.storage.database.reading import read_transcripts

    query = searching.filter_of(chosen)
    require_home()
    with read_transcripts(paths.database_file()) as reader:
        chats = reader.list_chats(limit, query=query)
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
    from tui_chat.storage.formats.table import format_named

    print_text(format_named("json" if as_json else "md").export(_load(chat_id)))
    return 0


@app.command("delete")
def delete(
    chat_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or `last`.")],
    undo: Annotated[bool, typer.Option("--undo", help="Bring deleted chats back.")] = False,
    as_json: opt.Json = False,
) -> int:
    """Delete saved chats. For 30 days they can be brought back with --undo.

    A chat that a running program has open is not deleted, and neither are those named with it.
    """
    import sqlite3

    from tui_chat.config import paths
    from tui_chat.storage.database.connection import unusable
    from tui_chat.storage.database.leases import lent_chats
    from tui_chat.storage.database.writing import TranscriptStore

    require_home()
    with TranscriptStore(paths.database_file()) as store:
        found = [store.find(name, include_deleted=undo) for name in chat_ids]
        titles = {chat.id: chat.title for chat in store.list_chats(include_deleted=True)}
        with lent_chats(store.path, found) as taken:
            if taken and not undo:
                raise _open_elsewhere([titles.get(chat_id, "") for chat_id in taken], len(found))
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


def _open_elsewhere(titles: list[str], asked: int) -> BusyError:
    names = ", ".join(safe_line(title, 60) or "Untitled chat" for title in titles)
    is_one = len(titles) == 1
    return BusyError(
        f"{names} {'is' if is_one else 'are'} open in a running tui-chat",
        "Nothing was deleted" if asked > 1 else "",
        "Close it there first, or delete it there with Ctrl+O"
        if is_one
        else "Close them there first",
    )


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
