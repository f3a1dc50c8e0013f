"""One chat in two real programs: it can be written where it was opened first, then in the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.pseudo_terminal import PseudoTerminal, environment
from tui_chat.chat.conversation import Conversation

Play = Callable[..., PseudoTerminal]
Read = Callable[[], Conversation]


@pytest.mark.parametrize("ends", ["quits", "is killed"])
def test_the_second_window_takes_over_when_the_first_one_ends(
    play: Play, saved_chat: Read, home: Path, ends: str
) -> None:
    first = play(replies=["alpha"])
    first.wait_for("Enter sends")
    first.keys("one", "Enter")
    first.wait_for(r"alpha")
    first.wait_for("· saved")
    second = play(replies=["omega"], size=(30, 120))
    second.wait_for("Enter sends")
    second.keys("/open last", "Enter")
    second.wait_for("read-only: open in another window")
    second.wait_for("alpha")
    second.keys("two", "Enter")
    second.wait_for("(?s)can only be.*read here.*› two")
    refused = subprocess.run(
        [sys.executable, "-m", "tui_chat", "transcripts", "delete", "last"],
        env=environment(home), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 1 and "open in a running tui-chat" in refused.stderr
    if ends == "quits":
        first.keys("Ctrl+Q")
        assert first.wait_exit() == 0
    else:
        os.kill(first.pid, signal.SIGKILL)
    second.wait_for("The other window has left this chat")
    second.wait_for("(?s)· saved.*› two")
    second.wait_gone("can only be")
    second.keys("Enter")
    second.wait_for("omega")
    second.wait_gone("› two")
    second.keys("Ctrl+Q")
    assert second.wait_exit() == 0
    assert [m.text for m in saved_chat().path()] == ["one", "alpha", "two", "omega"]
