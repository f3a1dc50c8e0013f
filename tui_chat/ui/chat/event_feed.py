"""The way of session events onto the UI loop: collected on any thread, handed over in batches.

Owns the pace. A model may write a thousand tokens a second, and what the screen takes of the
processor is missing for the next one: growing text is handed over so rarely that showing it stays
within `SHARE`. Everything else comes with the next frame.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from tui_chat.chat.events import Delta
from tui_chat.session import EngineUpdate, SessionEvent

LEAST_PAUSE_S = 1 / 30
"""From one batch to the next, at least; also for the end of a reply."""
LONGEST_PAUSE_S = 0.5
"""Growing text is kept back so long at most, so that it reads as a stream."""
SHARE = 0.02
"""How much of the UI thread's time showing growing text may take."""
_LEAST_REST = 2.0
"""However long a frame takes, so many times that long the thread is left to the keys."""


class EventFeed:
    """Collects events from the session's threads and hands them to the UI loop.

    Args:
        hand_over: Takes a batch, on the loop; what it begins counts until the next batch.
    """

    def __init__(self, hand_over: Callable[[tuple[SessionEvent, ...]], object]) -> None:
        self._hand_over = hand_over
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events: deque[SessionEvent] = deque()
        self._lock = threading.Lock()
        self._has_woken = False
        self._is_urgent = False
        self._timer: asyncio.TimerHandle | None = None
        self._began_at = 0.0
        self._spent_s = 0.0

    def start(self) -> None:
        """Hand over from now on, on the running loop; what has been collected comes first."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._has_woken = bool(self._events)
        if self._events:
            self._look()

    def listen(self, event: SessionEvent) -> None:
        """Take an event; the listener for `ChatSession.subscribe`. Any thread."""
        is_urgent = not (isinstance(event, EngineUpdate) and isinstance(event.event, Delta))
        with self._lock:
            self._events.append(event)
            loop = self._loop
            wakes = loop is not None and (not self._has_woken or is_urgent > self._is_urgent)
            self._is_urgent |= is_urgent
            self._has_woken |= wakes
        if wakes and loop is not None:
            with suppress(RuntimeError):  # the screens have ended, and the loop with them
                loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        """Hand over what waits if it is due, else look again when it may be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self._began_at + self._pause() - time.monotonic()
        if wait > 0:
            self._timer = asyncio.get_running_loop().call_later(wait, self._look)
            return
        with self._lock:
            events = tuple(self._events)
            self._events.clear()
            self._has_woken = self._is_urgent = False
        self._began_at, self._spent_s = time.monotonic(), time.thread_time()
        if events:
            self._hand_over(events)

    def _pause(self) -> float:
        """Seconds from the last batch to the next, by what the last one has cost so far."""
        if self._is_urgent:
            return LEAST_PAUSE_S
        cost = time.thread_time() - self._spent_s
        return max(LEAST_PAUSE_S, min(cost / SHARE, LONGEST_PAUSE_S), cost * _LEAST_REST)
