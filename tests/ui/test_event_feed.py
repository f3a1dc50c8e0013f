"""The event feed: nothing lost or out of order, and text no more often than it may cost."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise

import pytest

from tui_chat.chat.events import Delta
from tui_chat.session import EngineUpdate, SessionEvent, TreeChanged
from tui_chat.ui.chat import event_feed
from tui_chat.ui.chat.event_feed import LEAST_PAUSE_S, LONGEST_PAUSE_S, SHARE, EventFeed


def delta(number: int) -> EngineUpdate:
    return EngineUpdate("reply", Delta(f"{number} ", (number,)))


class Batches:
    """What a feed hands over, and when."""

    def __init__(self, cost_s: float = 0.0, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.spent_s = 0.0
        self.cost_s = cost_s
        self.events: list[SessionEvent] = []
        self.times: list[float] = []
        if monkeypatch is not None:
            monkeypatch.setattr(event_feed.time, "thread_time", lambda: self.spent_s)

    def take(self, events: tuple[SessionEvent, ...]) -> None:
        self.events += events
        self.times.append(time.monotonic())
        self.spent_s += self.cost_s

    async def hold(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.events) < count:
                await asyncio.sleep(0.005)

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.times)]


async def test_events_of_any_thread_come_in_order_and_none_is_lost() -> None:
    batches = Batches()
    feed = EventFeed(batches.take)
    said = [delta(number) if number % 7 else TreeChanged() for number in range(5000)]
    for event in said[:100]:
        feed.listen(event)  # before there is a loop
    feed.start()
    thread = threading.Thread(target=lambda: [feed.listen(event) for event in said[100:]])
    thread.start()
    await batches.hold(len(said))
    thread.join()
    assert batches.events == said
    assert len(batches.times) < len(said) / 10


async def test_growing_text_waits_for_what_showing_it_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = Batches(0.15 * SHARE, monkeypatch)
    feed = EventFeed(batches.take)
    feed.start()
    for number in range(8):
        feed.listen(delta(number))
        await batches.hold(number + 1)
    assert min(batches.pauses) >= 0.15 - 0.01
    assert LEAST_PAUSE_S < 0.15 < LONGEST_PAUSE_S


async def test_the_end_of_a_reply_does_not_wait_for_the_pace_of_its_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = Batches(1000.0, monkeypatch)
    feed = EventFeed(batches.take)
    feed.start()
    feed.listen(delta(0))
    await batches.hold(1)
    feed.listen(delta(1))  # not before 2000 seconds have passed
    await asyncio.sleep(0.1)
    assert len(batches.events) == 1
    feed.listen(TreeChanged())
    await batches.hold(3)
    assert batches.events == [delta(0), delta(1), TreeChanged()]


async def test_a_loop_that_has_ended_troubles_nobody() -> None:
    batches = Batches()
    feed = EventFeed(batches.take)

    async def brief() -> None:
        feed.start()

    await asyncio.to_thread(asyncio.run, brief())
    feed.listen(TreeChanged())
    assert not batches.events
