"""Another branch in the place of the one before: everything of it is shown, and nothing moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.ui.chat_app import NOON, chat_app, chat_of, running, until
from tests.ui.painted import (
    dimmed,
    marked,
    message_rows,
    messages_in_view,
    row_of,
    rows,
    shown,
)
from tests.ui.test_transcript import at_first
from tui_chat.chat import conversation as conversations
from tui_chat.chat.conversation import Conversation
from tui_chat.engine.contract.scripted import Script
from tui_chat.ui.app import TuiChat

FORMS = (
    "**{0}**, in short.",
    "1. one of {0}\n2. two\n   - nested\n\n```\ncode of {0}\n```",
    "| {0} | value |\n|---|---|\n| a | 1 |",
    "## {0}\n\n> quoted\n\nand said.",
)


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message is written at the same time."""
    monkeypatch.setattr(conversations, "now", lambda: NOON)


def two_branches(count: int, shared: int = 0) -> Conversation:
    """A chat of two branches of `count` messages below some that they share; A is active."""
    chat, ends = Conversation(title="Two branches"), []
    for number in range(shared):
        chat.append("assistant" if number % 2 else "user", f"shared {number}")
    fork = chat.leaf_id
    for turn, branch in enumerate("AB"):
        chat.set_leaf(fork)
        for number in range(shared, shared + count):
            text = FORMS[(number // 2 + turn) % len(FORMS)] if number % 2 else "What of {0}?"
            role = "assistant" if number % 2 else "user"
            chat.append(role, text.format(f"{branch}{number}"))  # type: ignore[arg-type]
        ends.append(chat.leaf_id)
    chat.set_leaf(ends[0])
    return chat


async def flip(pilot: Pilot[Any], branch: str, place: int = 0) -> None:
    """Press the key that shows a branch, and wait until it is shown."""
    transcript = chat_of(pilot).transcript
    await pilot.press("right" if branch == "B" else "left")
    await until(pilot, lambda: transcript.path[place].text == f"What of {branch}{place}?")
    await until(pilot, lambda: row_of(app_of(pilot), f"What of {branch}{place}?") is not None)


def app_of(pilot: Pilot[Any]) -> TuiChat:
    app = pilot.app
    assert isinstance(app, TuiChat)
    return app


def everything(app: TuiChat) -> list[str]:
    """All rows of the transcript, from its start to its end."""
    transcript, found = app.chat.transcript, list[str]()
    before = transcript.scroll_offset.y
    transcript.scroll_to(y=0)
    while True:
        top, page = transcript.scroll_offset.y, rows(transcript)
        found += page[len(found) - top :]
        if top >= transcript.max_scroll_y:
            break
        transcript.scroll_relative(y=transcript.size.height - 3)
    transcript.scroll_to(y=before)
    return found


async def alone(chat: Conversation) -> list[str]:
    """All rows of a chat that is opened where no other one was."""
    app = chat_app(Script(context=10**6), chat)
    async with running(app) as pilot:
        await at_first(app, pilot)
        return everything(app)


async def test_another_branch_is_shown_whole_in_the_place_of_the_one_before() -> None:
    app = chat_app(Script(context=10**6), two_branches(30))
    async with running(app) as pilot:
        transcript = await at_first(app, pilot)
        a = everything(app)
        await flip(pilot, "B")
        assert transcript.selected == transcript.path[0].id
        assert transcript.scroll_y == 0
        b = everything(app)
        await flip(pilot, "A")
        assert everything(app) == a
    assert a == await alone(two_branches(30))
    chat = two_branches(30)
    chat.flip(chat.path()[0].id, 1)
    assert b == await alone(chat)


async def test_what_is_above_the_fork_stays_where_it_is() -> None:
    app = chat_app(Script(context=10**6), two_branches(20, shared=8))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await pilot.press("escape", "g", *"jjjjjjjj")
        await until(pilot, lambda: transcript.selected == transcript.path[8].id)
        await pilot.pause()
        before, fork = rows(transcript), row_of(app, "What of A8?")
        assert fork
        for branch in "BAB":
            await flip(pilot, branch, 8)
            await pilot.pause()
            assert transcript.selected == transcript.path[8].id
            assert rows(transcript)[:fork] == before[:fork]
            assert row_of(app, f"What of {branch}8?") == fork


async def test_what_is_above_the_fork_stays_where_it_is_while_it_is_out_of_view() -> None:
    app = chat_app(Script(context=10**6), two_branches(20, shared=40))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 0)
        transcript.scroll_to(y=21)
        before = rows(transcript)
        app.session.flip(transcript.path[40].id, 1)
        await until(pilot, lambda: transcript.path[40].text == "What of B40?")
        assert rows(transcript) == before


async def test_the_reader_who_follows_the_end_sees_the_end_of_the_other_branch() -> None:
    app = chat_app(Script(context=10**6), two_branches(21))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: row_of(app, "What of A20?") is not None)
        app.session.flip(transcript.path[0].id, 1)
        await until(pilot, lambda: row_of(app, "What of B20?") is not None)
        assert transcript.is_following


async def test_branches_of_other_lengths_and_roles_are_shown_whole() -> None:
    chat = Conversation()
    ends = []
    for roles in ("uauaua", "ua", "uuaau", ""):
        chat.set_leaf(None)
        chat.append("user", f"version {len(ends)}")
        for place, role in enumerate(roles):
            chat.append("user" if role == "u" else "assistant", f"{len(ends)}: **{place}**")
        ends.append(chat.leaf_id)
    app = chat_app(Script(context=10**6), chat)
    async with running(app, (100, 40)):
        for end in [*ends, *reversed(ends), ends[2], ends[0]]:
            chat.set_leaf(end)
            app.chat.transcript.show(chat.path())
            assert list(messages_in_view(app)) == list(range(len(chat.path())))
            for index, message in enumerate(chat.path()):
                is_reply = message.role == "assistant"
                text = message.text.replace("*", "") if is_reply else message.text
                first = message_rows(app, index)[0]
                assert first.lstrip("▎▌ ").startswith(text)
                assert ("you" in first) is not is_reply


async def test_what_is_dimmed_stays_so_until_the_other_branch_is_counted() -> None:
    app = chat_app(Script(context=220, reserve=50), two_branches(40))
    async with running(app, (100, 40)) as pilot:
        transcript = await at_first(app, pilot)
        await until(pilot, lambda: "What of A0?" in dimmed(app))
        other = app.session.conversation
        other.flip(other.path()[0].id, 1)
        path = other.path()
        transcript.show(path)  # no count follows
        questions = [path[i].text for i in messages_in_view(app) if i % 2 == 0]
        assert len(questions) >= 5
        assert [text for text in dimmed(app) if text.startswith("What of")] == questions
        transcript.open(path)
        assert not dimmed(app) and row_of(app, "┄┄") is None


async def test_what_is_looked_for_is_marked_in_the_other_branch() -> None:
    app = chat_app(Script(context=10**6), two_branches(8))
    async with running(app, (100, 60)) as pilot:
        transcript = app.chat.transcript
        await pilot.press("ctrl+f", *"what of b")
        await until(pilot, lambda: app.chat.query_one("#find-count"))
        await until(pilot, lambda: marked(app) == [])
        app.session.flip(transcript.path[0].id, 1)
        await until(pilot, lambda: marked(app) == ["What of B"] * 4)
        app.session.flip(transcript.path[0].id, -1)
        await until(pilot, lambda: transcript.path[0].text == "What of A0?")
        await until(pilot, lambda: marked(app) == [])
        assert "What of A0?" in rows(transcript)[0]


@pytest.mark.parametrize("place", [1, 19])
async def test_a_message_that_grows_in_the_other_branch_is_shown_as_it_is_then(place: int) -> None:
    app = chat_app(Script(context=10**6), two_branches(30))
    async with running(app) as pilot:
        transcript = await at_first(app, pilot)
        app.session.conversation.flip(transcript.path[0].id, 1)
        path = [*app.session.messages()]
        transcript.show(path)
        path[place] = replace(path[place], text="It has **grown**.")
        transcript.show_message(path[place])
        transcript.select(place)
        assert "It has grown." in shown(app)
        transcript.select(0)
        assert ("one of B1" in shown(app)) is (place != 1)


async def test_a_chat_that_is_opened_over_another_is_shown_whole() -> None:
    app = chat_app(Script(context=10**6), two_branches(30))
    other = two_branches(30)
    other.flip(other.path()[0].id, 1)
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "What of A28?") is not None)
        app.session.open_chat(other)
        await until(pilot, lambda: row_of(app, "What of B28?") is not None)
        assert app.chat.transcript.is_following and app.chat.transcript.selected is None
        assert not any("A" in row for row in everything(app) if "What of" in row)
        await at_first(app, pilot)
        seen = everything(app)
    assert seen == await alone(other)
