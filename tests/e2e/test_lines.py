"""Without the screens: pipes, dumb terminals, closed streams, and what the exit code says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.pseudo_terminal import PseudoTerminal, environment

Start = Callable[..., PseudoTerminal]
PROGRAM = [sys.executable, "-m", "tui_chat"]


def run(home: Path, *arguments: str, stdin: str | None = None, **variables: str):
    """Run the program without a terminal."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        env=environment(home, **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_terminal_it_says_what_to_use_instead_and_soon(home: Path) -> None:
    began = time.monotonic()
    done = run(home)
    assert time.monotonic() - began < 10  # it promises one second
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "--plain" in line and "tui-chat ask" in line


def test_a_closed_stdin_is_no_terminal(home: Path) -> None:
    command = " ".join(f"'{word}'" for word in PROGRAM)
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {command} <&-"], env=environment(home), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_place_text_is_refused(term: str, start: Start) -> None:
    terminal = start(TERM=term)
    assert terminal.wait_exit() == 2
    assert b"--plain" in terminal.output and b"\x1b" not in terminal.output


def test_a_plain_chat_in_a_dumb_terminal(start: Start) -> None:
    terminal = start("--plain", "--no-save", TERM="dumb", NO_COLOR="1")
    terminal.wait_for("Prompter:")
    terminal.keys("What is a token?", "\n")
    terminal.wait_for(r"(?s)Assistant: \S.*\nPrompter:\s*$")
    terminal.wait_until(lambda: _sleeps(terminal.pid), "it waits for a key")
    terminal.keys("\x03")
    terminal.wait_for("again")
    terminal.keys("\n")
    assert terminal.wait_exit() == 0
    assert b"\x1b" not in terminal.output
    assert terminal.has_its_modes_back()


def _sleeps(pid: int) -> bool:
    """Whether the main thread of a process waits in the kernel, looked at several times."""

    def state() -> str:
        time.sleep(0.02)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    return all(state() == "S" for _ in range(10))


def test_ask_render_and_transcripts_work_together(home: Path) -> None:
    asked = run(home, "ask", "--json", "--set", "temperature=0", stdin="What is a token?")
    assert (asked.returncode, asked.stderr) == (0, "")
    record = json.loads(asked.stdout)
    assert record["text"] and record["finish_reason"] == "eos"
    listed = json.loads(run(home, "transcripts", "list", "--json").stdout)
    assert [chat["id"] for chat in listed] == [record["chat_id"]]
    rendered = json.loads(run(home, "render", "--chat", "last", "--json").stdout)
    assert len(rendered["segments"][0]["ids"]) + 1 == record["prompt_tokens"]


def test_example_prompts_and_a_command_that_nobody_reads(home: Path) -> None:
    prompts = json.dumps(["Hello", "What is top_k?"])
    done = run(home, "chat", "--plain", "--set", "temperature=0", EXAMPLE_PROMPTS=prompts)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Assistant: ") == 2 and "Prompter: What is top_k?\n" in done.stdout
    command = " ".join(f"'{word}'" for word in PROGRAM)
    piped = subprocess.run(
        ["/bin/sh", "-c", f"{command} transcripts show last | head -c 1"], env=environment(home),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (piped.stdout, piped.stderr) == ("-", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_ask_with_the_reply_so_far_saved(number: int, home: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "ask", "Tell me everything", "--set", "temperature=2", "--preset", "petals",
         "--set", "repetition_penalty=3", "--set", "max_new_tokens=1500"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(home),
    )  # fmt: skip
    assert process.stdout is not None
    first = os.read(process.stdout.fileno(), 100)
    assert first
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"Traceback" not in err and out.endswith(b"\n")
    shown = json.loads(run(home, "transcripts", "show", "last", "--json").stdout)
    assert shown["messages"][1]["status"] == "stopped"
    assert shown["messages"][1]["text"].startswith(first.decode()[:5])
