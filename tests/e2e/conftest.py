"""Programs in pseudo-terminals, each with a home of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pseudo_terminal import PseudoTerminal, environment
from tui_chat.chat.conversation import Conversation
from tui_chat.storage.database.reading import read_transcripts

SCRIPTED = (sys.executable, "-m", "tests.e2e.scripted_program")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What the program finds as the user's home; its own files are in `tui-chat`."""
    return tmp_path


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., PseudoTerminal]]:
    """Start tui-chat in a terminal: `start(*arguments, size=(30, 100), **variables)`."""
    with ExitStack() as stack:

        def start_program(
            *arguments: str, size: tuple[int, int] = (30, 100), **variables: str
        ) -> PseudoTerminal:
            terminal = PseudoTerminal(arguments, environment(home, **variables), size)
            return stack.enter_context(terminal)

        yield start_program


@pytest.fixture
def play(home: Path) -> Iterator[Callable[..., PseudoTerminal]]:
    """Start the screens with a scripted model: `play(replies=[...], token_s=0.01)`."""
    with ExitStack() as stack:

        def start_script(
            size: tuple[int, int] = (30, 100),
            environ: Mapping[str, str] | None = None,
            **script: Any,
        ) -> PseudoTerminal:
            variables = environment(home, **(environ or {}))
            file = home / "script.json"
            file.write_text(json.dumps(script))
            terminal = PseudoTerminal([str(file)], variables, size, SCRIPTED)
            return stack.enter_context(terminal)

        yield start_script


@pytest.fixture
def saved_chat(home: Path) -> Callable[[], Conversation]:
    """Reads the newest saved chat, as another process would."""

    def read() -> Conversation:
        with read_transcripts(home / "tui-chat" / "transcripts.db") as reader:
            return reader.load(reader.find("last"))

    return read
