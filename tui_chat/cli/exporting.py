"""The command `transcripts export`: saved chats as files for people, other programs or training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui_chat.cli import options as opt
from tui_chat.cli.file_problems import require_home
from tui_chat.cli.output import complain, is_terminal, narrate, print_text, require_output
from tui_chat.cli.searching import filter_of
from tui_chat.errors import StoreError, UsageError
from tui_chat.safe_text import safe_line
from tui_chat.terminal.shell_remedies import shell_line

if TYPE_CHECKING:
    from tui_chat.chat.conversation import Conversation
    from tui_chat.chat.query import Query
    from tui_chat.storage.formats.table import Format
    from tui_chat.storage.formats.training import ExportOptions

_WITH_IDS = ("oasst", "oasst-messages")
"""The formats that contain ids and tree states."""


def export(
    chat_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="An id, the beginning of one, or `last`."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every saved chat.")] = False,
    filtered: opt.Filter = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="md|json|html|oasst|oasst-messages|chatml|sharegpt|openai|preferences",
            help="By default as -o says, or md.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="A file that is not there; .gz compresses it."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    anonymize: Annotated[
        str | None,
        typer.Option("--anonymize", metavar="SEED", help="Hash ids with this seed (oasst)."),
    ] = None,
    as_training: Annotated[
        bool,
        typer.Option("--as-training", help="Mark reviewed chats as ready to train on (oasst)."),
    ] = False,
    lang: Annotated[
        str | None,
        typer.Option("--lang", metavar="TAG", help="Language where it is not known (oasst)."),
    ] = None,
) -> int:
    """Write saved chats to stdout or to a file, by default one as Markdown."""
    from tui_chat.storage.formats.table import export_to_file, require_content, write_texts
    from tui_chat.storage.formats.training import UNKNOWN_LANGUAGE, ExportOptions

    chosen = _chosen(form, output)
    query = filter_of(filtered)
    if (everything or query is not None) == (chat_id is not None):
        raise UsageError(
            "Give the id of one chat, or --all, or --filter", "", "`last` is the newest chat"
        )
    if (anonymize is not None or as_training or lang) and chosen.name not in _WITH_IDS:
        title = f"--anonymize, --as-training and --lang are not for {chosen.name}"
        raise UsageError(title, "", f"Use --format {' or '.join(_WITH_IDS)}")
    if lang and not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*", lang):
        raise UsageError(
            f"{safe_line(lang, 40)!r} is no language tag", "", "Use one as en or pt-BR"
        )
    options = ExportOptions(anonymize, as_training, lang or UNKNOWN_LANGUAGE)
    if chat_id is not None:
        from tui_chat.cli.opening import load_chat

        conversation = load_chat(chat_id)
        if output is not None:
            path = export_to_file(conversation, output, chosen, force, options)
            print(safe_line(str(path)))
            return 0
        text = chosen.export(conversation, options)
        require_content(text, chosen)
        print_text(text)
        return 0
    require_home()
    pieces = _pieces(chosen, options, query)
    if output is not None:
        print(safe_line(str(write_texts(pieces, output, force))))
    else:
        _print_pieces(pieces)
    return 0


def _chosen(form: str | None, output: Path | None) -> Format:
    from tui_chat.storage.formats.table import format_named, format_of

    try:
        if form is not None:
            return format_named(form)
        return format_named("md") if output is None else format_of(output)
    except StoreError as error:
        raise UsageError(error.title, error.detail, error.hint) from None


def _pieces(form: Format, options: ExportOptions, query: Query | None) -> Iterator[str]:
    """Yield the chosen chats in the format, and report those that may not be exported.

    Raises:
        UsageError: If the format can hold only one chat.
        StoreError: If no chat matches, or none can be exported in a training format.
    """
    if form.name not in ("json",) and not form.is_training:
        title = f"{form.name} holds one chat, and these may be several"
        raise UsageError(title, "", "Give an id, or use json or a format for training")
    if form.is_training:
        yield from _lines(form, options, query)
        return
    before = "[\n"
    for conversation in _chats(query):
        yield before + form.export(conversation, options).rstrip("\n")
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[\n]\n"


def _lines(form: Format, options: ExportOptions, query: Query | None) -> Iterator[str]:
    exported = empty = 0
    for conversation in _chats(query):
        try:
            text = form.export(conversation, options)
        except StoreError as error:
            complain(shell_line(error))
            continue
        exported += bool(text)
        empty += not text
        yield text
    if empty:
        narrate(f"{empty} chats hold nothing for {form.name}")
    if not exported:
        raise StoreError(f"No saved chat can be exported as {form.name}", "", "Nothing was written")


def _chats(query: Query | None) -> Iterator[Conversation]:
    """Yield the chosen chats one at a time, the least recently changed first.

    Raises:
        StoreError: If the query matches no chat.
    """
    from tui_chat.config import paths
    from tui_chat.storage.database.reading import read_transcripts

    with read_transcripts(paths.database_file()) as reader:
        found = reader.chat_ids(query)
        if query is not None and not found:
            hint = "Nothing was written. `transcripts list --filter` takes the same query"
            raise StoreError("No saved chat matches the filter", "", hint)
        for chat_id in found:
            yield reader.load(chat_id)


def _print_pieces(pieces: Iterator[str]) -> None:
    """Print text that may be long: unchanged to a pipe, cleaned to a terminal."""
    import sys

    from tui_chat.terminal.safe_writer import SafeWriter

    require_output()
    writer = SafeWriter(sys.stdout, is_terminal(sys.stdout))
    for piece in pieces:
        if piece:
            writer.write(piece)
