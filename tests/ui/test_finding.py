"""Finding in the open chat: counted, gone through, marked, and left again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Event
from time import sleep

import pytest
from textual.widgets import Input, Static

from tests.ui.chat_app import chat_app, idle, running, say, talk, until
from tests.ui.painted import marked, message_rows, messages_in_view, row_of
from tests.ui.textual_release import IS_8_1
from tui_chat.chat.conversation import Message
from tui_chat.ui.app import TuiChat
from tui_chat.ui.transcript.shown_text import ShownTexts

TALK = (
    "Do herons migrate?", "Some **herons** do, some do not.\n\n- grey herons: partly\n- others",
    "And storks?", "Storks do.\n\n```\nheron = 1\n```",
)  # fmt: skip


def count(app: TuiChat) -> str:
    """What the bar says."""
    return str(app.chat.query_one("#find-count", Static).visual).removeprefix("↑ ↓  ")


async def test_matches_are_counted_marked_and_gone_through() -> None:
    app = chat_app(conversation=talk(*TALK))
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"heron")
        await until(pilot, lambda: count(app) == "4/4")
        await until(pilot, lambda: marked(app) == ["heron"] * 4)
        transcript = app.chat.transcript
        assert transcript.selected == transcript.path[3].id
        await pilot.press("enter")
        await until(pilot, lambda: count(app) == "1/4")
        assert transcript.selected == transcript.path[0].id
        await pilot.press("down", "down")
        await until(pilot, lambda: count(app) == "3/4")
        await until(pilot, lambda: marked(app, is_current=True) == ["heron"])
        assert transcript.selected == transcript.path[1].id
        await pilot.press("up", "up", "shift+enter")
        await until(pilot, lambda: count(app) == "4/4")


async def test_esc_closes_the_bar_takes_the_marks_off_and_stays_at_the_message() -> None:
    app = chat_app(conversation=talk(*TALK))
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"migrate")
        await until(pilot, lambda: marked(app) == ["migrate"])
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat.find.is_open)
        assert marked(app) == [] and app.chat.transcript.has_focus
        assert app.chat.transcript.selected == app.chat.transcript.path[0].id
        await pilot.press("escape")
        await until(pilot, lambda: app.chat.bar.prompt.has_focus)
        await pilot.press("ctrl+f")
        await until(pilot, lambda: count(app) == "1/1")


async def test_nothing_found_says_so_and_esc_goes_back_to_the_prompt() -> None:
    app = chat_app(conversation=talk(*TALK))
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"egret", "enter")
        await until(pilot, lambda: count(app) == "no match")
        await pilot.press("escape")
        await until(pilot, lambda: app.chat.bar.prompt.has_focus)


async def test_the_whole_path_is_searched_not_only_what_is_mounted() -> None:
    texts = [f"message {n}" for n in range(400)]
    texts[7] = "the heron of long ago"
    app = chat_app(conversation=talk(*texts))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "message 399") is not None)
        assert 7 not in messages_in_view(app)
        await say(pilot, "/find the  HERON")
        await until(pilot, lambda: count(app) == "1/1")
        await until(pilot, lambda: marked(app) == ["the heron"])
        assert "the heron of long ago" in " ".join(message_rows(app, 7))


async def test_a_match_deep_in_a_long_message_is_brought_into_view() -> None:
    lines = [f"- line {n}" for n in range(200)]
    lines[90] = "- the heron"
    app = chat_app(conversation=talk("Which?", "\n".join(lines), "Thanks"))
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"heron")
        await until(pilot, lambda: marked(app, is_current=True) == ["heron"])
        row = row_of(app, "the heron")
        assert row is not None and row > 3, "what is above it can be read, too"


async def test_the_next_match_is_in_view_after_one_further_up() -> None:
    texts = [
        "What?",
        "**Words**, in short.",
        "And?",
        "1. one\n2. two\n   - nested\n\n```\ncode\n```",
    ]
    app = chat_app(conversation=talk(*texts * 6))
    async with running(app, (80, 24)) as pilot:
        await pilot.press("escape", "g", "ctrl+f", *", in short")
        for typed in ("code", ", in short", "nested"):
            app.chat.query_one("#find-text", Input).value = typed
            await until(pilot, lambda typed=typed: marked(app, is_current=True) == [typed])
            for _ in range(6):
                before = count(app)
                await pilot.press("enter")
                await until(pilot, lambda before=before: count(app) != before)
                await until(pilot, lambda typed=typed: marked(app, is_current=True) == [typed])


async def test_what_comes_while_the_bar_is_open_is_found_too() -> None:
    app = chat_app(conversation=talk(*TALK))
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"token")
        await until(pilot, lambda: count(app) == "no match")
        app.session.send("What is a token?")
        await idle(pilot)
        await until(pilot, lambda: count(app).split("/")[-1] not in ("", "no match"))


async def test_markup_and_patterns_are_text() -> None:
    app = chat_app(conversation=talk("[b]x[/b] (.*) \x1b[31m", "fine"))
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"(.*)")
        await until(pilot, lambda: marked(app) == ["(.*)"])
        assert count(app) == "1/1"


async def test_marks_show_in_the_terminals_own_colours() -> None:
    app = chat_app(conversation=talk(*TALK), theme="terminal")
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"heron")
        await until(pilot, lambda: marked(app) == ["heron"] * 4)
        assert marked(app, is_current=True) == ["heron"]


@pytest.mark.skipif(IS_8_1, reason="with Textual 8.1 the colour of a link is over that of a match")
async def test_what_is_shown_is_found_whatever_marks_are_in_it() -> None:
    text = "A **bo**ld [word of](http://e.org/hidden) `co`de &amp; *more\nthan* that"
    app = chat_app(
        conversation=talk("bold?", text, "So?", "| bold word | x |\n|---|---|\n| a | b |")
    )
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"bold word")
        await until(pilot, lambda: marked(app) == ["bold word", "bold word"])
        assert count(app) == "2/2"
        await pilot.press("enter")
        await until(pilot, lambda: count(app) == "1/2")
        await until(pilot, lambda: marked(app, is_current=True) == ["bold word"])
        assert app.chat.transcript.selected == app.chat.transcript.path[1].id
        app.chat.query_one("#find-text", Input).value = "code & more than"
        await until(pilot, lambda: marked(app) == ["code & more than"])
        assert count(app) == "1/1"
        app.chat.query_one("#find-text", Input).value = "hidden"
        await until(pilot, lambda: count(app) == "no match")
        assert marked(app) == []


async def test_a_place_never_reaches_from_one_block_into_the_next() -> None:
    app = chat_app(conversation=talk("Q", "one\n\ntwo\n\n- one\n- two\n\none\ntwo"))
    async with running(app) as pilot:
        await pilot.press("ctrl+f", *"one two")
        await until(pilot, lambda: count(app) == "1/1")
        await until(pilot, lambda: marked(app, is_current=True) == ["one two"])


async def test_a_match_is_marked_where_its_text_is_wrapped_and_in_every_part_of_a_table() -> None:
    words = "word " * 30 + "a rare bird"
    table = f"| left | right |\n|---|---|\n| rare | {words} |\n| x | a rare thing |"
    app = chat_app(conversation=talk(words, table, "- " + words, f"> {words}\n\n`a rare code`"))
    async with running(app, (60, 50)) as pilot:
        await pilot.press("ctrl+f", *"rare")
        await until(pilot, lambda: count(app) == "6/7")
        await until(pilot, lambda: marked(app) == ["rare"] * 7)
        assert marked(app, is_current=True) == ["rare"]


async def test_a_link_is_no_match_and_a_match_in_a_link_is_one() -> None:
    app = chat_app(
        conversation=talk("Q", "See [the heron](http://e.org) and [others](http://f.org).")
    )
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "See the heron") is not None)
        assert marked(app) == []
        await pilot.press("ctrl+f", *"e")
        await until(pilot, lambda: marked(app) == ["ee", "e", "e", "e"])
        assert marked(app, is_current=True) == ["e"]


async def test_typing_on_ends_the_search_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = Event(), Event()

    def slow(
        _: ShownTexts, messages: Iterable[Message], words: list[str], is_over: Callable[[], bool]
    ) -> Iterator[tuple[str, list[str]]]:
        began.set()
        for message in messages:
            while words == ["a"] and not is_over():
                sleep(0.001)
            yield message.id, [message.text]
        ended.set()

    monkeypatch.setattr(ShownTexts, "of", slow)
    app = chat_app(conversation=talk("a heron", "an egret"))
    async with running(app) as pilot:
        await pilot.press("ctrl+f", "a")
        await until(pilot, began.is_set)
        await until(pilot, lambda: count(app) == "searching")
        await pilot.press("n")
        await until(pilot, lambda: count(app) == "1/1")
        await until(pilot, ended.is_set)
