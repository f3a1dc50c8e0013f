"""What the screen costs: the real chat in a pseudo-terminal beside this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Event

import pytest

from benchmarks.measured_screen import ScreenFigures, measure_screen
from benchmarks.pseudo_terminal import PseudoTerminal
from tests.e2e.pseudo_terminal import environment
from tui_chat.bench import BenchOptions
from tui_chat.bench.meter import ReplyMeter
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.errors import TuiChatError


def measure(*argv: str) -> ScreenFigures:
    """Measure the screen, perhaps with another program in the place of the chat."""
    backend = ScriptedBackend(Script(replies=["word " * 100]))
    load = LoadRequest("guide")
    info = backend.load(backend.preflight(load), lambda event: None, Event())
    options = BenchOptions(load, new_tokens=8, rounds=2)
    meter = ReplyMeter(backend, info, options)
    meter.use("eager")
    return measure_screen(meter, "eager", options, argv) if argv else measure_screen(
        meter, "eager", options
    )  # fmt: skip


def test_the_real_chat_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    figures = measure()
    assert figures.with_screen > 0 and figures.share > 0
    assert not (tmp_path / "tui-chat" / "transcripts.db").exists()


def test_a_chat_that_ends_is_one_sentence():
    with pytest.raises(TuiChatError, match="could not be measured: It ended by itself"):
        measure(sys.executable, "-c", "print('no chat here')")


def test_what_the_chat_could_not_do_is_said():
    program = (
        "import json, os, sys\n"
        "fd = json.loads(sys.argv[1])['fd']\n"
        'os.write(fd, b\'{"failed": "guide does not fit"}\\n\')\n'
        "sys.stdin.read()"
    )
    with pytest.raises(TuiChatError, match="could not be measured: guide does not fit"):
        measure(sys.executable, "-c", program)


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
