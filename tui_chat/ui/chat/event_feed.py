"""Delivery of session events from any thread to the UI loop, in paced batches.

A model may decode a thousand tokens a second, and the processor time that the screen takes is lost
to decoding. The feed therefore delivers growing text so rarely that showing it takes about `SHARE`
of the UI thread's time. All other events are delivered with the next frame.
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
"""Least seconds from one batch to the next, even for urgent events such as the end of a reply."""
LONGEST_PAUSE_S = 0.5
"""Seconds for which `SHARE` may hold back growing text, so that it still reads as a stream."""
SHARE = 0.02
"""Fraction of the UI thread's time that showing growing text may take."""
_LEAST_REST = 2.0
"""Least pause, as a multiple of the last batch's cost.

On a slow machine it overrides `LONGEST_PAUSE_S`, so that the UI thread still has time for keys.
"""


class EventFeed:
    """Collects events from the session's threads and delivers them on the UI loop.

    Args:
        hand_over: Called with each batch, on the loop. All processor time of the UI thread until
            the next batch counts as its cost.
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
        """Start delivering on the running loop, beginning with the events collected so far."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._has_woken = bool(self._events)
        if self._events:
            self._look()

    def listen(self, event: SessionEvent) -> None:
        """Add an event. This is the listener for `ChatSession.subscribe`; any thread may call it.

        Args:
            event: The event. Everything but a `Delta` is urgent.
        """
        is_urgent = not (isinstance(event, EngineUpdate) and isinstance(event.event, Delta))
        with self._lock:
            self._events.append(event)
            loop = self._loop
            # Wake the loop once per batch, and once more if the first urgent event arrives while
            # a longer pause is running.
            wakes = loop is not None and (not self._has_woken or is_urgent > self._is_urgent)
            self._is_urgent |= is_urgent
            self._has_woken |= wakes
        if wakes and loop is not None:
            with suppress(RuntimeError):  # the app has exited and its loop is closed
                loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        """Deliver the waiting events if the pause is over; otherwise set a timer for its end."""
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
        """Return the seconds from the last batch to the next, from its cost so far."""
        if self._is_urgent:
            return LEAST_PAUSE_S
        cost = time.thread_time() - self._spent_s
        return max(LEAST_PAUSE_S, min(cost / SHARE, LONGEST_PAUSE_S), cost * _LEAST_REST)
