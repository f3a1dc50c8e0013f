"""The full-screen chat as a person uses it: the real program, real keys, the real guide model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.pseudo_terminal import LEAVE_SCREEN, PseudoTerminal
from tui_chat.chat.conversation import Conversation

Play = Callable[..., PseudoTerminal]
Start = Callable[..., PseudoTerminal]
Read = Callable[[], Conversation]


def test_a_first_chat_and_its_return(start: Start, saved_chat: Read, home: Path) -> None:
    terminal = start()
    terminal.wait_for("Enter sends")
    terminal.wait_for(r"guide · \w+ · cpu")
    terminal.keys("How do I change the temperature?")
    terminal.wait_for(r"[1-9]\d* tok$")
    terminal.keys("Enter")
    terminal.wait_for(r"(?s)change the temperature\?.*guide · \d+ tok · \d+ tok/s")
    whole = [("user", "complete"), ("assistant", "complete")]
    terminal.wait_until(
        lambda: [(m.role, m.status) for m in saved_chat().path()] == whole, "all is saved"
    )
    first = saved_chat().path()

    terminal.keys("F2")
    terminal.wait_for("temperature +0.00")
    terminal.keys("Right")
    terminal.wait_for(r"(?s)greedy \*.*temperature +0.05")
    terminal.keys("Esc")
    terminal.wait_gone("typical_p")

    terminal.keys("F3")
    terminal.wait_for("oasst-12b .*GiB")
    terminal.keys("Esc")
    terminal.wait_gone("oasst-12b")

    terminal.keys("F4")
    terminal.wait_for("(?s)Precision for guide.*bf16.*fits")
    terminal.keys("Down", "Enter")
    terminal.wait_for("guide · bf16 · cpu")
    terminal.wait_gone("Precision for guide")

    terminal.keys("F9")
    terminal.wait_for("contrast-dark")
    terminal.keys("Down", "Enter")
    terminal.wait_gone("contrast-dark")
    terminal.wait_until((home / "tui-chat" / "config.toml").exists, "the theme is saved")

    terminal.keys("Ctrl+O")
    terminal.wait_for("How do I change the temp.* 1 turn")
    terminal.keys("Esc")
    terminal.wait_gone("1 turn ")

    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert terminal.has_its_modes_back() and LEAVE_SCREEN in terminal.output
    theme = re.search(r'theme = "(.+)"', (home / "tui-chat" / "config.toml").read_text())
    assert theme is not None

    again = start("--resume", "last", "-p", "fp32")
    again.wait_for("How do I change the temperature")
    again.wait_for(r"guide · fp32 · cpu")
    again.keys("And how do I undo that?", "Enter")
    again.wait_for(r"(?s)undo that\?.*guide · \d+ tok")
    again.keys("/quit", "Enter")
    assert again.wait_exit() == 0
    path = saved_chat().path()
    assert path[:2] == first and len(path) == 4
    assert path[2].text == "And how do I undo that?" and path[3].precision == "fp32"


def test_esc_stops_and_the_text_stays_in_the_next_prompt(play: Play, saved_chat: Read) -> None:
    terminal = play(replies=["alpha " * 2000, "omega"], token_s=0.01)
    terminal.wait_for("Enter sends")
    terminal.keys("go", "Enter")
    terminal.wait_for("alpha alpha")
    terminal.keys("Esc")
    terminal.wait_for("(?i)stopped")
    terminal.keys("and on", "Enter")
    terminal.wait_for("omega")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    stopped, last = saved_chat().path()[1::2]
    assert (stopped.status, last.status) == ("stopped", "complete")
    assert stopped.text.startswith("alpha alpha")
    assert last.stats["prompt_tokens"] > len(stopped.text.split())


def test_what_is_typed_while_the_model_loads_is_answered(play: Play) -> None:
    terminal = play(load_s=0.4, replies=["Here I am."])
    terminal.wait_for("Enter sends")
    terminal.keys("are you there?", "Enter")
    terminal.wait_for(r"Loading|weights")
    terminal.wait_for("Here I am.")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0


def test_ctrl_c_clears_then_stops_then_quits(play: Play, saved_chat: Read) -> None:
    terminal = play(replies=["alpha " * 2000], token_s=0.01)
    terminal.wait_for("Enter sends")
    terminal.keys("a draft")
    terminal.wait_for("a draft")
    terminal.keys("Ctrl+C")
    terminal.wait_gone("a draft")
    terminal.keys("go", "Enter")
    terminal.wait_for("alpha alpha")
    terminal.keys("Ctrl+C")
    terminal.wait_for("(?i)stopped")
    terminal.keys("Ctrl+C")
    terminal.wait_for("(?i)again")
    terminal.keys("Ctrl+C")
    assert terminal.wait_exit() in (0, 130)
    assert saved_chat().path()[1].status == "stopped"


def test_fast_typing_and_enter_send_all_of_it_at_once(play: Play, saved_chat: Read) -> None:
    terminal = play(replies=["Yes."])
    terminal.wait_for("Enter sends")
    terminal.keys("every letter of this, please\r")
    terminal.wait_for("Yes.")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert saved_chat().path()[0].text == "every letter of this, please"


def test_native_output_goes_to_the_log_and_not_to_the_screen(play: Play, home: Path) -> None:
    terminal = play(replies=["Done."], noise="\x1b[31mNOISE from C\n")
    terminal.wait_for("Enter sends")
    terminal.keys("go", "Enter")
    terminal.wait_for("Done.")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert b"NOISE" not in terminal.output
    log = home / "tui-chat" / "logs" / "tui-chat.log"
    assert log.read_text().count("NOISE from C") == 2
    assert log.stat().st_mode & 0o777 == 0o600


def test_an_editor_gets_the_terminal_and_gives_it_back(
    start: Start, home: Path, play: Play
) -> None:
    editor = home / "editor"
    editor.write_text('#!/bin/sh\ntest -t 0 && test -t 1 && printf "edited outside" > "$1"\n')
    editor.chmod(0o755)
    terminal = play(environ={"EDITOR": str(editor)})
    terminal.wait_for("Enter sends")
    terminal.keys("Ctrl+G")
    terminal.wait_for("edited outside")
    terminal.keys("Ctrl+C", "Ctrl+Q")
    assert terminal.wait_exit() == 0


@pytest.mark.parametrize("size", [(24, 80), (12, 40), (5, 20), (2, 3)])
def test_every_size_starts_and_quits(size: tuple[int, int], play: Play) -> None:
    terminal = play(size=size)
    terminal.wait_until(lambda: any(terminal.lines), "something is shown")
    if size[0] >= 12:
        terminal.wait_for("Type a message")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert terminal.has_its_modes_back()


def test_no_color_is_honoured(play: Play) -> None:
    terminal = play(environ={"NO_COLOR": "1"}, replies=["Grey."])
    terminal.wait_for("Enter sends")
    terminal.keys("go", "Enter")
    terminal.wait_for("Grey.")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    colours = re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", terminal.output)
    assert all(red == green == blue for red, green, blue in colours)


def test_escape_sequences_of_a_reply_are_text(play: Play) -> None:
    terminal = play(replies=["before \x1b]52;c;aGk=\x07\x1b[2J\u202e[/red] after"])
    terminal.wait_for("Enter sends")
    terminal.keys("go", "Enter")
    terminal.wait_for("(?s)before.*after")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert b"\x1b]52" not in terminal.output and b"\x1b[2J" not in terminal.output
    assert "\u202e".encode() not in terminal.output


def test_what_is_typed_before_the_first_frame_is_in_the_prompt(play: Play) -> None:
    terminal = play(replies=["Early indeed."])
    terminal.keys("typed too early")
    terminal.wait_for("› typed too early")
    terminal.keys("Enter")
    terminal.wait_for("Early indeed.")


def test_keys_behind_enter_belong_to_the_next_draft(play: Play, saved_chat: Read) -> None:
    terminal = play(replies=["alpha " * 2000, *["omega"] * 8], token_s=0.01)
    terminal.wait_for("Enter sends")
    terminal.keys("first" + "\r" + "second")
    terminal.wait_for("alpha alpha")
    terminal.wait_for("› second$|› second ")
    terminal.keys("Ctrl+C")
    terminal.wait_gone("› second")
    for number in range(5):  # commands neither lag behind what is typed nor overtake it
        terminal.keys(f"/new\rnumber {number}\r")
        terminal.wait_for(f"(?s)number {number}.*omega")
    terminal.keys("/new\rlost\r/new\rlast words\r", "Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert saved_chat().path()[0].text == "last words"
    assert len(saved_chat().path()) <= 2


def test_tab_in_one_burst_with_a_command_completes_it(play: Play) -> None:
    terminal = play(replies=["unused"])
    terminal.wait_for("Enter sends")
    for _ in range(5):
        terminal.keys("/them\t ember")
        terminal.wait_for("› /theme ember +[0-9]+ tok")
        terminal.keys("Ctrl+C")
        terminal.wait_gone("› /theme ember")


def test_the_best_of_several_is_chosen_and_remembered(play: Play, saved_chat: Read) -> None:
    terminal = play(replies=["The first way.", "Another way.", "A third way."], token_s=0.01)
    terminal.wait_for("Enter sends")
    terminal.keys("/set temperature=0.8", "Enter")
    terminal.wait_for("temperature is 0.8")
    terminal.keys("How is it done?", "F6")
    terminal.wait_for("Best of 4 .*choose one")
    terminal.keys("2")
    terminal.wait_for("(?s)Another way.*2/4")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    chat = saved_chat()
    chosen = chat.path()[-1]
    assert chosen.text == "Another way."
    assert len(chat.siblings(chosen.id)) == 4
    assert [p.chosen for p in chat.details.preferences] == [chosen.id]


def test_opening_the_chat_that_is_being_written_leaves_its_reply_alone(
    play: Play, saved_chat: Read
) -> None:
    terminal = play(replies=["alpha " * 200 + "omega"], token_s=0.01)
    terminal.wait_for("Enter sends")
    terminal.keys("go", "Enter")
    terminal.wait_for("alpha alpha")
    terminal.keys("/open last", "Enter")
    terminal.wait_for(r"(?s)omega.*guide · \d+ tok")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0
    assert [m.status for m in saved_chat().path()] == ["complete", "complete"]
