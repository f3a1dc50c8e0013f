"""What a message shows, known without widgets: the same texts as the widgets have."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ui.chat_app import NOON
from tests.ui.replies import LONG_TEXTS, PIECES, SIZE, TEXTS, ReplyApp, painted
from tui_chat.chat.conversation import Message
from tui_chat.chat.matching import occurrences, pattern_of
from tui_chat.ui.transcript import shown_text
from tui_chat.ui.transcript.shown_text import ShownTexts, may_show, new_parser, shown_texts

MORE_PIECES = [
    *PIECES, "![a picture](p.png)", "[*two* words](<x y> 'title')", "[ref]", "[ref]: http://e.org\n",
    "&amp;", "&#65;", "&nbsp;", "\\*", "\\\n", "http://e.org/%41b", "www.e.org", "me@e.org", "~~",
    "<http://E.org/x>", "    ", "\t", "~~~py\n", "___", "_", "`` a`b ``", "\x1b[31m", "\u202e",
    "é", "|", "===\n", "!", "\x0c", "\x00",
]  # fmt: skip
SOURCES = st.lists(st.sampled_from(MORE_PIECES), max_size=14).map("".join)


def reply(text: str) -> Message:
    return Message("1", None, "assistant", text, NOON)


def known(text: str) -> list[str]:
    return shown_texts(reply(text), new_parser())


def letters(rows: Sequence[str]) -> str:
    """What is written in rows, without marks of lists and quotations, rules and the signs of code.

    How a text is wrapped makes no difference.
    """
    return re.sub(r"[\W_]", "", "".join(rows))


CODE_SIGN = re.compile(r"(\w+  )?\d+ ⧉$")
NUMBER = re.compile(r"^\W*\d+[.)] ")


@pytest.mark.parametrize("text", [*TEXTS.values(), *LONG_TEXTS.values()], ids=len)
async def test_the_texts_are_those_on_the_screen(text: str) -> None:
    app = ReplyApp(text)
    async with app.run_test(size=SIZE) as pilot:
        rows = [CODE_SIGN.sub("", row) for row in await painted(app, pilot)]
    found = [NUMBER.sub("", row) for row in rows]
    shown = [line for block in known(text) for line in block.split("\n")]
    if "\n| " in text:  # cells that are wrapped stand side by side
        assert sorted(letters(found)) == sorted(letters(shown))
    else:
        assert letters(found) == letters(shown)


@settings(max_examples=500, deadline=None)
@given(SOURCES, st.data())
def test_what_is_on_the_screen_is_never_passed_over(text: str, data: st.DataObject) -> None:
    for shown in known(text):
        start = data.draw(st.integers(0, max(0, len(shown) - 1)))
        wanted = shown[start : start + data.draw(st.integers(1, 12))]
        if wanted.split():
            pattern = pattern_of(wanted)
            assert pattern is not None and pattern.search(shown)
            assert may_show(reply(text), wanted.split())


def test_most_of_what_has_not_the_words_is_passed_over() -> None:
    text = "Some **bold** words, `code` and\n\n- a list\n- of *two*\n"
    assert may_show(reply(text), ["bold", "words"])
    assert not may_show(reply(text), ["cold", "words"])


def test_what_the_user_said_is_shown_as_it_is() -> None:
    def said(text: str) -> list[str]:
        return shown_texts(Message("1", None, "user", text, NOON), new_parser())

    assert said("not **bold**") == ["not **bold**"]
    long = "words that go on " * 5_000 + "END"
    assert "".join(said(long)) == long


def test_a_match_is_known_by_its_message_its_block_and_its_place_there() -> None:
    texts = [("m", ["a heron, a Heron", "none", "herons"]), ("n", ["the heron"])]
    pattern = pattern_of("heron")
    assert pattern is not None
    found = occurrences(texts, pattern, 100)
    assert [(o.message_id, o.part, o.ordinal) for o in found] == [
        ("m", 0, 0), ("m", 0, 1), ("m", 2, 0), ("n", 0, 0),
    ]  # fmt: skip
    assert occurrences(texts, pattern, 2) == found[:2]


def test_texts_are_parsed_once_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def counted(message: Message, parser: object) -> list[str]:
        parsed.append(message.id)
        return [message.text]

    monkeypatch.setattr(shown_text, "shown_texts", counted)
    monkeypatch.setattr(shown_text, "MOST_KEPT", 25)
    messages = [Message(str(n), None, "assistant", f"word {n:04}x", NOON) for n in range(3)]
    texts = ShownTexts()
    for _ in range(2):
        found = list(texts.of(messages, ["word"], lambda: False))
        assert found == [(m.id, [m.text]) for m in messages]
    assert parsed == ["0", "1", "2", "2"]  # the third did not fit
    grown = Message("0", None, "assistant", "a word more", NOON)
    assert list(texts.of([grown], ["word"], lambda: False)) == [("0", ["a word more"])]
    left = iter([False, True])
    assert len(list(texts.of(messages, ["word"], lambda: next(left)))) == 1
