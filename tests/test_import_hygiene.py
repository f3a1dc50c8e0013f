"""What is imported when: the program has to paint before torch is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

HEAVY = ("torch", "transformers", "bitsandbytes", "accelerate")


def imported_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys; print(*{{n.partition('.')[0] for n in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import tui_chat", ("typer", "pydantic", "textual", "rich", *HEAVY)),
        ("import tui_chat.cli", ("textual", "typer", "pydantic", "sqlite3", "tokenizers", *HEAVY)),
        ("import tui_chat.ui.app", ("typer", "pydantic", "markdown_it", *HEAVY)),
        ("import tui_chat.session", ("textual", *HEAVY)),
        ("import tui_chat.plain", ("textual", *HEAVY)),
        ("import tui_chat.engine.local", ("textual", *HEAVY)),
        ("import tui_chat.storage.saving.writer", ("textual", *HEAVY)),
        ("import tui_chat.config.layers", ("textual", "pydantic", *HEAVY)),
        ("import tui_chat.terminal.ownership", ("textual", "pydantic", *HEAVY)),
    ],
)
def test_nothing_heavy_comes_along(statement: str, forbidden: tuple[str, ...]) -> None:
    assert imported_by(statement).isdisjoint(forbidden)


def test_looking_at_chats_and_help_needs_no_torch(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    for words in (["--help"], ["transcripts", "list"], ["render", "--help"]):
        statement = (
            f"import os; os.environ['TUI_CHAT_HOME'] = {str(home)!r}\n"
            f"from tui_chat import cli\n"
            f"import io, contextlib\n"
            f"with contextlib.redirect_stdout(io.StringIO()): assert cli.run({words!r}) == 0"
        )
        assert imported_by(statement).isdisjoint(("textual", *HEAVY))


FIRST_FRAME = """
import sys
from textual.drivers._writer_thread import WriterThread
from tui_chat.ui.app import TuiChat

def write(self, text, write=WriterThread.write):
    if not seen and "ype a message" in text:
        seen.extend(sys.modules)
    write(self, text)

def start(self):
    self.exit(0)

seen = []
WriterThread.write = write
TuiChat._start = start
from tui_chat.cli import run
code = run([])
print("SEEN", *seen, "SEEN")
sys.exit(code)
"""


def test_the_first_frame_needs_none_of_what_is_used_later(tmp_path: Path) -> None:
    """In a terminal of its own, with a theme in the settings, up to the write of the frame."""
    (tmp_path / "config").mkdir()
    for folder in (tmp_path, tmp_path / "config"):
        (folder / "config.toml").write_text('theme = "paper"\n')
    env = {**os.environ, "TUI_CHAT_HOME": str(tmp_path), "TERM": "xterm-256color"}
    program = pexpect.spawn(
        sys.executable, ["-c", FIRST_FRAME], env=env, dimensions=(30, 100), timeout=120
    )
    program.expect(pexpect.EOF)
    seen = set(program.before.decode().split("SEEN")[1].split())
    assert "tui_chat.ui.chat.screen" in seen
    later = {
        "typer", "pydantic", "markdown_it", "sqlite3", "json", "hashlib",
        "tui_chat.cli.program", "tui_chat.chat.prompt", "tui_chat.chat.templates",
        "tui_chat.ui.commands.palette", "tui_chat.ui.clipboard",
        "tui_chat.ui.prompt.external_editor", "tui_chat.ui.transcript.shown_message",
        "tui_chat.ui.transcript.drawing", "tui_chat.ui.parameters.panel",
    }  # fmt: skip
    assert seen & {*later, *HEAVY} == set()
    rooms = {"ui.screens": set(), "storage": {"save_state"}}
    for room, needed in rooms.items():
        prefix = f"tui_chat.{room}."
        assert {n.removeprefix(prefix) for n in seen if n.startswith(prefix)} == needed
