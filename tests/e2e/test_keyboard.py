"""Whatever bytes a terminal sends, and however they are cut: the draft is what a person meant."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.pseudo_terminal import PseudoTerminal, environment
from tui_chat.chat.conversation import Conversation

Play = Callable[..., PseudoTerminal]
Read = Callable[[], Conversation]

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@pytest.fixture
def terminal(play: Play) -> Iterator[PseudoTerminal]:
    """The chat, ready to be typed into."""
    terminal = play(replies=["Understood."])
    terminal.wait_for("Enter sends")
    terminal.wait_for(r"guide · bf16")
    yield terminal
    terminal.keys("Ctrl+C")
    terminal.wait_for("Type a message")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0


@pytest.mark.parametrize(
    ("data", "draft"),
    [
        (b"lost\x15kept words", "kept words"),
        (b"zone\x1b[D\x1b[DX", "zoXne"),
        (b"ab cd\x17ef", "ab ef"),
        (b"abc\x7f\x7fx\x1b[Hy\x1b[Fz", "yaxz"),
        (b"keep \xe9\xff\x9b this", f"keep {UNKNOWN * 3} this"),
        (b"caf\xc3\xa9 \x1b[1\xff;2 on", f"café {UNKNOWN};2 on"),
        (b"one\x1b[99999999999999;5u\x1b[1;1;1;1Z two", "one two"),
        (b"one\x1b[57;9;0;88~\x1b[?1$z two", "one two"),
    ],
)
def test_keys_of_one_read_keep_their_order_and_bytes_do_no_harm(
    data: bytes, draft: str, terminal: PseudoTerminal
) -> None:
    terminal.send(data)
    terminal.wait_for(rf"› {draft}( |$)")


def test_a_byte_that_is_no_text_is_shown_though_nothing_follows(terminal: PseudoTerminal) -> None:
    terminal.send(b"half \xe9")
    terminal.wait_for(f"› half {UNKNOWN}")
    terminal.send(b"caf\xc3")
    terminal.send(b"\xa9")
    terminal.wait_for(f"› half {UNKNOWN}café")


def test_a_paste_with_sequences_and_controls_is_one_draft(terminal: PseudoTerminal) -> None:
    terminal.send(b"\x1b[200~one\n\x1b[32mtwo\x1b[0m\x07\r\nthree\x1b[201~")
    terminal.wait_for(r"› one\b.*\n +two *\n +three *$")


def test_an_end_marker_inside_a_paste_lets_nothing_through_as_keys(
    terminal: PseudoTerminal,
) -> None:
    terminal.send(b"\x1b[200~first\x1b[201~/quit\r\x11\x07\x1b[200~last\x1b[201~")
    terminal.wait_for(r"› first/quit\b.*\n +last *$")


def test_keys_right_behind_a_paste_are_keys(terminal: PseudoTerminal) -> None:
    terminal.send(b"\x1b[200~a b\x1b[201~ c\x17d\x1b[Hx")
    terminal.wait_for(r"› xa b d( |$)")


def test_a_paste_whose_end_never_comes_leaves_the_keyboard_working(
    terminal: PseudoTerminal,
) -> None:
    terminal.send(b"\x1b[200~lost end")
    terminal.wait_for("› lost end")
    terminal.send(b" more\x17new")
    terminal.wait_for("› lost end new")


def test_megabytes_are_one_paste(terminal: PseudoTerminal, saved_chat: Read) -> None:
    text = "\x1b[1mline\x1b[0m of many\r" * 100_000
    terminal.send(b"\x1b[200~" + text.encode() + b"\x1b[201~")
    terminal.wait_for(r"\[pasted.100000.lines")
    terminal.send(b"!")
    terminal.wait_for(r"\[pasted.100000.lines.*\]!")


def test_enter_among_keys_sends_what_stands_before_it(
    terminal: PseudoTerminal, saved_chat: Read
) -> None:
    terminal.send(b"hullo\x7f\x7f\x7f\x7fello\rnext")
    terminal.wait_for("Understood.")
    terminal.wait_for("› next")
    assert saved_chat().path()[0].text == "hello"


def test_text_behind_a_key_goes_where_that_key_leads(terminal: PseudoTerminal) -> None:
    terminal.send(b"draft\x1bORgpt\x7fx")  # F3, the models
    terminal.wait_for(r"gpx")
    terminal.send(b"\x1b")
    terminal.wait_gone("gpx")
    terminal.wait_for("› draft( |$)")
    terminal.send(b"\x10themx\x7fe")  # Ctrl+P, the palette
    terminal.wait_for(r"theme( |$)")
    terminal.send(b"\x1b")
    terminal.wait_gone("theme")
    terminal.wait_for("› draft( |$)")
    terminal.send(b"\x06lost\x15kept\x1b[D\x1b[DX")  # Ctrl+F, the line for finding
    terminal.wait_for("find +keXpt")
    terminal.send(b"\x1b")
    terminal.wait_gone("keXpt")
    terminal.wait_for("› draft( |$)")


def test_a_continue_without_a_stop_changes_nothing(terminal: PseudoTerminal) -> None:
    for _ in range(3):
        os.kill(terminal.pid, signal.SIGCONT)
    terminal.send(b"a word")
    terminal.wait_for("› a word")
    os.kill(terminal.pid, signal.SIGTSTP)
    terminal.wait_until(lambda: _state(terminal.pid) == "T", "the process is stopped")
    terminal.read()
    assert terminal.has_its_modes_back()
    written = len(terminal.output)
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.wait_until(lambda: b"a word" in terminal.output[written:], "it paints again")
    terminal.send(b" bcdefghij")
    terminal.wait_for("› a word bcdefghij( |$)")


def test_a_shell_with_jobs_stops_and_continues_the_chat(home: Path) -> None:
    script = home / "script.json"
    script.write_text("{}")
    command = f"{sys.executable} -m tests.e2e.scripted_program {script}"
    environ = {**environment(home), "PS1": "ready> ", "HISTFILE": ""}
    bash = ("bash", "--norc", "--noprofile", "-i")
    with PseudoTerminal([], environ, program=bash) as terminal:
        terminal.wait_for("ready>")
        terminal.send(f"{command}; echo code $?\r".encode())
        terminal.wait_for("Enter sends")
        pid = _child_of(terminal.pid)
        os.kill(pid, signal.SIGCONT)
        terminal.send(b"before")
        terminal.wait_for("› before")
        os.kill(pid, signal.SIGTSTP)
        terminal.wait_for("Stopped")
        terminal.send(b"bg\r")  # which the chat cannot use, and goes back to sleep
        terminal.wait_for(r"(?s)bg.*ready>")
        terminal.wait_until(lambda: _state(pid) == "T", "it sleeps again")
        terminal.send(b"fg\r")
        terminal.wait_for("› before")
        terminal.send(b" and after")
        terminal.wait_for("› before and after")
        terminal.send(b"\x11")
        terminal.wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the chat has ended")
        terminal.send(b"echo still $((40 + 2))\r")
        terminal.wait_for("still 42")


def _child_of(pid: int) -> int:
    """The only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
