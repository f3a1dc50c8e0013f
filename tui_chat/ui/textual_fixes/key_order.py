"""Dispatch of keys one after the other, so that no key overtakes another.

Textual's fields (`TextArea` and `Input` of 8.2.8) insert letters when they arrive, but run editing
keys only after these have bubbled up to the app as bindings. In one read, `lost`, Ctrl+U, `kept`
leaves the field empty, and letters behind a key that opens a screen are typed into the screen below
it. This module would be unneeded if Textual finished one key before it began the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widgets import Input, TextArea

log = logging.getLogger(__name__)

_TICK_S = 0.025
"""Seconds between two checks whether a key has been handled."""
_MOST_TICKS = 8
"""Ticks that the next keys wait for one key at most. Ticks do not count the time in which the
event loop is blocked."""
_MOST_ROUNDS = 4
"""Times that a key's way is followed, because the key may move the focus."""

KeyOrPaste = events.Key | events.Paste
KeyOrMouse = events.Key | events.Paste | events.MouseEvent


class Key(events.Key):
    """A key event that records whether a handler has taken it.

    Its class name makes Textual look up handlers by the name `on_key`, as for its own key events.
    """

    was_taken = False
    pressed_in: Screen[Any] | None = None
    """The screen that was on top when the key was pressed."""

    def stop(self, stop: bool = True) -> Key:
        """Record that the key goes no further."""
        self.was_taken = stop
        super().stop(stop)
        return self


class _Way:
    """The way of one key from the focused widget up to the app.

    Args:
        event: The key or paste.
        start: The focused node.
    """

    def __init__(self, event: KeyOrPaste, start: DOMNode) -> None:
        self.event = event
        self.rounds = 0
        self.ticks = 0
        self.timer: asyncio.TimerHandle | None = None
        self.start_at(start)

    def start_at(self, start: DOMNode) -> None:
        """Begin the way, or begin it again at another node."""
        self.start = start
        self.rounds += 1
        self.left: deque[MessagePump] = deque(start.ancestors_with_self)

    @property
    def is_typing(self) -> bool:
        """Whether the key is a letter on its way to a field or already in it."""
        is_field = isinstance(self.start, Input | TextArea)
        return is_field and self.event.is_forwarded and _is_letter(self.event)

    @property
    def is_typed(self) -> bool:
        """Whether a field has taken the key as a letter, so that nothing is left to do."""
        return self.is_typing and isinstance(self.event, Key) and self.event.was_taken


def _is_letter(event: KeyOrMouse) -> bool:
    return isinstance(event, events.Key) and event.is_printable


class KeyOrder:
    """The queue of keys and pastes in front of the app.

    Behind each key the queue sends a marker, through the message queues of the focused widget and
    of all its ancestors. The next key starts when the marker is back at the app: by then the key
    has been handled, and so have the messages that it caused on this way. If that moved the focus
    or opened a screen, the marker goes the new way as well.

    A slow handler does not hold up the keys: after `_MOST_TICKS` the queue passes the waiting keys
    on, and the next ones too, until a marker comes through again.

    Args:
        app: The app that the keys belong to.
        dispatch: Textual's own handling of a key; called in the app's message loop.
    """

    def __init__(self, app: App[Any], dispatch: Callable[[KeyOrMouse], Awaitable[None]]) -> None:
        self._app = app
        self._dispatch = dispatch
        self._waiting: deque[KeyOrMouse] = deque()
        self._way: _Way | None = None
        self._is_jammed = False

    @property
    def is_busy(self) -> bool:
        """Whether a key is being handled, so that mouse events have to wait too."""
        return self._way is not None and not self._is_jammed

    async def take(self, event: KeyOrMouse) -> None:
        """Dispatch a key, or queue it until those before it have been handled."""
        if isinstance(event, events.Key):
            event = Key(event.key, event.character)
            event.pressed_in = next(reversed(self._app.screen_stack), None)
        self._waiting.append(event)
        if self._way is None or self._need_not_wait(self._way):
            await self._next()

    def _need_not_wait(self, way: _Way) -> bool:
        """Return whether the next key may follow the last one immediately."""
        if self._is_jammed:
            return True
        # Letters for one field stay in order in the field's own queue, and share one repaint.
        is_same = way.is_typing and self._start() is way.start
        return is_same and _is_letter(self._waiting[0])

    async def _next(self) -> None:
        """Dispatch the next key and those that need not wait for it; follow the last one's way."""
        self._end_way()
        while self._waiting:
            event = self._waiting.popleft()
            if isinstance(event, events.MouseEvent):
                await self._dispatch(event)
                continue
            way = self._way = _Way(event, self._start())
            try:
                await self._dispatch(way.event)
            except BaseException:
                self._end_way()
                raise
            if self._waiting and self._need_not_wait(way):
                continue
            way.timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick, way)
            self._go_on(way)
            return

    def _start(self) -> DOMNode:
        return self._app.focused or self._app.screen

    def _end_way(self) -> None:
        if self._way is not None and self._way.timer is not None:
            self._way.timer.cancel()
        self._way = None

    # The marker -----------------------------------------------------------------------------------

    def _go_on(self, way: _Way) -> None:
        """Post the marker to the next node of the way that takes messages; the app comes last."""
        passed = events.Callback(callback=partial(self._passed, way))
        while way.left and not way.left.popleft().post_message(passed):
            pass

    async def _passed(self, way: _Way) -> None:
        if way is not self._way:
            return
        if way.left:
            if way.is_typed and not self._is_jammed:
                way.left = deque([self._app])
            self._go_on(way)
            return
        start = self._start()
        if start is not way.start and not way.is_typed and way.rounds < _MOST_ROUNDS:
            way.start_at(start)
            self._go_on(way)
            return
        self._is_jammed = False
        await self._next()

    def _tick(self, way: _Way) -> None:
        if way is not self._way:
            return
        way.ticks += 1
        if way.ticks < _MOST_TICKS:
            way.timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick, way)
            return
        log.info("a key takes long; the next ones do not wait for it")
        self._app.post_message(events.Callback(callback=partial(self._give_up, way)))

    async def _give_up(self, way: _Way) -> None:
        if way is self._way:
            self._is_jammed = True
            if self._waiting:
                await self._next()
