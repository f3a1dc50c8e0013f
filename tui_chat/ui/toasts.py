"""Toasts: short notices over the messages, never over the prompt.

The app keeps the current toasts in `Toasts`, which shows them on the top screen, so that a notice
outlives the modal screen that gave it.
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
"""Most toasts at a time."""
_LOW = 16
"""Screens with fewer rows have room for one toast."""
_LEAST_S = 0.01
"""Least time in seconds that a toast is shown."""
_TITLES = {"information": "$text-success", "warning": "$text-warning", "error": "$text-error"}
"""Colours of the titles, by severity."""


def crowded_out(
    shown: Sequence[Notification], new: Notification, most: int = MOST
) -> list[Notification]:
    """Return the toasts to remove when a new one comes.

    These are toasts with the same text, and as many others as are too many: information before
    warnings and errors, and older ones first.

    Args:
        shown: The current toasts, oldest first.
        new: The new toast.
        most: Most toasts at a time, the new one included.
    """
    said = (new.message, new.title, new.severity)
    same = [old for old in shown if (old.message, old.title, old.severity) == said]
    others = [old for old in shown if old not in same]
    by_worth = sorted(others, key=lambda old: old.severity != "information")
    return [*same, *by_worth[: max(0, len(others) - most + 1)]]


class Toasts:
    """The current toasts of an app, shown on its top screen only.

    Args:
        app: The app.
    """

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._present: list[Notification] = []

    @property
    def present(self) -> Sequence[Notification]:
        """The current toasts, oldest first."""
        return tuple(self._present)

    def add(self, new: Notification) -> None:
        """Show another toast, and remove those that it leaves no room for."""
        most = MOST if self._app.size.height >= _LOW else 1
        gone = crowded_out(self._present, new, most)
        self._present = [*(old for old in self._present if old not in gone), new]
        # Textual divides by the interval of a timer, which a busy loop may have used up by now.
        self._app.set_timer(max(_LEAST_S, new.time_left), partial(self.drop, new))
        self.show()

    def drop(self, old: Notification) -> None:
        """Remove a toast that has expired or was clicked."""
        if old in self._present:
            self._present.remove(old)
            self.show()

    def clear(self) -> None:
        """Remove all toasts."""
        self._present.clear()
        self.show()

    def show(self) -> None:
        """Show the toasts on the top screen only. Call it when another screen comes to the top."""
        for screen in self._app.screen_stack:
            notifications = self.present if screen is self._app.screen else ()
            if notifications or _list_of(screen) is not None:
                # Run it in the screen's own message loop, which begins once it is composed.
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
    """The toasts of one screen, one below the other."""

    async def show(
        self, notifications: Sequence[Notification], drop: Callable[[Notification], None]
    ) -> None:
        """Show these toasts and no others.

        Args:
            notifications: The toasts, oldest first.
            drop: Called with a toast that is clicked.
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
            # Textual finds the regions of removed widgets by comparing two layouts. If other code
            # asks for a region in between, after a scroll, both are the same and none is repainted.
            self.screen.refresh()
            self.call_after_refresh(self.screen.refresh)


class Toast(Static):
    """One toast; a click removes it.

    Args:
        notification: The notification, whose text is shown as it is and never as markup.
        drop: Removes the toast.
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
        """Remove the toast, which has been read."""
        event.stop()
        self._drop(self.notification)


class ReadingRoom(Container):
    """The area of a page in which the messages are read; toasts stay inside it."""

    @dataclass
    class Resized(Message):
        """Posted when the area has another size, as when the prompt below it grows."""

        region: Region
        """The area's place on the screen."""

    def on_resize(self, event: events.Resize) -> None:
        """Post the new region."""
        self.post_message(self.Resized(self.region))


def keep_toasts_in(screen: Screen[Any], region: Region) -> None:
    """Keep the toasts of a screen inside a region of it."""
    toasts = _list_of(screen)
    if toasts is not None:
        width, height = screen.size
        toasts.styles.margin = (0, max(0, width - region.right), max(0, height - region.bottom), 0)
        toasts.styles.max_height = max(1, region.height)
