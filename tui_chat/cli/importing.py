"""The command `transcripts import`: chats from files of several formats, with problems by line.

The format is recognised by content unless the user names one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_chat.cli import options as opt
from tui_chat.cli.file_problems import require_home
from tui_chat.cli.output import complain, is_terminal, print_json
from tui_chat.errors import StoreError
from tui_chat.safe_text import safe_line
from tui_chat.terminal.shell_remedies import place_of, shell_line

if TYPE_CHECKING:
    from tui_chat.chat.conversation import Conversation
    from tui_chat.storage.care.importing import Imported
    from tui_chat.storage.database.writing import TranscriptStore
    from tui_chat.storage.formats.incoming import Progress

MOST_PROBLEMS = 10_000
"""Number of problems reported one by one; further ones are only counted."""


def import_chats(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=".gz is read too.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="md|json|oasst|chatgpt|sharegpt|openai|chatml",
            help="By default as the content says.",
        ),
    ] = None,
    as_json: opt.Json = False,
) -> int:
    """Save the chats of files: our own, Open Assistant's, ChatGPT's, and rows for fine-tuning."""
    from tui_chat.config import paths
    from tui_chat.storage.database.writing import TranscriptStore

    require_home()
    counted = _Counted(is_told=not as_json, has_several=len(files) > 1)
    with TranscriptStore(paths.database_file()) as store:
        for notice in store.notices:
            complain(notice.worded(place_of(notice.remedy)))
        for path in files:
            counted.file = path
            try:
                _import_file(store, path, form, counted)
            except StoreError as error:
                counted.failed = True
                counted.refuse(None, shell_line(error))
    counted.finish()
    if as_json:
        print_json(counted.record())
    else:
        print(counted.sentence())
    is_empty = not counted.chats and not counted.unchanged and counted.refused
    return 1 if counted.failed or is_empty else 0


@dataclass
class _Counted:
    """The counts and problems of all files."""

    is_told: bool
    """Whether problems go to stderr instead of into the record."""
    has_several: bool
    """Whether problems must name their file."""
    file: Path = Path()
    """The file being read."""
    chats: int = 0
    messages: int = 0
    unchanged: int = 0
    refused: int = 0
    failed: bool = False
    """Whether a file could not be read to its end."""
    problems: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, line: int | None, reason: str) -> None:
        """Record something that cannot be imported."""
        self.refused += 1
        if self.refused > MOST_PROBLEMS:
            return
        name = safe_line(str(self.file), 200)
        if self.is_told:
            complain(reason if line is None else f"{name}, line {line}: {reason}")
            return
        of_file = {"file": name} if self.has_several else {}
        self.problems.append({"line": line, "reason": safe_line(reason), **of_file})

    def add(self, imported: Imported) -> None:
        """Add the counts of what was saved from a file."""
        self.chats += imported.chats
        self.messages += imported.messages
        self.unchanged += imported.unchanged

    def finish(self) -> None:
        """Report how many problems there were beyond `MOST_PROBLEMS`."""
        more = self.refused - MOST_PROBLEMS
        if more > 0:
            self.refused = 0
            self.refuse(None, f"{more} more problems of the same kind are not listed")
            self.refused = MOST_PROBLEMS + more

    def record(self) -> dict[str, Any]:
        """Return the value that `--json` prints."""
        return {
            "imported": self.chats,
            "messages": self.messages,
            "unchanged": self.unchanged,
            "skipped": self.problems,
        }

    def sentence(self) -> str:
        """Return the result as one line."""
        chats = "1 chat" if self.chats == 1 else f"{self.chats} chats"
        messages = "1 message" if self.messages == 1 else f"{self.messages} messages"
        line = f"Imported {chats} with {messages}"
        if self.unchanged:
            line += f"; {self.unchanged} {'was' if self.unchanged == 1 else 'were'} here before"
        if self.refused:
            line += "; 1 problem" if self.refused == 1 else f"; {self.refused} problems"
        return line


def _import_file(store: TranscriptStore, path: Path, form: str | None, counted: _Counted) -> None:
    from tui_chat.storage.care.importing import save_imported
    from tui_chat.storage.formats.incoming import read_chats

    def chats() -> Iterator[Conversation]:
        for _, conversation in read_chats(path, form, counted.refuse, progress):
            yield conversation

    with _progress(path) as progress:
        save_imported(store, chats(), counted.add)


@contextmanager
def _progress(path: Path) -> Iterator[Progress]:
    """Show a progress bar on stderr if it is a terminal; yield the function that updates it."""
    import sys

    if not is_terminal(sys.stderr):
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    name = safe_line(path.name, 40)
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, total=None)

        def show(stage: str, done: int, total: int) -> None:
            bars.update(task, description=f"{stage} {name}", completed=done, total=total)

        yield show
