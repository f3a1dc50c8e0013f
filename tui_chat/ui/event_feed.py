"""The way of session events onto the UI loop: collected on any thread, handed over in batches.

Owns the pace. A model may write a thousand tokens a second; the screens are told at most
`FRAMES_PER_S` times. Refuses to look into the events.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from tui_chat.session import SessionEvent

FRAMES_PER_S = 30
"""Most batches in a second."""


class EventFeed:
    """Collects events from the session's threads until the UI loop takes them.

    Args:
        wake: Tells the UI loop that something waits; called on the session's threads, once for
            each batch.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._events: deque[SessionEvent] = deque()
        self._lock = threading.Lock()
        self._is_awake = False
        self._taken_at = 0.0

    def listen(self, event: SessionEvent) -> None:
        """Take an event; the listener for `ChatSession.subscribe`. Any thread."""
        with self._lock:
            self._events.append(event)
            wake, self._is_awake = not self._is_awake, True
        if wake:
            self._wake()

    def delay(self) -> float:
        """Seconds until the next batch is due; 0 if it is due now."""
        return max(0.0, self._taken_at + 1 / FRAMES_PER_S - time.monotonic())

    def take(self) -> tuple[SessionEvent, ...]:
        """Everything that has been collected, in order; the next event wakes the loop again."""
        with self._lock:
            events = tuple(self._events)
            self._events.clear()
            self._is_awake = False
            self._taken_at = time.monotonic()
        return events
