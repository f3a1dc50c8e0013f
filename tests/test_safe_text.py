"""No code point that a terminal would obey is left, and nothing else is lost."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tui_chat.safe_text import safe_line, safe_text, storable, without_controls

EVIL = (
    "\x1b[31m", "\x1b]52;c;QQ==\x07", "\x1b]8;;http://x\x1b\\", "\x9b31m", "\x9d0;t\x9c", "\x90q",
    "\u202e", "\u2066", "\u200b", "\ufeff", "\u00ad", "\u3164", "\U000e0041", "\U000e0101",
    "\x7f", "\r", "\x0e", "\ud800", "\u2028", "\U0001d173",
)  # fmt: skip
hostile = st.lists(st.one_of(st.sampled_from(EVIL), st.text(max_size=8)), max_size=12).map("".join)


def _is_obeyed(character: str) -> bool:
    code = ord(character)
    if character in "\n\t\u200d":
        return False
    category = unicodedata.category(character)
    return (
        category in ("Cc", "Cs", "Zl", "Zp")
        or (category == "Cf" and unicodedata.bidirectional(character) != "AN" and code < 0x110BD)
        or 0xE0000 <= code < 0xE1000
        or character in "\u3164\uffa0"
    )


@given(hostile)
@example("a\r\r\nb\r\n")
@example("e" + "\u0301\u200d" * 40)
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    for cleaned in (safe_text(text), without_controls(text)):
        assert not [c for c in cleaned if _is_obeyed(c)]


@given(hostile)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert safe_text(safe_text(text)) == safe_text(text)
    assert without_controls(without_controls(text)) == without_controls(text)
    assert safe_line(safe_line(text, 9), 9) == safe_line(text, 9)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    ordinary = text.replace("\u3164", "").replace("\uffa0", "")
    assert safe_text(ordinary) == ordinary
    assert without_controls(ordinary) == ordinary


@pytest.mark.parametrize(
    "text",
    [
        "👨‍👩‍👧‍👦",
        "👩🏽‍❤️‍💋‍👨🏽",
        "🇩🇪",
        "1️⃣",
        "☺︎",
        "नमस्ते",
        "สวัสดีครับ",
        "שָׁלוֹם",
        "مَرْحَبًا",
        "e\u0301\u0323",
    ],
)
def test_emoji_and_marks_that_scripts_need_are_kept(text: str) -> None:
    assert safe_text(text) == text
    assert without_controls(text) == text


def test_control_characters_are_shown_or_deleted() -> None:
    assert safe_text("a\x1b[1mb\x7f\x85") == "a␛[1mb␡\N{REPLACEMENT CHARACTER}"
    assert without_controls("a\x1b[1mb\x7f\x85") == "a[1mb"


def test_line_ends_become_newlines() -> None:
    assert safe_text("a\r\nb\u2028c\td") == "a\nb\nc\td"
    assert without_controls("a\r\nb\u2029c\rd") == "a\nb\ncd"


def test_a_stack_of_marks_is_cut_even_with_joiners_between() -> None:
    assert len(safe_text("e" + "\u0301" * 1000)) == 5
    assert len(safe_text("e" + "\u0301\u200d\ufe0f" * 1000)) == 5


def test_a_line_is_one_line_of_limited_length() -> None:
    assert safe_line(" a \n\t b ") == "a b"
    assert safe_line("abcdef", 4) == "abc…"


def test_surrogates_can_be_stored_as_replacement() -> None:
    assert storable("ok é") == "ok é"
    storable("a\ud83d").encode("utf-8")
