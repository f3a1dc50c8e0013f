"""The messages of a path in a scrolling container, a window of them mounted.

Owns which messages are mounted, in which views, and that a mounted view becomes another message
rather than being made anew. Knows nothing of sessions, selections or searches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Prefill
from tui_chat.ui.message_window import NEWEST, MessageWindow
from tui_chat.ui.widgets.steady_scroll import SteadyScroll

if TYPE_CHECKING:
    from tui_chat.ui.widgets.message_view import MessageView

_FIRST_SCREEN = 6
"""Messages mounted at once when a chat is opened; the others follow one by one."""
_AT_ONCE = 4
"""Messages that are mounted without letting anything else happen in between."""
_AT_ONCE_S = 0.04
"""Seconds for which mounted messages become others without letting anything else happen,"""
_FRAME_S = 1 / 60
"""and between such times."""


class MountedMessages(SteadyScroll):
    """Mounts the messages around the reader's place, and pages as the reader scrolls.

    Args:
        versions: Which version of how many a message is, by its id.
        clock: The current time in the user's time zone.
    """

    def __init__(
        self,
        versions: Callable[[str], tuple[int, int]],
        clock: Callable[[], datetime],
        *,
        id: str | None = None,  # noqa: A002 - the name Textual uses
    ) -> None:
        super().__init__(id=id)
        self._versions = versions
        self._clock = clock
        self._path: Sequence[Message] = ()
        self._places: dict[str, int] = {}
        self._window = MessageWindow()
        self._views: dict[str, MessageView] = {}
        self._late: dict[str, tuple[Message, tuple[int, int]]] = {}
        self._lock = asyncio.Lock()
        self._is_page_due = False

    # What is mounted ------------------------------------------------------------------------------

    @property
    def path(self) -> Sequence[Message]:
        """The messages of the active path."""
        return self._path

    @property
    def window(self) -> MessageWindow:
        """Which of them are mounted."""
        return self._window

    @property
    def views(self) -> list[MessageView]:
        """The mounted messages, top to bottom."""
        return [self._views[m.id] for m in self._shown() if m.id in self._views]

    def view(self, message_id: str) -> MessageView | None:
        """The view of a message, if it is mounted."""
        return self._views.get(message_id)

    @property
    def place(self) -> tuple[str, int] | None:
        """The message at the top of the window and which line of it; None at the end."""
        if self.is_following:
            return None
        top = round(self.scroll_y)
        for view in self.views:
            if view.virtual_region.bottom > top:
                return view.message.id, max(0, top - view.virtual_region.y)
        return None

    def _index(self, message_id: str) -> int | None:
        return self._places.get(message_id)

    def show_message(self, message: Message) -> None:
        """Show a newer state of one message."""
        view = self._views.get(message.id)
        if message.id in self._late:
            self._late[message.id] = message, self._versions(message.id)
        elif view is not None:
            view.show(message, self._versions(message.id), self._clock())

    def show_prefill(self, message_id: str, prefill: Prefill) -> None:
        """Show how far the prompt of a reply has been read."""
        view = self._views.get(message_id)
        if view is not None and message_id not in self._late:
            view.show_prefill(prefill)

    def _set_path(self, path: Sequence[Message]) -> None:
        self._path = path
        self._places = {message.id: place for place, message in enumerate(path)}

    def _shown(self) -> Sequence[Message]:
        return self._path[self._window.first : self._window.last]

    async def _open_at(self, place: tuple[str, int] | None) -> None:
        """Mount one screen of another path. Call it under the lock, and then `_fill_later`.

        Args:
            place: The message at the top and which line of it; the end of the path if None.
        """
        index = self._index(place[0]) if place is not None else None
        window = MessageWindow(total=len(self._path))
        if place is None or index is None:
            self.go_to_end()
            await self._mount_window(window.newest(_FIRST_SCREEN))
        else:
            last = min(len(self._path), index + _FIRST_SCREEN)
            await self._mount_window(replace(window, first=index, last=last))
            self.hold(self._views[place[0]], place[1])

    def _fill_later(self) -> None:
        self.run_worker(self._fill(), group="fill", exclusive=True)

    async def _fill(self) -> None:
        """Mount the rest of a window one message at a time, so that keys get in between."""
        while self.is_attached:
            async with self._lock:
                window = self._window
                if window.is_at_start or window.last - window.first >= NEWEST:
                    return
                await self._mount_window(replace(window, first=window.first - 1))
            await asyncio.sleep(0)

    async def _mount_window(
        self, window: MessageWindow, assigned: Callable[[], None] | None = None
    ) -> None:
        """Make the mounted views those of a window. Call it under the lock.

        Args:
            window: Which messages are to be mounted.
            assigned: Called when the mounted views have their messages, and none shows them yet.
        """
        self._window = window
        shown = self._shown()
        if not shown and not self.children:
            return
        # only chats that have a message need it for the first frame
        from tui_chat.ui.widgets.message_view import MessageView, view_of, views_by_place

        views = [child for child in self.children if isinstance(child, MessageView)]
        wanted = {message.id for message in shown}
        kept = {view.message.id: view for view in views if view.message.id in wanted}
        others = views_by_place(views, shown)
        gone = set(views) - set(kept.values()) - set(others.values())
        new = len(shown) - len(kept) - len(others)
        self._views = kept | others
        if assigned is not None:
            assigned()
        await self._show_others(others)
        # A few changes appear at once; many would keep the keys waiting, and come one by one.
        async with self.batch() if new <= _AT_ONCE else nullcontext():
            if gone:
                await self.remove_children(gone)
            before: MessageView | None = None
            for message in shown:
                version = self._versions(message.id)
                if message.id in kept:
                    kept[message.id].show(message, version, self._clock())
                elif message.id not in others:
                    self._views[message.id] = view_of(message, version, self._clock())
                    await self._mount_after(self._views[message.id], before)
                before = self._views[message.id]
        self._window_mounted(has_others=bool(new or others))

    def _window_mounted(self, has_others: bool) -> None:
        """Called under the lock whenever a window is mounted.

        Args:
            has_others: Whether there are views of messages that were not mounted before.
        """

    def _late_shown(self) -> None:
        """Called when the last view shows the message that it was to become."""

    async def _mount_after(self, view: MessageView, before: MessageView | None) -> None:
        if before is not None:
            await self.mount(view, after=before)
        elif self.children:
            await self.mount(view, before=0)
        else:
            await self.mount(view)

    # Views that become other messages -------------------------------------------------------------

    async def _show_others(self, views: Mapping[str, MessageView]) -> None:
        """Show other messages in mounted views: those in view at once, the rest after that frame.

        Args:
            views: By the ids of the messages that they are to show.
        """
        selected = {ancestor for part in self.screen.selections for ancestor in part.ancestors}
        if not selected.isdisjoint(views.values()):
            self.screen.clear_selection()  # the text is not there any more
        top, bottom = self.scroll_y, self.scroll_y + self.container_size.height
        above, near, below = list[Message](), list[Message](), list[Message]()
        for message in self._shown():
            if message.id in views:
                region = views[message.id].virtual_region
                part = above if region.bottom <= top else below if region.y >= bottom else near
                part.append(message)
        # by the time that the last of them is shown, another chat may be open
        order = (*near, *below, *reversed(above))
        self._late = {message.id: (message, self._versions(message.id)) for message in order}
        await self._show_late(len(near))
        if self._late:
            self.run_worker(self._show_rest(), group="late")

    async def _show_late(self, least: int) -> None:
        """Show what is waiting for it, as much as there is time for. Call it under the lock.

        Args:
            least: So many messages in any case.
        """
        until, done = monotonic() + _AT_ONCE_S, 0
        async with self.batch() if self._late else nullcontext():
            while self._late and (done < least or monotonic() < until):
                await self._show_other(next(iter(self._late)))
                done += 1

    async def _show_other(self, message_id: str) -> None:
        view, shown = self._views[message_id], self._late[message_id]
        await view.become(*shown, self._clock())
        newest = self._late.pop(message_id)
        if newest is not shown:  # it has grown meanwhile
            view.show(*newest, self._clock())

    async def _show_rest(self) -> None:
        while self._late and self.is_attached:
            await asyncio.sleep(_FRAME_S)
            async with self._lock:
                await self._show_late(1)
        self._late_shown()

    # Where the reader goes ------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Mount the next page before the reader gets to the edge."""
        super().watch_scroll_y(old_value, new_value)
        near = self.container_size.height
        is_near_start = new_value < near and not self._window.is_at_start
        is_near_end = new_value > self.max_scroll_y - near and not self._window.is_at_end
        if (is_near_start or is_near_end) and not self._is_page_due:
            self._is_page_due = True
            self.run_worker(self._page(), group="page")

    async def _page(self) -> None:
        """Mount a page if one is needed still.

        It is never cancelled: half a page would leave a hole.
        """
        async with self._lock:
            self._is_page_due = False
            near = self.container_size.height
            if self.scroll_y < near and not self._window.is_at_start and not self.is_following:
                await self._mount_window(self._window.earlier())
            elif self.scroll_y > self.max_scroll_y - near and not self._window.is_at_end:
                await self._mount_window(self._window.later())
            elif self.is_following and self._window.last - self._window.first > NEWEST:
                await self._mount_window(self._window.newest())

    async def bring_into_view(self, message_id: str) -> None:
        """Scroll to a message of the path, without selecting it."""
        index = self._index(message_id)
        view = await self._mounted(index) if index is not None else None
        if view is not None:
            self.call_after_refresh(self._reveal, view)

    async def _mounted(self, index: int) -> MessageView | None:
        """The view of a message by its place in the path, mounted if it was not."""
        message_id = self._path[index].id
        if message_id not in self._views or message_id in self._late:
            # whoever no longer waits for it must not leave half a window behind
            await asyncio.shield(self._hold(index, message_id))
        return self._views.get(message_id)

    async def _hold(self, index: int, message_id: str) -> None:
        """Mount the window of a message, and show it in its place."""
        async with self._lock:
            if message_id not in self._views and self._places.get(message_id) == index:
                await self._mount_window(self._window.holding(index))
            if message_id in self._late:
                await self._show_other(message_id)

    def _reveal(self, view: MessageView) -> None:
        """Scroll so that a message is in view; the top of it where it is taller than the window."""
        if not view.is_attached:
            return
        top, bottom = view.virtual_region.y, view.virtual_region.bottom
        height = self.container_size.height
        if bottom - top >= height or top < self.scroll_y:
            self.scroll_to(y=top)
        elif bottom > self.scroll_y + height:
            self.scroll_to(y=bottom - height)
