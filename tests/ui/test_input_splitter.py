"""However the bytes of a terminal are cut into reads, the same keys and pastes come of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.messages import TerminalSupportsSynchronizedOutput

from tests.ui.textual_release import IS_8_1
from tui_chat.ui.textual_fixes.driver import PieceReader
from tui_chat.ui.textual_fixes.input_splitter import (
    CUT_S,
    LATE_CHARACTERS,
    MOST_SETTLE_S,
    PASTE_END,
    PASTE_SILENCE_S,
    PASTE_START,
    InputSplitter,
    Pasted,
    Piece,
    Typed,
    clean_paste,
)
from tui_chat.ui.textual_fixes.input_splitter import Sequence as KeySequence

ESC_S = 0.025
PARTS = [
    b"\x1b", b"[", b"O", b"A", b"M", b"<0;5;6", b"1;5", b"$", b"~", b"\r", b"\n", b"\x07", b"\x15",
    b"x", b" ", b"\xc3", b"\xa9", b"\xe9", b"\xff", b"\x9b", b"\xf0\x9f\x91\x8d", b"\x1b[D",
    b"\x1b\r", b"\x1b[<35;10;20M", b"\x1b[99999999999;5u", b"\x1b[97;;97:98u", b"201~",
    PASTE_START.encode(), PASTE_END.encode(), b"\x1b[20", b"\x1b]0;title\x07", b"\x1b[I",
]  # fmt: skip
stream = st.lists(st.sampled_from(PARTS), max_size=30).map(b"".join)


def pieces_of(reads: Iterable[bytes]) -> list[Piece]:
    """What comes of reads without a pause between them, and of the silence behind them."""
    splitter = InputSplitter(ESC_S)
    pieces: list[Piece] = []
    for data in reads:
        pieces += splitter.feed(data, 0.0)
        assert splitter.tick(0.0) == []
    now = 0.0
    while (deadline := splitter.deadline) is not None:
        assert deadline <= max(CUT_S, PASTE_SILENCE_S)
        now = max(now, deadline)
        pieces += splitter.tick(now)
    return pieces


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """The same with neighbouring text in one."""
    whole: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Typed) and whole and isinstance(whole[-1], Typed):
            whole[-1] = Typed(whole[-1].text + piece.text)
        else:
            whole.append(piece)
    return whole


@given(stream, st.data())
def test_where_the_reads_are_cut_makes_no_difference(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=12)))
    reads = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert joined(pieces_of(reads)) == joined(pieces_of([data]))
    assert joined(pieces_of(bytes([byte]) for byte in data)) == joined(pieces_of([data]))


@given(stream)
def test_no_bytes_end_the_keyboard(data: bytes) -> None:
    reader = PieceReader()
    for piece in pieces_of([data]):
        reader.events_of(piece)
    assert keys(reader.events_of(Typed("a"))) == ["a"]


@given(stream)
def test_a_paste_is_clean_text(data: bytes) -> None:
    for piece in pieces_of([data]):
        if isinstance(piece, Pasted):
            assert clean_paste(piece.text) == piece.text
            assert all(c in "\n\t" or c.isprintable() for c in piece.text)


def keys(messages: Iterable[object]) -> list[str]:
    """The keys among messages."""
    return [message.key for message in messages if isinstance(message, events.Key)]


def read(data: bytes) -> list[str]:
    """The keys of some bytes."""
    reader = PieceReader()
    return [key for piece in pieces_of([data]) for key in keys(reader.events_of(piece))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x1b", ["escape"]),
        (b"\x1b\x1b", ["escape", "escape"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x1b\r", ["alt+enter"]),
        (b"\x1bxy", ["alt+x", "y"]),
        (b"\x1bf", ["ctrl+right"]),
        (b"\x1bOPa", ["f1", "a"]),
        (b"\x1b[[Aa", ["f1", "a"]),
        (b"\x1b[3$a", ["shift+delete", "a"]),
        (b"\x1b[13;2ua", ["shift+enter", "a"]),
        pytest.param(
            b"\x1b[97;;97:98:99:20013:20013:20013:20013:20013u",
            [*"abc", *"中中中中中"],
            marks=pytest.mark.skipif(IS_8_1, reason="Textual 8.1 reads no associated text"),
        ),
        (b"\x1b[1;\ra", ["enter", "a"]),
        (
            b"\x1b[A\x1b[1;5C\x1b[5~\x1b[24~\x1b[Z",
            ["up", "ctrl+right", "pageup", "f12", "shift+tab"],
        ),
        (b"\x1b[1;\xc3\xa9", ["é"]),
        (b"\x1b[1;2", []),
        (b"\x1b[1;9;9;9za", ["a"]),
        (b"\x1b[1111111111111111111111111111111111111111111", []),
        (b"\x1b[M !!a", ["a"]),
        (b"\x1b[201~a", ["a"]),
        (b"\x15\xff", ["ctrl+u", "replacement_character"]),
    ],
)
def test_sequences_are_keys_and_what_is_unknown_is_dropped(
    data: bytes, expected: list[str]
) -> None:
    assert read(data) == expected


def test_the_mouse_the_focus_and_reports_of_the_terminal_are_read() -> None:
    reader = PieceReader()
    data = b"\x1b[<35;10;20M\x1b[I\x1b[48;30;100;600;1000t\x1b[?2026;1$y\x1b[<0;3;4Mx"
    messages = [m for piece in pieces_of([data]) for m in reader.events_of(piece)]
    moved, focus, resized, report, pressed, key = messages
    assert isinstance(moved, events.MouseMove) and (moved.x, moved.y) == (9, 19)
    assert isinstance(focus, events.AppFocus)
    assert isinstance(resized, events.Resize) and resized.size == (100, 30)
    assert isinstance(report, TerminalSupportsSynchronizedOutput)
    assert isinstance(pressed, events.MouseDown) and keys([key]) == ["x"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("one\n\x1b[32mtwo\x1b[0m\x07\r\nthree", "one\ntwo\nthree"),
        ("a\rb\r\nc\td\x00\x7f\x9b1mf", "a\nb\nc\tdf"),
        ("\x1b]8;;https://a.b\x1b\\link\x1b]8;;\x07!", "link!"),
        ("\x1b(Bplain\x1b7\x1b[", "plain["),
        ("\x1b[20\x1b[201~1~", "[201~"),
    ],
)
def test_pastes_are_cleaned(text: str, clean: str) -> None:
    assert clean_paste(text) == clean


def test_an_end_in_a_paste_is_not_believed_while_more_comes() -> None:
    evil = f"{PASTE_START}a{PASTE_END}/quit\r\x11{PASTE_START}b{PASTE_END}".encode()
    assert pieces_of([evil]) == [Pasted("a/quit\nb")]
    assert pieces_of([f"{PASTE_START}a{PASTE_END}\rb{PASTE_END}".encode()]) == [Pasted("a\nb")]
    assert pieces_of([f"{PASTE_START}a{PASTE_END}\r".encode()]) == [Pasted("a"), Typed("\r")]


def test_a_moving_mouse_does_not_hold_a_paste_back() -> None:
    splitter = InputSplitter(ESC_S)
    splitter.feed(f"{PASTE_START}a{PASTE_END}".encode(), 0.0)
    now, pieces = 0.0, []
    while not pieces:
        now += 0.01
        splitter.feed(b"\x1b[<35;1;1M", now)
        pieces = splitter.tick(now)
    assert now <= MOST_SETTLE_S + 0.02
    assert pieces[0] == Pasted("a") and pieces[1] == KeySequence("\x1b[<35;1;1M")


def test_a_paste_that_falls_silent_is_pasted_and_its_rest_is_not_run() -> None:
    splitter = InputSplitter(ESC_S)
    assert splitter.feed(f"{PASTE_START}one".encode(), 0.0) == []
    assert splitter.tick(PASTE_SILENCE_S - 0.01) == []
    assert splitter.tick(PASTE_SILENCE_S) == [Pasted("one")]
    assert splitter.feed(b"key", 2.0) == [Typed("key")]
    more = "more\r" * LATE_CHARACTERS
    assert splitter.feed(more.encode(), 3.0) == []
    assert splitter.feed(b"end\r\x1b[20", 3.1) == []
    assert splitter.feed(b"1~", 3.2) == []
    assert splitter.tick(3.3) == [Pasted(f"{more}end\n".replace("\r", "\n"))]
    assert splitter.feed(b"x" * LATE_CHARACTERS, 4.0) == [Typed("x" * LATE_CHARACTERS)]


def test_a_character_cut_in_two_is_one_and_half_of_one_is_shown_in_time() -> None:
    splitter = InputSplitter(ESC_S)
    assert splitter.feed(b"\xc3", 0.0) == []
    assert splitter.feed(b"\xa9", 0.4) == [Typed("é")]
    assert splitter.feed(b"\xe9", 1.0) == []
    assert splitter.tick(1.0 + CUT_S) == [Typed("\N{REPLACEMENT CHARACTER}")]
    assert splitter.deadline is None


def test_megabytes_are_taken_in_linear_time() -> None:
    splitter = InputSplitter(ESC_S)
    splitter.feed(PASTE_START.encode(), 0.0)
    for _ in range(4000):
        splitter.feed(b"x" * 1000, 0.0)
    splitter.feed(PASTE_END.encode(), 0.0)
    assert splitter.tick(1.0) == [Pasted("x" * 4_000_000)]
