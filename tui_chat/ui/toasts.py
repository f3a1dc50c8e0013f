"""Where toasts may be, and how many of them: over what is read, never over what is written.

Owns which toast gives way to a new one, and the part of the page that they may cover. What they say
and when they go is up to whoever notifies, and to Textual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual import events
from textual.app import App
from textual.containers import Container
from textual.geometry import Region
from textual.message import Message
from textual.notifications import Notification
from textual.screen import Screen
from textual.widgets._toast import Toast, ToastRack

MOST = 3
"""Toasts at once."""
_GONE_S = 0.5
"""After its time, when a toast is surely taken away."""
_LOW = 16
"""Below so many rows there is room for one."""


def crowded_out(
    shown: Sequence[Notification], new: Notification, most: int = MOST
) -> list[Notification]:
    """Which toasts go when another one comes: those that say the same, and the oldest.

    What only informs goes before what warns.

    Args:
        shown: The present ones, oldest first.
        new: The one that comes.
        most: How many there may be with it.
    """
    said = (new.message, new.title, new.severity)
    same = [old for old in shown if (old.message, old.title, old.severity) == said]
    others = [old for old in shown if old not in same]
    by_worth = sorted(others, key=lambda old: old.severity != "information")
    return [*same, *by_worth[: max(0, len(others) - most + 1)]]


def make_room(app: App[Any], new: Notification) -> None:
    """Send away the toasts for which another one leaves no room; call it before that one is shown.

    Args:
        app: Whose toasts they are.
        new: The one that comes.
    """
    shown = list(app._notifications)  # there is no public way to ask, or to dismiss one
    gone = crowded_out(shown, new, MOST if app.size.height >= _LOW else 1)
    for toast in app.screen.query(Toast):
        if toast._notification in gone:
            toast._expire()
    for notification in gone:
        app._unnotify(notification, refresh=False)


def paint_without(app: App[Any], notification: Notification) -> None:
    """Paint the screen once more when a toast has gone.

    Textual finds out what to paint by comparing where widgets are with where they were. If
    something was scrolled before, and anyone asks for a region between the removal of the toast
    and that, both are the same, and the picture of the toast would stay.

    Args:
        app: Whose toast it is.
        notification: What it shows.
    """
    app.set_timer(max(0.0, notification.time_left) + _GONE_S, lambda: app.screen.refresh())


class ReadingRoom(Container):
    """What is read on a page; toasts stay inside it."""

    @dataclass
    class Resized(Message):
        """It has another size, as when the prompt below it grows."""

        region: Region
        """Where it is on the screen."""

    def on_resize(self, event: events.Resize) -> None:
        """Tell the screen."""
        self.post_message(self.Resized(self.region))


def keep_toasts_in(screen: Screen[Any], region: Region) -> None:
    """Keep the toasts of a screen inside a part of it."""
    width, height = screen.size
    for rack in screen.query(ToastRack):
        rack.styles.margin = (0, max(0, width - region.right), max(0, height - region.bottom), 0)
        rack.styles.max_height = max(1, region.height)
