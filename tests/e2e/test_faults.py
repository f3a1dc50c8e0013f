"""Nothing is lost and nothing breaks: killed in the middle, no place to write, broken files."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.pseudo_terminal import LEAVE_SCREEN, PseudoTerminal
from tui_chat.chat.conversation import Conversation, Message

Play = Callable[..., PseudoTerminal]
Start = Callable[..., PseudoTerminal]
Read = Callable[[], Conversation]

NUMBERED = " ".join(f"w{number}" for number in range(3000))
MOST_LOST = 64
"""Tokens of a reply that may be missing after a kill."""


@pytest.mark.parametrize("after", [20, 150, 400])
def test_a_killed_program_loses_at_most_the_end_of_the_reply(
    after: int, play: Play, saved_chat: Read
) -> None:
    terminal = play(replies=[NUMBERED], token_s=0.005)
    terminal.wait_for("Enter sends")
    terminal.keys("count for me", "Enter")
    terminal.wait_until(lambda: _newest(terminal.text) >= after, f"w{after} is shown")
    shown = _newest(terminal.text)
    os.kill(terminal.pid, signal.SIGKILL)
    assert terminal.wait_exit() == -signal.SIGKILL
    user, reply = saved_chat().path()
    assert (user.text, user.status) == ("count for me", "complete")
    assert reply.status == "streaming"
    assert _newest(reply.text) >= shown - MOST_LOST
    assert NUMBERED.startswith(reply.text)


def _newest(text: str) -> int:
    return max((int(number) for number in re.findall(r"\bw(\d+)", text)), default=-1)


def test_a_killed_reply_is_there_after_the_restart(
    play: Play, start: Start, saved_chat: Read
) -> None:
    terminal = play(replies=[NUMBERED], token_s=0.005)
    terminal.wait_for("Enter sends")
    terminal.keys("count for me", "Enter")
    terminal.wait_for(r"\bw100\b")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.wait_exit()
    again = start("--resume", "last")
    again.wait_for("count for me")
    again.wait_for(r"\bw\d+")
    again.keys("Ctrl+Q")
    assert again.wait_exit() == 0
    assert saved_chat().path()[1].status == "interrupted"


def test_killed_candidates_are_all_there_after_the_restart(play: Play, saved_chat: Read) -> None:
    terminal = play(replies=["alpha " * 2000], token_s=0.05)
    terminal.wait_for("Enter sends")
    terminal.keys("/set temperature=0.8", "Enter")
    terminal.wait_for("temperature is 0.8")
    terminal.keys("go", "F6")

    def candidates() -> list[Message]:
        chat = saved_chat()
        return chat.siblings(chat.path()[-1].id)

    terminal.wait_for("(?s)Best of 4.*alpha alpha")
    terminal.wait_until(lambda: all(m.text for m in candidates()), "all are on the disk")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.wait_exit()
    again = play(replies=["omega"])
    again.wait_for("Enter sends")
    again.keys("Ctrl+Q")
    assert again.wait_exit() == 0
    assert [m.status for m in candidates()] == ["interrupted"] * 4
    assert all(m.text.startswith("alpha") for m in candidates())


def test_a_home_that_is_no_folder_does_not_stop_the_chat(play: Play, home: Path) -> None:
    (home / "tui-chat").write_text("in the way")
    terminal = play(replies=["I speak all the same."])
    terminal.wait_for("Enter sends")
    terminal.keys("hello", "Enter")
    terminal.wait_for("I speak all the same.")
    terminal.wait_for("(?i)not saved")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert (home / "tui-chat").read_text() == "in the way"


def test_broken_files_are_named_on_the_screen_and_the_chat_works(start: Start, home: Path) -> None:
    folder = home / "tui-chat"
    (folder / "themes").mkdir(parents=True)
    (folder / "config.toml").write_text('modle = 1\ntheme = "nowhere"\n')
    (folder / "models.toml").write_text("[models.x]\nsource = 3\n")
    for name in ("mine", "yours", "theirs", "ours"):
        (folder / "themes" / f"{name}.toml").write_text("name = 3\n")
    terminal = start(size=(60, 150))
    for shown in ("modle", "models.x", "nowhere", "There are 2 more notices; Ctrl\\+L"):
        terminal.wait_for(shown)
    terminal.keys("Ctrl+L")
    terminal.wait_for("Copy path")
    for shown in ("modle", "models.x", "mine.toml", "nowhere"):
        terminal.wait_for(shown)
    terminal.keys("Esc")
    terminal.wait_gone("WARNING")
    terminal.keys("hello", "Enter")
    terminal.wait_for("tok/s")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0


def test_a_damaged_database_is_set_aside_and_said(play: Play, home: Path) -> None:
    path = home / "tui-chat" / "transcripts.db"
    path.parent.mkdir()
    path.write_text("no database at all " * 300)
    terminal = play(replies=["Fine."])
    terminal.wait_for("(?i)damaged")
    terminal.keys("hello", "Enter")
    terminal.wait_for("Fine.")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert len(list(path.parent.glob("transcripts.db?*"))) >= 1


def test_a_full_disk_does_not_stop_a_chat(play: Play, home: Path) -> None:
    """A limit on the size of files stands for a full disk: every write beyond it fails."""
    terminal = play(replies=[f"{'x' * 300} " * 500, "Still here."], most_file_bytes=96 * 1024)
    terminal.wait_for("Enter sends")
    terminal.keys("fill it", "Enter")
    terminal.wait_for("(?i)not saved")
    terminal.wait_for("tok/s")
    terminal.keys("and now?", "Enter")
    terminal.wait_for("Still here.")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    with sqlite3.connect(home / "tui-chat" / "transcripts.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        text = connection.execute("SELECT text FROM messages WHERE role = 'user'").fetchone()
    assert text == ("fill it",)


def test_a_crash_in_a_window_closes_it_and_the_chat_goes_on(
    play: Play, saved_chat: Read, home: Path
) -> None:
    terminal = play(crash="help", replies=["Here I am."])
    terminal.wait_for("Enter sends")
    terminal.keys("secretword")
    terminal.wait_for("secretword")
    terminal.keys("F1")
    terminal.wait_for("(?s)window, so it was closed.*secretword")
    log = (home / "tui-chat" / "logs" / "tui-chat.log").read_text()
    assert "RuntimeError: a mistake after 10 characters" in log and "secretword" not in log
    terminal.keys("Enter")
    terminal.wait_for("Here I am.")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert saved_chat().path()[0].text == "secretword"


def test_a_crash_of_the_chat_ends_it_in_order(play: Play, saved_chat: Read, home: Path) -> None:
    terminal = play(crash="chat", replies=["alpha " * 20], token_s=0.01)
    terminal.wait_for("Enter sends")
    terminal.keys("secretword", "Enter")
    assert terminal.wait_exit() == 1
    assert terminal.has_its_modes_back() and LEAVE_SCREEN in terminal.output
    after = terminal.output.rpartition(LEAVE_SCREEN)[2]
    assert b"The screens broke off. What happened is in" in after and b"Traceback" not in after
    log = (home / "tui-chat" / "logs" / "tui-chat.log").read_text()
    assert "RuntimeError: a mistake after 10 characters" in log and "secretword" not in log
    assert saved_chat().path()[0].text == "secretword"
