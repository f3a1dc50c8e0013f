"""A crash closes the screen it happened in, and the program goes on.

Textual 8.2.8 ends the program on every exception that leaves a handler, whoever's mistake it is
(`App._handle_exception`), and prints a traceback with the values of all local variables, typed
text among them. Its own code raises in ordinary use: textual#6643, #6708, #6428, and a palette that
is closed while it searches. It also stops the message loop of the widget whose handler raised, so
that by the time the app hears of it the widget is lost; therefore the exception is caught one step
earlier, in `MessagePump._dispatch_message`.

This module would not be needed if Textual had a public hook for the exceptions of a handler that
could say "go on".
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any, Generic, TypeVar

from rich.text import Text
from textual.actions import ActionParseResult
from textual.app import App
from textual.dom import DOMNode
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.worker import WorkerFailed

from tui_chat.errors import TuiChatError
from tui_chat.ui.plain_text import notify_plain
from tui_chat.ui.remedies import in_screens

log = logging.getLogger(__name__)

R = TypeVar("R")

MOST, WITHIN_S = 5, 10.0
"""So many crashes within so many seconds are survived; one more, and the program ends."""

_OWN = str(Path(__file__).parents[2]) + os.sep
_HERE = str(Path(__file__).parent) + os.sep


class ScreensBrokeOff(Exception):
    """What ends the program after a crash that it cannot survive; the crash is its cause.

    Textual shows an exception that can draw itself as it draws itself, instead of with all values.
    """

    def __rich__(self) -> Text:
        return Text("The screens broke off.")


class GuardedApp(App[R], Generic[R]):
    """An app that survives the crashes of its modal screens, of single widgets, and of Textual."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._has_started = False
        self._is_broken = False
        self._survived: deque[float] = deque(maxlen=MOST)
        """When the last crashes were."""
        self._broken_screens: set[Screen[Any]] = set()
        """Those that are about to be closed."""

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Leave the key of a screen alone that has no widgets yet, or none any more.

        On a busy loop a key can get ahead of what opens the screen, and Textual finds the binding
        before the widgets are there.
        """
        screen = default_namespace if isinstance(default_namespace, Screen) else None
        if screen is not None and not (screen.is_mounted and screen.is_attached):
            return False
        return await super().run_action(action, default_namespace, namespaces)

    def on_ready(self) -> None:
        """From now on there is something that can go on."""
        self._has_started = True

    def survive(self, error: Exception, pump: MessagePump | None = None) -> bool:
        """Go on after a crash, if it leaves something that works.

        Args:
            error: What was raised.
            pump: Whose handler raised it, where that is known.

        Returns:
            Whether the program goes on. The crash is in the log and the user has been told then.
        """
        if self._is_broken or not (self._has_started and self.is_running):
            return False
        if isinstance(error, WorkerFailed) and isinstance(error.error, Exception):
            error = error.error
        if isinstance(error, TuiChatError):  # no crash, but what somebody should be told
            notify_plain(self, in_screens(error, self.app).one_line, severity="warning", timeout=6)
            return True
        place = _place_of(error, pump)
        if place is None:
            return False
        if isinstance(place, ModalScreen):
            return self._survive_without(place, error)
        if not self._may_survive():
            return False
        log.error("%s broke off, and the chat goes on", type(place).__name__, exc_info=error)
        notify_plain(
            self,
            "Something went wrong in the program, and the chat goes on. Ctrl+L shows the log.",
            severity="error",
            timeout=10,
        )
        return True

    def _survive_without(self, screen: Screen[Any], error: Exception) -> bool:
        """Close a screen that crashed; one that is gone by then bothers nobody."""
        name = type(screen).__name__
        if screen not in self.screen_stack:
            log.warning("%s broke off after it was closed", name, exc_info=error)
            return True
        if screen in self._broken_screens:
            return True
        if not self._may_survive():
            return False
        log.error("%s broke off and was closed", name, exc_info=error)
        self._broken_screens.add(screen)
        self.call_later(self._close_broken, screen)
        return True

    def _may_survive(self) -> bool:
        """Count a crash; False where there were too many."""
        now = time.monotonic()
        if len(self._survived) == MOST and now - self._survived[0] < WITHIN_S:
            log.error("there were too many crashes to go on")
            return False
        self._survived.append(now)
        return True

    def _close_broken(self, screen: Screen[Any]) -> None:
        """Close a screen and whatever is above it."""
        self._broken_screens.discard(screen)
        while screen in self.screen_stack[1:]:
            top = self.screen
            try:
                top.dismiss(None)  # whoever opened it may wait for an answer
            except Exception as error:
                log.error("%s could not be dismissed", type(top).__name__, exc_info=error)
            if self.screen is top:
                self.pop_screen()
        notify_plain(
            self,
            "Something went wrong in that window, so it was closed. The chat goes on; "
            "Ctrl+L shows the log.",
            severity="error",
            timeout=10,
        )

    def _handle_exception(self, error: Exception) -> None:
        """End the program in order, unless it can go on; Textual calls this with every crash."""
        if self._is_broken or self.survive(error):
            return
        self._is_broken = True
        log.error("the screens broke off", exc_info=error)
        broken = ScreensBrokeOff()
        broken.__cause__ = error
        super()._handle_exception(broken)


def _place_of(error: Exception, pump: MessagePump | None) -> DOMNode | None:
    """Where a crash that can be survived happened: a modal screen, a widget, or where Textual was.

    None for our own mistakes in the chat screen and in the app: nobody knows what they leave
    behind.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    pumps = [*([] if pump is None else [pump]), *_pumps(frames)]
    for node in reversed(pumps):
        if (screen := _modal_screen(node)) is not None:
            return screen
    own = _first_own(frames)
    if own is None:  # Textual's mistake, or that of a library below it
        return next((node for node in pumps if isinstance(node, DOMNode)), None)
    owner = own.f_locals.get("self", pumps[0] if pumps else None)
    return owner if isinstance(owner, Widget) and not isinstance(owner, Screen) else None


def _pumps(frames: list[FrameType]) -> Iterator[MessagePump]:
    """Whose code ran, from the handler inwards."""
    for frame in frames:
        owner = frame.f_locals.get("self")
        if isinstance(owner, MessagePump):
            yield owner
        elif isinstance(owner, Timer) and isinstance(owner.target, MessagePump):
            yield owner.target


def _modal_screen(node: MessagePump) -> Screen[Any] | None:
    """The modal screen that something belongs to."""
    if not isinstance(node, DOMNode):
        return None
    return next((n for n in node.ancestors_with_self if isinstance(n, ModalScreen)), None)


def _first_own(frames: list[FrameType]) -> FrameType | None:
    """The outermost frame of this program's code that does not only hand on to Textual."""
    for frame, inner in zip(frames, [*frames[1:], None], strict=True):
        name = frame.f_code.co_filename
        if not name.startswith(_OWN) or name.startswith(_HERE):
            continue
        is_handed_on = (
            inner is not None
            and inner.f_code.co_name == frame.f_code.co_name
            and not inner.f_code.co_filename.startswith(_OWN)
        )
        if not is_handed_on:
            return frame
    return None


_dispatch = MessagePump._dispatch_message


async def _dispatch_guarded(self: MessagePump, message: Message) -> None:
    """Handle a message as Textual does; a crash that can be survived stops nothing."""
    try:
        await _dispatch(self, message)
    except Exception as error:
        try:
            app = self.app
        except RuntimeError:  # there is none
            raise error from None
        if not (isinstance(app, GuardedApp) and app.survive(error, self)):
            raise


MessagePump._dispatch_message = _dispatch_guarded  # type: ignore[method-assign]
