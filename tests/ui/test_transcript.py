"""The transcript: a window on long chats, the reader's place, and the forget line."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.ui.chat_app import chat_app, chat_of, idle, running, say, talk, until
from tui_chat.engine.scripted import Script
from tui_chat.ui.message_window import MOST, NEWEST, MessageWindow
from tui_chat.ui.widgets.forget_line import ForgetLine
from tui_chat.ui.widgets.message_view import MessageView
from tui_chat.ui.widgets.reply_body import ReplyBody

LONG = [f"Message **{number}** of a long chat." for number in range(10_000)]


async def filled(pilot: Pilot[Any]) -> None:
    """Wait until everything that is to be mounted is."""
    transcript = chat_of(pilot).transcript
    workers = [w for w in pilot.app.workers if w.group in ("fill", "page", "late")]
    await pilot.app.workers.wait_for_complete(workers)
    window = transcript.window
    await until(pilot, lambda: len(transcript.views) == window.last - window.first)


def places(pilot: Pilot[Any]) -> dict[str, int]:
    """The messages in view, and the row in which each begins."""
    transcript = chat_of(pilot).transcript
    rows = {
        view.message.text: view.virtual_region.y - round(transcript.scroll_y)
        for view in transcript.views
    }
    return {text: row for text, row in rows.items() if 0 <= row < transcript.size.height}


async def test_ten_thousand_messages_open_at_their_end_at_once() -> None:
    app = chat_app(Script(context=10**6, reserve=256), talk(*LONG))
    began = time.monotonic()
    async with running(app, ready=False) as pilot:
        await until(pilot, lambda: app.chat.transcript.views)
        assert time.monotonic() - began < 5.0
        await filled(pilot)
        transcript = app.chat.transcript
        assert len(transcript.views) == NEWEST
        assert transcript.views[-1].message.text == LONG[-1]
        assert transcript.is_following


async def test_older_messages_come_while_scrolling_up_and_nothing_jumps() -> None:
    app = chat_app(Script(context=10**6), talk(*LONG[:400]))
    async with running(app) as pilot:
        await filled(pilot)
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 0)
        for _ in range(16):
            before, first = places(pilot), transcript.window.first
            transcript.scroll_relative(y=-9, animate=False)
            await pilot.pause()
            await filled(pilot)
            await pilot.pause()
            both = before.keys() & places(pilot).keys()
            moved = {places(pilot)[text] - before[text] for text in both}
            assert moved == {9}
            assert transcript.window.first <= first
            assert len(transcript.views) <= MOST
        assert transcript.window.first < 370
        transcript.follow()
        await filled(pilot)
        await until(pilot, lambda: transcript.views[-1].message.text == LONG[399])
        await until(pilot, lambda: len(transcript.views) <= MOST)


async def test_fast_scrolling_leaves_no_hole() -> None:
    app = chat_app(Script(context=10**6), talk(*LONG[:400]))
    async with running(app) as pilot:
        await filled(pilot)
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 0)
        for _ in range(60):
            transcript.scroll_relative(y=-5)
            await asyncio.sleep(0)
        await filled(pilot)
        window = transcript.window
        texts = [view.message.text for view in transcript.children if isinstance(view, MessageView)]
        assert texts == LONG[window.first : window.last]
        assert window.first < 380
        transcript.follow()
        transcript.scroll_relative(y=-1)
        await until(pilot, lambda: transcript.views[-1].message.text == LONG[399])


async def test_the_first_and_the_last_message_are_one_key_away() -> None:
    app = chat_app(Script(context=10**6), talk(*LONG[:400]))
    async with running(app) as pilot:
        await pilot.press("escape", "g")
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.views and transcript.views[0].message.text == LONG[0])
        assert transcript.selected == transcript.path[0].id
        await until(pilot, lambda: transcript.scroll_y == 0)
        await pilot.press("G")
        await until(pilot, lambda: transcript.views[-1].message.text == LONG[399])
        await until(pilot, lambda: transcript.is_following)


async def test_a_short_chat_begins_at_the_top() -> None:
    app = chat_app(conversation=talk("One", "Two"))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: len(transcript.views) == 2)
        await until(pilot, lambda: transcript.views[0].region.y == transcript.region.y > 0)


async def test_the_forget_line_moves_with_the_draft() -> None:
    turns = ["one two three four five six seven eight nine ten"] * 12
    app = chat_app(Script(context=200, reserve=50), talk(*turns))
    async with running(app, (100, 40)) as pilot:
        await until(pilot, lambda: app.chat.counted is not None)
        assert not app.chat.query(ForgetLine)
        chat_of(pilot).bar.prompt.insert("word " * 30)
        await until(pilot, lambda: app.chat.query(ForgetLine))
        await filled(pilot)
        line = app.chat.query_one(ForgetLine)
        assert line.turns > 0 and line.pushed
        children = list(app.chat.transcript.children)
        kept = children[children.index(line) + 1]
        counted = app.chat.counted
        assert counted is not None
        assert kept is app.chat.transcript.view(counted.view.first_kept_id or "")
        forgotten = [view for view in app.chat.transcript.views if view.has_class("-forgotten")]
        assert len(forgotten) == line.turns * 2
        values = app.chat.meter.values
        assert values is not None and values.overflow
        before = line.turns
        chat_of(pilot).bar.prompt.insert("word " * 60)
        await until(pilot, lambda: app.chat.query_one(ForgetLine).turns > before)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.chat.query(ForgetLine))
        assert not [view for view in app.chat.transcript.views if view.has_class("-forgotten")]


async def test_the_forget_line_stands_last_when_nothing_old_is_sent() -> None:
    turns = ["one two three four five six seven eight nine ten"] * 4
    app = chat_app(Script(context=200, reserve=50), talk(*turns))
    async with running(app, (100, 40)) as pilot:
        chat_of(pilot).bar.prompt.insert("word " * 140)
        await until(pilot, lambda: app.chat.query(ForgetLine))
        counted = app.chat.counted
        assert counted is not None and counted.view.first_kept_id is None
        assert app.chat.transcript.children[-1] is app.chat.query_one(ForgetLine)


async def test_the_meter_shows_what_would_be_sent() -> None:
    app = chat_app(conversation=talk("one two three", "four five"))
    async with running(app) as pilot:
        chat_of(pilot).bar.prompt.insert("six seven")
        await until(pilot, lambda: app.chat.meter.values and app.chat.meter.values.draft)
        values = app.chat.meter.values
        view = app.session.context_view("six seven")
        assert values is not None
        assert (values.history, values.draft, values.free) == (view.history, view.draft, view.free)
        assert sum(values.parts) == values.context == 2048


@pytest.mark.parametrize(
    "text",
    ["a" * 40_000, "word\n\n" * 500, "|" * 60 + "\n" + "|-" * 60 + "\n"],
    ids=["characters", "blocks", "columns"],
)
async def test_a_reply_too_large_for_markdown_is_plain_text(text: str) -> None:
    app = chat_app(conversation=talk("Question", text))
    async with running(app):
        body = app.chat.transcript.views[1].query_one(ReplyBody)
        assert body.is_plain
        assert body.text == text
        assert "plain text" in str(body.query_one(".reply-note").render())


async def test_a_reply_that_grows_too_large_changes_to_plain_text_and_loses_nothing() -> None:
    text = "A paragraph of some words.\n\n" * 1500
    app = chat_app(Script(replies=[text], context=10**6))
    async with running(app) as pilot:
        app.session.set_param("max_new_tokens", 100_000)
        await say(pilot, "Go on")
        await idle(pilot)
        reply = app.session.messages()[-1]
        body = app.chat.transcript.views[-1].query_one(ReplyBody)
        await until(pilot, lambda: body.text == reply.text)


def test_a_window_never_holds_more_than_it_may() -> None:
    window = MessageWindow(total=1000).newest()
    assert (window.first, window.last) == (1000 - NEWEST, 1000)
    for _ in range(200):
        window = window.earlier()
        assert 0 <= window.first < window.last <= 1000
        assert window.last - window.first <= MOST
    assert window.is_at_start
    for _ in range(200):
        window = window.later()
        assert window.last - window.first <= MOST
    assert window.is_at_end
    grown = window.moved_to(1002)
    assert grown.is_at_end and grown.last == 1002
    assert MessageWindow(0, 20, 1000).moved_to(1002).last == 20
    assert window.moved_to(3).first == 0
    held = window.holding(500)
    assert held.first <= 500 < held.last
