"""The mouse over the transcript of the real program: nothing that it does ends the chat."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.pseudo_terminal import PseudoTerminal

Play = Callable[..., PseudoTerminal]

CELLS = """\
| cell | what it says |
|---|---|
| [/P] pause | s/[a-z]/[/g |
| [/] | [@click=app.quit]x |
| [b] | ([sys:LOCK=SAFE…]) a cell that is long enough to be cut somewhere, or to be wrapped |
"""
ENDS = "A reply that ends in an empty line.\n\n"
GROWING = "".join(
    f"{number}. an item\n   - with *one* below\n\n| a | b |\n|---|---|\n| {number} | 2 |\n\n"
    f"```python\nx = {number}\n```\n\n"
    for number in range(9)
)


def pressed(column: int, row: int) -> bytes:
    return f"\x1b[<0;{column};{row}M".encode()


def dragged(column: int, row: int) -> bytes:
    return f"\x1b[<32;{column};{row}M".encode()


def released(column: int, row: int) -> bytes:
    return f"\x1b[<0;{column};{row}m".encode()


def hovered(column: int, row: int) -> bytes:
    return f"\x1b[<35;{column};{row}M".encode()


def asked(terminal: PseudoTerminal, text: str) -> None:
    terminal.wait_for("Enter sends")
    terminal.keys(text, "Enter")


def goes_on(terminal: PseudoTerminal) -> None:
    """The program still takes a draft, and leaves in order."""
    terminal.keys("Esc", "Esc")
    terminal.keys("Ctrl+C", "still here")
    terminal.wait_for("› .*still here")
    terminal.keys("Ctrl+Q")
    assert terminal.wait_exit() == 0


def test_the_pointer_rests_on_cells_that_look_like_markup(play: Play) -> None:
    terminal = play(replies=[CELLS])
    asked(terminal, "a table, please")
    terminal.wait_for(r"\[/P\] pause +s/\[a-z\]/\[/g")
    terminal.wait_for(r"\d+ tok/s")
    for row in range(1, 20):
        for column in (4, 14, 30, 60):
            terminal.send(hovered(column, row))
            terminal.read(0.01)
    goes_on(terminal)


def test_empty_rows_are_dragged_over(play: Play) -> None:
    terminal = play(replies=[ENDS])
    terminal.wait_for("Enter sends")
    terminal.send(b"\x1b[200~line\n\n\n\x1b[201~")
    terminal.wait_for("› line")
    terminal.keys("Enter")
    terminal.wait_for(r"\d+ tok/s")
    for first in range(2, 14):
        terminal.send(pressed(6, first) + dragged(30, first) + dragged(40, first + 1))
        terminal.send(released(40, first + 1))
        terminal.read(0.02)
    goes_on(terminal)


def test_clicks_and_drags_fall_on_a_reply_that_grows(play: Play) -> None:
    terminal = play(replies=[GROWING], token_s=0.01)
    asked(terminal, "lists, tables and code")
    terminal.wait_for("an item")
    terminal.wait_for("Esc Stop")
    number = 0
    while "Esc Stop" in terminal.text:
        number += 1
        row, column = 3 + number * 5 % 20, 4 + number * 7 % 60
        terminal.send(pressed(column, row))
        if number % 3 == 0:
            terminal.send(dragged(column + 5, row + 1))
        terminal.send(released(column, row))
        assert number < 20_000
    terminal.send(b"\x1b[F")
    terminal.wait_for("x = 8")
    goes_on(terminal)
