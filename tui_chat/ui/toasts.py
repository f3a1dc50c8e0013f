"""Toasts: short notices over what is read, never over what is written.

The app keeps the present ones here, in `Toasts`, and they are shown on whichever screen is on top,
so that a notice outlives the sheet that gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from textual import events
from textual.app import App
from textual.containers import Container
from textual.content import Content
from textual.css.query import NoMatches
from textual.geometry import Region
from textual.message import Message
from textual.notifications import Notification
from textual.screen import Screen
from textual.widgets import Static

from tui_chat.ui.plain_text import plain, plain_line

MOST = 3
"""Toasts at once."""
_LOW = 16
"""Below so many rows there is room for one."""
_LEAST_S = 0.01
"""Seconds that a toast is up at least."""
_TITLES = {"information": "$text-success", "warning": "$text-warning", "error": "$text-error"}
"""The colours of titles."""


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


class Toasts:
    """The present toasts of an app, and the one place they are shown.

    Args:
        app: On whose top screen they are shown.
    """

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._present: list[Notification] = []

    @property
    def present(self) -> Sequence[Notification]:
        """The toasts that are up, oldest first."""
        return tuple(self._present)

    def add(self, new: Notification) -> None:
        """Show another one, and send away those for which it leaves no room."""
        most = MOST if self._app.size.height >= _LOW else 1
        gone = crowded_out(self._present, new, most)
        self._present = [*(old for old in self._present if old not in gone), new]
        # Textual divides by the time of a timer, and a busy loop may come after it was over
        self._app.set_timer(max(_LEAST_S, new.time_left), partial(self.drop, new))
        self.show()

    def drop(self, old: Notification) -> None:
        """Take one away: its time is over, or it was clicked."""
        if old in self._present:
            self._present.remove(old)
            self.show()

    def clear(self) -> None:
        """Take all away."""
        self._present.clear()
        self.show()

    def show(self) -> None:
        """Show them on the top screen and on no other; call it when another one is on top."""
        for screen in self._app.screen_stack:
            notifications = self.present if screen is self._app.screen else ()
            if notifications or _list_of(screen) is not None:
                # by the screen's own loop, which begins once it is composed
                screen.call_later(self._show_on, screen, notifications)

    async def _show_on(self, screen: Screen[Any], notifications: Sequence[Notification]) -> None:
        if not screen.is_attached:
            return
        toasts = _list_of(screen)
        if toasts is None:
            toasts = ToastList()
            await screen.mount(toasts)
        await toasts.show(notifications, self.drop)


def _list_of(screen: Screen[Any]) -> ToastList | None:
    try:
        return screen.get_child_by_type(ToastList)
    except NoMatches:
        return None


class ToastList(Container):
    """The toasts of one screen, one above the other."""

    async def show(
        self, notifications: Sequence[Notification], drop: Callable[[Notification], None]
    ) -> None:
        """Show these and no others.

        Args:
            notifications: Oldest first.
            drop: What a click on one does.
        """
        self.display = bool(notifications)
        present = {toast.notification.identity: toast for toast in self.query(Toast)}
        wanted = {notification.identity for notification in notifications}
        gone = [toast for identity, toast in present.items() if identity not in wanted]
        new = [one for one in notifications if one.identity not in present]
        if gone:
            await self.remove_children(gone)
        if new:
            await self.mount_all([Toast(one, drop) for one in new])
            self.call_after_refresh(self.scroll_end, animate=False, force=True)
        if gone:
            # Textual paints where widgets have gone by comparing two layouts. After a scroll, and
            # if anyone asks for a region between them, both are the same, and nothing is painted.
            self.screen.refresh()
            self.call_after_refresh(self.screen.refresh)


class Toast(Static):
    """One notice; a click sends it away.

    Args:
        notification: What it says. Its text is shown as it is, never as markup.
        drop: Sends it away.
    """

    ALLOW_SELECT = False

    def __init__(self, notification: Notification, drop: Callable[[Notification], None]) -> None:
        text = plain(notification.message)
        if notification.title:
            colour = _TITLES[notification.severity]
            title = plain_line(notification.title).stylize(f"{colour} bold")
            text = Content("\n").join([title, text])
        super().__init__(text, classes=f"-{notification.severity}")
        self.notification = notification
        self._drop = drop

    def on_click(self, event: events.Click) -> None:
        """It has been read."""
        event.stop()
        self._drop(self.notification)


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
    toasts = _list_of(screen)
    if toasts is not None:
        width, height = screen.size
        toasts.styles.margin = (0, max(0, width - region.right), max(0, height - region.bottom), 0)
        toasts.styles.max_height = max(1, region.height)
