"""Garbage is collected when nobody is kept waiting, and what is out of sight is not laid out."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.ui.chat_app import chat_app, running, talk, until
from tests.ui.test_transcript import filled
from tui_chat.engine.scripted import Script
from tui_chat.ui.garbage import (
    AT_LEAST_EVERY,
    MUCH,
    PAUSE_S,
    SHORT_PAUSE_S,
    WORTH_IT,
    QuietCollector,
)

_PART = "Paragraph {} of a long reply.\n\n- one\n- two\n\n```\ncode\n```"
LONG = "\n\n".join(_PART.format(number) for number in range(40))


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Full collections, and a count of younger ones that makes one worth it."""
    made: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: made.append(2))
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, WORTH_IT))
    yield made


def test_it_waits_for_a_pause_and_an_end(collections: list[int]) -> None:
    now, busy = [0.0], [True]
    collector = QuietCollector(lambda: busy[0], lambda: now[0])
    now[0] = PAUSE_S + 1
    assert not collector.look()
    busy[0] = False
    collector.touched()
    assert not collector.look()
    now[0] += PAUSE_S
    assert collector.look()
    assert collections == [2]


def test_where_there_is_much_a_short_pause_will_do(
    collections: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    collector = QuietCollector(lambda: False, lambda: now[0])
    now[0] = SHORT_PAUSE_S
    assert not collector.look()
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, MUCH))
    assert collector.look()
    collector.touched()
    assert not collector.look()
    assert collections == [2]


def test_it_is_left_alone_where_there_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "get_count", lambda: (600, 9, WORTH_IT - 1))
    collector = QuietCollector(lambda: False, iter([0.0, 100.0]).__next__)
    assert not collector.look()


async def test_the_app_takes_over_and_gives_back() -> None:
    before = gc.get_threshold()
    app = chat_app(Script())
    async with running(app):
        assert gc.get_threshold() == (*before[:2], AT_LEAST_EVERY)
    assert gc.get_threshold() == before


async def test_what_is_far_away_is_folded_and_comes_back_unchanged() -> None:
    app = chat_app(Script(context=10**6), talk("A?", LONG, "B?", LONG))
    async with running(app) as pilot:
        await filled(pilot)
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 400)
        first, last = transcript.views[1], transcript.views[3]
        await until(pilot, lambda: first.is_folded)
        assert not last.is_folded
        shown = set(app.screen._compositor.full_map)
        assert len([w for w in last.walk_children() if w in shown]) < 200
        assert len(list(last.walk_children())) > 300

        places = {view: view.virtual_region for view in transcript.views}
        transcript.scroll_to(y=0)
        await until(pilot, lambda: not first.is_folded and last.is_folded)
        assert {view: view.virtual_region for view in transcript.views} == places
        lines = [strip.text for strip in app.screen._compositor.render_strips()]
        assert any("Paragraph 0 of a long reply." in line for line in lines)


async def test_a_folded_message_that_changes_is_laid_out_again() -> None:
    app = chat_app(Script(context=10**6), talk("A?", "short", "B?", LONG))
    async with running(app) as pilot:
        await filled(pilot)
        transcript = app.chat.transcript
        view = transcript.views[1]
        await until(pilot, lambda: view.is_folded)
        height = view.virtual_region.height
        message = view.message
        view.show(replace(message, text=LONG), (1, 1), message.created)
        await until(pilot, lambda: view.virtual_region.height > height + 100)
