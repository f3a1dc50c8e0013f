"""Crash handling: an exception closes the modal screen it happened in, and the program continues.

Textual 8.2.8 ends the program on every exception that leaves a handler, even if Textual itself
caused it (`App._handle_exception`), and prints a traceback with the values of all local variables,
typed text among them. Its own code raises in ordinary use: textual#6643, #6708, #6428, and a
palette that is closed while it searches. Textual also stops the message loop of the widget whose
handler raised, so the widget is lost before the app learns of the exception. Therefore this module
catches it one step earlier, in `MessagePump._dispatch_message`.

This module would be unneeded if Textual had a public hook for exceptions in handlers that could
tell it to continue.
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
from tui_chat.ui.remedies import notify_error

log = logging.getLogger(__name__)

R = TypeVar("R")

MOST, WITHIN_S = 5, 10.0
"""The program survives this many crashes within so many seconds; one more ends it."""

_OWN = str(Path(__file__).parents[2]) + os.sep
_HERE = str(Path(__file__).parent) + os.sep


class ScreensBrokeOff(Exception):
    """The exception that ends the program after a fatal crash, which is its cause.

    Textual prints an exception that has `__rich__` in that form, without the values of variables.
    """

    def __rich__(self) -> Text:
        return Text("The screens broke off.")


class GuardedApp(App[R], Generic[R]):
    """An app that survives crashes in modal screens, in single widgets and in Textual itself."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._has_started = False
        self._is_broken = False
        self._survived: deque[float] = deque(maxlen=MOST)
        """Times of the latest crashes."""
        self._broken_screens: set[Screen[Any]] = set()
        """Screens that crashed and are about to be closed."""

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action, but ignore the keys of a screen while its widgets are not mounted.

        On a busy event loop a key can arrive before its screen has composed or after it has gone,
        and Textual finds the binding although there are no widgets.
        """
        screen = default_namespace if isinstance(default_namespace, Screen) else None
        if screen is not None and not (screen.is_mounted and screen.is_attached):
            return False
        return await super().run_action(action, default_namespace, namespaces)

    def on_ready(self) -> None:
        """Allow the app to survive crashes from now on."""
        self._has_started = True

    def survive(self, error: Exception, pump: MessagePump | None = None) -> bool:
        """Handle a crash, and decide whether the program continues.

        Args:
            error: The exception.
            pump: The message pump whose handler raised it, if known.

        Returns:
            Whether the program continues. A `TuiChatError` is only shown to the user, as a warning;
            other crashes are also logged.
        """
        if self._is_broken or not (self._has_started and self.is_running):
            return False
        if isinstance(error, WorkerFailed) and isinstance(error.error, Exception):
            error = error.error
        if isinstance(error, TuiChatError):  # not a crash but a message for the user
            notify_error(self, error, timeout=6)
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
        """Close a screen that crashed; if it is closed already, only log the crash."""
        name = type(screen).__name__
        if screen not in self.screen_stack:
            # no harm is done: widgets that are being removed still get messages
            log.info("%s broke off after it was closed: %r", name, error)
            log.debug("where it broke off", exc_info=error)
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
        """Count a crash; return False if there were too many of them."""
        now = time.monotonic()
        if len(self._survived) == MOST and now - self._survived[0] < WITHIN_S:
            log.error("there were too many crashes to go on")
            return False
        self._survived.append(now)
        return True

    def _close_broken(self, screen: Screen[Any]) -> None:
        """Close a screen and all screens above it."""
        self._broken_screens.discard(screen)
        while screen in self.screen_stack[1:]:
            top = self.screen
            try:
                top.dismiss(None)  # its opener may be waiting for a result
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
        """End the program in order, unless it can continue. Textual calls this for every crash."""
        if self._is_broken or self.survive(error):
            return
        self._is_broken = True
        log.error("the screens broke off", exc_info=error)
        broken = ScreensBrokeOff()
        broken.__cause__ = error
        super()._handle_exception(broken)


def _place_of(error: Exception, pump: MessagePump | None) -> DOMNode | None:
    """Return where a survivable crash happened: a modal screen, a widget or a Textual node.

    None stands for mistakes of our own code in the chat screen and in the app, because they leave
    the program in an unknown state.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    pumps = [*([] if pump is None else [pump]), *_pumps(frames)]
    for node in reversed(pumps):
        if (screen := _modal_screen(node)) is not None:
            return screen
    own = _first_own(frames)
    if own is None:  # a mistake of Textual or of a library below it
        return next((node for node in pumps if isinstance(node, DOMNode)), None)
    owner = own.f_locals.get("self", pumps[0] if pumps else None)
    return owner if isinstance(owner, Widget) and not isinstance(owner, Screen) else None


def _pumps(frames: list[FrameType]) -> Iterator[MessagePump]:
    """Yield the message pumps whose code ran, from the handler inwards."""
    for frame in frames:
        owner = frame.f_locals.get("self")
        if isinstance(owner, MessagePump):
            yield owner
        elif isinstance(owner, Timer) and isinstance(owner.target, MessagePump):
            yield owner.target


def _modal_screen(node: MessagePump) -> Screen[Any] | None:
    """Return the modal screen that a pump belongs to; None if there is none."""
    if not isinstance(node, DOMNode):
        return None
    return next((n for n in node.ancestors_with_self if isinstance(n, ModalScreen)), None)


def _first_own(frames: list[FrameType]) -> FrameType | None:
    """Return the outermost frame of this program's code.

    A method of ours that only calls Textual's method of the same name does not count.
    """
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
    """Dispatch a message as Textual does, but let a survivable crash stop nothing."""
    try:
        await _dispatch(self, message)
    except Exception as error:
        try:
            app = self.app
        except RuntimeError:  # the pump has no app
            raise error from None
        if not (isinstance(app, GuardedApp) and app.survive(error, self)):
            raise


MessagePump._dispatch_message = _dispatch_guarded  # type: ignore[method-assign]
