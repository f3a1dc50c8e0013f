"""The parts of a random walk work: steps made of a seed, its terminal, and what it compares."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.e2e import walk_steps
from tests.e2e.painted_terminal import COLUMNS, Painted
from tests.e2e.walk_expected import difference, painted_letters
from tests.e2e.walk_steps import Check, Send, steps_of
from tui_chat.chat.conversation import Message


def test_a_step_depends_on_the_seed_and_its_number_alone() -> None:
    assert steps_of(3, 700)[:200] == steps_of(3, 200)
    assert steps_of(3, 200) != steps_of(4, 200)
    assert Check() in steps_of(3, 200)


def test_a_step_can_be_pasted_from_its_repr() -> None:
    for step in steps_of(5, 300):
        assert eval(repr(step), vars(walk_steps)) == step


def test_the_terminal_places_text_and_wide_characters() -> None:
    painted = Painted(3, 10)
    painted.feed("\x1b[2;3Hab日本\x1b[38;2;1;2;3mc\x1b[0m".encode())
    assert painted.lines == ["", "  ab日本c", ""]
    painted.feed(b"\x1b[2;6HX")
    assert painted.lines[1] == "  ab X本c"
    painted.resize(2, 6)
    assert painted.lines == ["", "  ab X"]
    assert not painted.unknown
    painted.feed(b"\x1b[1;1Ha\x0bb")
    assert painted.unknown


def test_output_that_comes_in_pieces_is_read_as_one() -> None:
    painted = Painted(2, 10)
    for byte in "\x1b[1;2Hé\x1b]52;c;abc\x07日\r\nx".encode():
        painted.feed(bytes([byte]))
    assert painted.lines == [" é日", "x"]
    assert not painted.unknown


def message(role: str, text: str) -> Message:
    return Message("1", None, role, text, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))  # type: ignore[arg-type]


def test_rows_that_are_missing_or_too_many_are_a_difference() -> None:
    said = [(message("user", "one two three"), (1, 1))]
    state = {"messages": said, "count": 1}
    local = datetime(2026, 1, 2, 3, 4, tzinfo=UTC).astimezone()
    day = "" if local.date() == datetime.now().astimezone().date() else "2 Jan "
    side = f"you  {day}{local:%H:%M}"
    if local.year != datetime.now().year:
        side = f"you  2 Jan 2026 {local:%H:%M}"
    good = ["title", "", f" ▎ one two   {side}", " ▎ three", "", "─" * COLUMNS]
    assert difference(good, state) == ""
    assert difference([*good[:3], "", good[-1]], state)
    assert difference([*good[:3], " ▎ three", " ▎ three", good[-1]], state)
    assert difference([*good[:4], "   left over", good[-1]], state)
    assert painted_letters(["   print(1)    py  1 ⧉"], set()) == "print1"


def test_every_key_is_part_of_the_walk() -> None:
    steps = [step for seed in range(20) for step in steps_of(seed, 600)]
    sent = b"".join(step.data for step in steps if isinstance(step, Send))
    for key in (b"\x1bOQ", b"\x1b[15~", b"\x14", b"\x0f", b"\x10", b"\x1b[200~", b"\x1b[<64;"):
        assert key in sent
