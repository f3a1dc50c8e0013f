"""What is imported when: the program has to paint before torch is there."""

from __future__ import annotations

import subprocess
import sys

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
        ("import tui_chat.cli", ("textual", "pydantic", "sqlite3", "tokenizers", *HEAVY)),
        ("import tui_chat.ui.app", HEAVY),
        ("import tui_chat.session", ("textual", *HEAVY)),
        ("import tui_chat.plain", ("textual", *HEAVY)),
        ("import tui_chat.engine.local", ("textual", *HEAVY)),
        ("import tui_chat.storage.writer", ("textual", *HEAVY)),
        ("import tui_chat.config", ("textual", *HEAVY)),
        ("import tui_chat.terminal", ("textual", "pydantic", *HEAVY)),
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
