"""What a message shows, known without widgets: the same texts as the widgets have."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ui.chat_app import NOON
from tests.ui.piece_app import until
from tests.ui.test_growing_reply import PIECES, SIZE, TEXTS, ReplyApp
from tui_chat.chat.conversation import Message
from tui_chat.chat.matching import pattern_of
from tui_chat.safe_text import safe_text
from tui_chat.ui import shown_text
from tui_chat.ui.message_notes import USER_CHARACTERS
from tui_chat.ui.shown_text import ShownTexts, may_show, new_parser, shown_texts

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


async def of_widgets(text: str) -> list[str]:
    app = ReplyApp(text)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.body.text == safe_text(text))
        await pilot.pause()
        return [str(part.visual) for part in app.body.text_parts if str(part.visual)]


@pytest.mark.parametrize("text", [*TEXTS.values(), "x" * 40_000, "a\n\n" * 500], ids=len)
async def test_the_texts_are_those_of_the_widgets(text: str) -> None:
    assert known(text) == await of_widgets(text)


@settings(max_examples=80, deadline=None)
@given(SOURCES)
def test_the_texts_of_any_reply_are_those_of_the_widgets(text: str) -> None:
    assert known(text) == asyncio.run(of_widgets(text))


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


def test_what_the_user_said_is_shown_as_it_is_up_to_a_length() -> None:
    def said(text: str) -> list[str]:
        return shown_texts(Message("1", None, "user", text, NOON), new_parser())

    assert said("not **bold**") == ["not **bold**"]
    (long,) = said("a" * USER_CHARACTERS + "hidden")
    assert "hidden" not in long and "6 characters more" in long


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
