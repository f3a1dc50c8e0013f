"""What reaches the terminal is text, whichever widget it came through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.color import Color
from textual.widgets import Input, Label, Markdown, OptionList, Static, TextArea

from tests.ui.piece_app import PieceApp, until
from tui_chat.ui.plain_text import TERMINAL_GUARD, notify_plain, plain, plain_line

BLACK = Color(0, 0, 0)
PAYLOADS = (
    "\x1b[31m", "\x1b]52;c;QQ==\x07", "\x1b]52;c;QQ==\x1b\\", "\x1b]8;;http://x\x1b\\",
    "\x1b]2;title\x07", "\x1bPq\x1b\\", "\x9b31m", "\x9d52;c;QQ==\x9c", "\u202e", "\x0e", "\x7f",
    "\u200b", "\r",
)  # fmt: skip
FORBIDDEN = {c for c in map(chr, [*range(32), *range(0x7F, 0xA0), 0x202E, 0x200B])}


def guarded(text: str) -> str:
    segments = TERMINAL_GUARD.apply([Segment(text)], BLACK)
    return segments[0].text


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_no_widget_lets_a_control_character_through(payload: str) -> None:
    text = f"a{payload}b"
    app = PieceApp(
        Static(text, markup=False),
        Label(text, markup=False),
        Markdown(f"{text}\n\n`{text}`\n\n&#x202e;&#x200b;\n\n[{text}](http://{text})"),
        OptionList(text, markup=False),
        lambda: Input(text),
        TextArea(text),
    )
    async with app.run_test(size=(60, 40)) as pilot:
        await until(pilot, lambda: app.shown().count("b") >= 6)
        assert not FORBIDDEN.intersection("".join(app.lines()))


@given(st.text())
def test_the_guard_keeps_the_width_and_leaves_no_control_character(text: str) -> None:
    shown = guarded(text)
    assert not FORBIDDEN.intersection(shown)
    assert guarded(shown) == shown
    if text.isprintable():
        assert cell_len(shown) == cell_len(text)


@pytest.mark.parametrize("code", [*range(32), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x202E, 0xD800])
def test_what_is_deleted_had_no_width(code: int) -> None:
    text = f"a{chr(code)}b"
    assert cell_len(guarded(text)) == cell_len(text)


def test_joined_emoji_stay_joined() -> None:
    assert guarded("👨‍👩‍👧 ❤️ 🇩🇪") == "👨‍👩‍👧 ❤️ 🇩🇪"


def test_terminal_control_segments_and_styles_pass() -> None:
    control = Segment("\x1b[2J", None, [(ControlType.CLEAR,)])
    styled = Segment("é\x1b", Style(bold=True))
    assert TERMINAL_GUARD.apply([control, styled], BLACK) == [
        control,
        Segment("é", Style(bold=True)),
    ]


def test_a_link_target_cannot_end_its_own_sequence() -> None:
    style = Style(link="http://x/\x1b\\\x1b]52;c;QQ==\x07")
    [segment] = TERMINAL_GUARD.apply([Segment("x", style)], BLACK)
    assert segment.style is not None
    assert segment.style.link == "http://x/\\]52;c;QQ=="
    harmless = Segment("x", Style(link="http://x/"))
    assert TERMINAL_GUARD.apply([harmless], BLACK) == [harmless]


@given(st.text(alphabet="[]/@=(){}\"'\\$#abc ", max_size=40))
def test_plain_never_reads_markup(text: str) -> None:
    assert plain(text).plain == text
    assert not plain(text).spans


def test_plain_line_is_one_line() -> None:
    assert plain_line("a\nb\x1b", 9).plain == "a b␛"


async def test_a_notification_shows_markup_as_text() -> None:
    app = PieceApp(Static("x"))
    async with app.run_test(notifications=True, size=(80, 20)) as pilot:
        notify_plain(app, "text [/foo] [@click=app.quit]q[/]\x1b", title="a[b]\n", severity="error")
        await until(pilot, lambda: "[/foo] [@click=app.quit]q[/]␛" in app.shown())
        assert "a[b]" in app.shown()
