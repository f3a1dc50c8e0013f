"""`bench --ui`: the real chat in a pseudo-terminal beside this process, and what ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from tests.e2e.pseudo_terminal import environment
from tui_chat.bench import BenchOptions
from tui_chat.bench.meter import ReplyMeter
from tui_chat.bench.pseudo_terminal import PseudoTerminal
from tui_chat.bench.screen import measure_screen
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.errors import TuiChatError


def measure(program: str) -> None:
    """Measure the screen with a Python program in the place of the chat."""
    backend = ScriptedBackend(Script(replies=["word " * 100]))
    info = backend.load(backend.preflight(LoadRequest("guide")), lambda event: None, Event())
    options = BenchOptions(
        LoadRequest("guide"),
        new_tokens=8,
        rounds=1,
        screen_argv=(sys.executable, "-c", program),
    )
    meter = ReplyMeter(backend, info, options)
    meter.use("eager")
    measure_screen(meter, "eager", options)


def test_the_whole_command_with_the_real_chat(tmp_path: Path):
    words = ("--ui", "--json", "--context", "64", "--new", "8", "--rounds", "2")
    done = subprocess.run(
        [sys.executable, "-m", "tui_chat", "bench", *words],
        env=environment(tmp_path), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)
    assert set(run["screen"]) == {"with_screen", "without", "share"}
    assert run["screen"]["with_screen"] > 0 and run["screen"]["share"] > 0
    assert not (tmp_path / "tui-chat" / "transcripts.db").exists()


def test_a_chat_that_ends_is_one_sentence():
    with pytest.raises(TuiChatError, match="could not be measured: It ended by itself"):
        measure("print('no chat here')")


def test_what_the_chat_could_not_do_is_said():
    program = (
        "import json, os, sys\n"
        "fd = json.loads(sys.argv[1])['fd']\n"
        'os.write(fd, b\'{"failed": "guide does not fit"}\\n\')\n'
        "sys.stdin.read()"
    )
    with pytest.raises(TuiChatError, match="could not be measured: guide does not fit"):
        measure(program)


def test_a_terminal_has_the_size_and_the_keys_that_it_was_given():
    program = "import os; print(*os.get_terminal_size()); print(input()[::-1])"
    with PseudoTerminal([sys.executable, "-c", program], columns=77, rows=11) as terminal:
        terminal.skip_to("77 11")
        terminal.send("abc\r")
        terminal.skip_to("cba")
        with pytest.raises(EOFError, match="before it wrote 'nothing'"):
            terminal.skip_to("nothing")


def test_a_program_does_not_outlive_its_terminal():
    with PseudoTerminal([sys.executable, "-c", "print('up'); input()"]) as terminal:
        terminal.skip_to("up")
        pid = terminal.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
