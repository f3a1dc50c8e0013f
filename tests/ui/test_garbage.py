"""Garbage is collected when nobody is kept waiting."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.ui.chat_app import chat_app, running
from tui_chat.engine.contract.scripted import Script
from tui_chat.ui.garbage import (
    AT_LEAST_EVERY,
    MUCH,
    PAUSE_S,
    SHORT_PAUSE_S,
    WORTH_IT,
    QuietCollector,
)


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
