"""The transcript: the messages of the active path, a window of them mounted.

Owns which messages are mounted and what is selected. Knows nothing of sessions; paths, versions and
times are given to it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.reactive import reactive
from textual.widgets import Static

from tui_chat.actions import actions_in
from tui_chat.chat.budget import ContextView
from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Prefill
from tui_chat.ui.key_bindings import bindings_of
from tui_chat.ui.key_names import pressed_keys
from tui_chat.ui.message_window import NEWEST, MessageWindow
from tui_chat.ui.widgets.forgetting import Forgetting
from tui_chat.ui.widgets.steady_scroll import SteadyScroll

if TYPE_CHECKING:
    from tui_chat.chat.matching import Occurrence
    from tui_chat.ui.widgets.message_view import MessageView

_ACTIONS = tuple(actions_in("transcript"))
_FIRST_SCREEN = 6
"""Messages mounted at once when a chat is opened; the others follow one by one."""
_AT_ONCE = 4
"""Messages that are mounted without letting anything else happen in between."""
_AT_ONCE_S = 0.04
"""Seconds for which mounted messages become others without letting anything else happen,"""
_FRAME_S = 1 / 60
"""and between such times."""


class Transcript(SteadyScroll, can_focus=True):
    """Shows a path and follows its end until the reader scrolls away.

    Args:
        versions: Which version of how many a message is, by its id.
        clock: The current time in the user's time zone.
    """

    HELP = (
        "Move with j and k, copy with y, edit with e, retry with r, continue with >. Left and "
        "Right flip between versions, Delete removes, z undoes. Esc goes back to the prompt."
    )
    BINDING_GROUP_TITLE = "Transcript"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("transcript"))

    selected: reactive[str | None] = reactive(None)
    """Id of the selected message."""
    unseen_lines: reactive[int] = reactive(0)
    """Lines written below since the reader left the end."""

    class SelectionMoved(TextualMessage):
        """Another message or code block, or none, is selected."""

    class Scrolled(TextualMessage):
        """The reader is at another place."""

    class UnseenChanged(TextualMessage):
        """Something was written out of sight, or the reader is back at the end."""

    class Typed(TextualMessage):
        """A character that is no command here; it is meant for the prompt."""

        def __init__(self, character: str) -> None:
            super().__init__()
            self.character = character

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
        self._code_number = 0
        self._forgetting = Forgetting(self)
        self._height_left_at: int | None = None
        self._is_typed_past = False
        self._pattern: re.Pattern[str] | None = None
        self._place: Occurrence | None = None
        self._is_place_due = False

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

    async def open(self, path: Sequence[Message], place: tuple[str, int] | None = None) -> None:
        """Show another chat: one screen first, the rest of the window as time allows.

        Args:
            path: Its messages.
            place: The message at the top and which line of it; its end if None.
        """
        async with self._lock:
            self.selected, self._code_number = None, 0
            self._set_path(path)
            self._forgetting.forget()
            index = self._index(place[0]) if place is not None else None
            window = MessageWindow(total=len(path))
            if place is None or index is None:
                self.go_to_end()
                await self._mount_window(window.newest(_FIRST_SCREEN))
            else:
                last = min(len(path), index + _FIRST_SCREEN)
                await self._mount_window(replace(window, first=index, last=last))
                self.hold(self._views[place[0]], place[1])
        self.run_worker(self._fill(), group="fill", exclusive=True)

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

    async def show(self, path: Sequence[Message]) -> None:
        """Show a changed path; what is the same stays mounted and where it is."""
        async with self._lock:
            place = self._index(self.selected) if self.selected is not None else None
            self._set_path(path)
            await self._mount_window(self._window.moved_to(len(path)), place)

    def _set_path(self, path: Sequence[Message]) -> None:
        self._path = path
        self._places = {message.id: place for place, message in enumerate(path)}

    def show_message(self, message: Message) -> None:
        """Show a newer state of one message."""
        view = self._views.get(message.id)
        if message.id in self._late:
            self._late[message.id] = message, self._versions(message.id)
        elif view is not None:
            view.show(message, self._versions(message.id), self._clock())
        self._count_unseen()

    def show_prefill(self, message_id: str, prefill: Prefill) -> None:
        """Show how far the prompt of a reply has been read."""
        view = self._views.get(message_id)
        if view is not None and message_id not in self._late:
            view.show_prefill(prefill)

    def _shown(self) -> Sequence[Message]:
        return self._path[self._window.first : self._window.last]

    async def _fill(self) -> None:
        """Mount the rest of a window one message at a time, so that keys get in between."""
        while self.is_attached:
            async with self._lock:
                window = self._window
                if window.is_at_start or window.last - window.first >= NEWEST:
                    return
                await self._mount_window(replace(window, first=window.first - 1))
            await asyncio.sleep(0)

    async def _mount_window(self, window: MessageWindow, place: int | None = None) -> None:
        """Make the mounted views those of a window. Call it under the lock.

        Args:
            window: Which messages are to be mounted.
            place: Where the selected message was in the path.
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
        if place is not None and self.selected_message is None:
            # another version stands there now, or what is left of the path
            self.selected = self._path[min(place, len(self._path) - 1)].id if self._path else None
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
        self._place_forget_line()
        self._mark_selected()
        if (new or others) and self._pattern is not None:
            self.call_after_refresh(self._mark_found)

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
        if self._pattern is not None:
            self._mark_found()

    async def _mount_after(self, view: MessageView, before: MessageView | None) -> None:
        if before is not None:
            await self.mount(view, after=before)
        elif self.children:
            await self.mount(view, before=0)
        else:
            await self.mount(view)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Mount the next page before the reader gets to the edge."""
        super().watch_scroll_y(old_value, new_value)
        near = self.container_size.height
        is_near_start = new_value < near and not self._window.is_at_start
        is_near_end = new_value > self.max_scroll_y - near and not self._window.is_at_end
        if (is_near_start or is_near_end) and not self._is_page_due:
            self._is_page_due = True
            self.run_worker(self._page(), group="page")
        self._count_unseen()
        self.post_message(self.Scrolled())

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

    # Following ------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Go to the end and stay there as it grows."""
        if self._window.is_at_end:
            self.go_to_end()
        else:
            self.run_worker(self._to_end(), group="page")
        self._count_unseen()

    async def _to_end(self) -> None:
        async with self._lock:
            await self._mount_window(self._window.newest())
        self.go_to_end()
        self._count_unseen()

    def scroll_page(self, direction: int) -> None:
        """Scroll one page up (-1) or down (+1), with two lines of the old one left."""
        step = max(1, self.container_size.height - 2)
        self.scroll_to(y=self.scroll_y + direction * step)

    def _count_unseen(self) -> None:
        height = self.virtual_size.height
        if self.is_following:
            self._height_left_at = None
        elif self._height_left_at is None:
            self._height_left_at = height
        new = 0 if self._height_left_at is None else max(0, height - self._height_left_at)
        below = max(0, round(self.max_scroll_y - self.scroll_y))
        self.unseen_lines = min(new, below) if self._window.is_at_end else new

    def watch_unseen_lines(self) -> None:
        """Tell how much there is to see."""
        self.post_message(self.UnseenChanged())

    # The selection --------------------------------------------------------------------------------

    @property
    def selected_message(self) -> Message | None:
        """The selected message."""
        index = self._index(self.selected) if self.selected is not None else None
        return None if index is None else self._path[index]

    @property
    def selected_code(self) -> str:
        """The code of the selected code block; empty if none is selected."""
        view = self._views.get(self.selected or "")
        blocks = view.code_blocks if view is not None else []
        return next((b.code for b in blocks if b.number == self._code_number), "")

    def _index(self, message_id: str) -> int | None:
        return self._places.get(message_id)

    async def select(self, index: int) -> None:
        """Select a message by its place in the path and bring it into view."""
        if not self._path:
            return
        index = max(0, min(index, len(self._path) - 1))
        message_id = self._path[index].id
        view = await self._mounted(index)
        self.selected = message_id
        if view is not None:
            is_last = index == len(self._path) - 1
            if is_last:
                self.follow()
            else:
                self.call_after_refresh(self._reveal, view)

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

    async def select_step(self, step: int) -> None:
        """Select the next (+1) or the message before (-1); the last one where none is."""
        index = self._index(self.selected) if self.selected is not None else None
        await self.select(len(self._path) - 1 if index is None else index + step)

    def select_code_block(self) -> bool:
        """Select the next code block of the selected message; False if it has none."""
        view = self._views.get(self.selected or "")
        count = len(view.code_blocks) if view is not None else 0
        if view is None or not count:
            return False
        self._code_number = self._code_number % count + 1
        view.mark_code(self._code_number)
        self.post_message(self.SelectionMoved())
        return True

    def clear_code_block(self) -> bool:
        """Select the whole message again; False if no block was selected."""
        view = self._views.get(self.selected or "")
        had, self._code_number = bool(self._code_number), 0
        if view is not None:
            view.mark_code(0)
        return had

    def watch_selected(self, old: str | None) -> None:
        """Give the selection its quiet background."""
        view = self._views.get(old or "")
        if view is not None:
            view.mark_code(0)
        self._code_number = 0
        self._mark_selected()
        self.post_message(self.SelectionMoved())

    def _mark_selected(self) -> None:
        for message_id, view in self._views.items():
            view.set_class(message_id == self.selected, "-selected")

    # A handler by name, not by class: the class is imported with the first message.

    async def on_message_view_pressed(self, event: MessageView.Pressed) -> None:
        """Select the message that was clicked."""
        event.stop()
        self.screen.set_focus(self, scroll_visible=False)
        self.selected = event.message_id

    def on_key(self, event: events.Key) -> None:
        """Pass on what is typed here by mistake."""
        if not event.is_printable or event.character is None:
            return
        if not self._is_typed_past:
            keys = {key for action in _ACTIONS for key in pressed_keys(self.app, action)}
            if event.key in keys:
                return
        # Letters can still come here before the focus has moved, when somebody types fast: after
        # the first one that was meant for the prompt, none of them is a command.
        self._is_typed_past = True
        event.stop()
        self.post_message(self.Typed(event.character))

    def on_focus(self) -> None:
        """Letters are commands again."""
        self._is_typed_past = False

    # What is found --------------------------------------------------------------------------------

    async def select_message(self, message_id: str) -> bool:
        """Select a message by its id and bring it into view; False if it is not on the path."""
        index = self._index(message_id)
        if index is not None:
            await self.select(index)
        return index is not None

    def mark_found(self, pattern: re.Pattern[str] | None, place: Occurrence | None = None) -> None:
        """Mark what is looked for, in what is mounted later as well.

        Args:
            pattern: What is looked for; None takes all marks off.
            place: The place that the reader is at, which is brought into view.
        """
        self._pattern, self._place = pattern, place
        self._is_place_due = place is not None
        self._mark_found()
        if pattern is not None:  # what was mounted for it is laid out by then
            self.call_after_refresh(self._mark_found)

    def _mark_found(self) -> None:
        for message_id, view in self._views.items():
            if self._pattern is None:
                view.found.clear()
            if self._pattern is None or message_id in self._late:
                continue
            place = self._place
            is_current = place is not None and place.message_id == message_id
            current = place.ordinal if is_current and place is not None else None
            at = view.found.mark(view.text_parts, self._pattern, current)
            if at is not None and self._is_place_due:
                self.call_after_refresh(self._reveal_part, view, *at)

    def _reveal_part(self, view: MessageView, part: Static, start: int) -> None:
        """Scroll so that a character of a text is in view, if it is not."""
        visual = part.visual
        if not part.is_attached or not isinstance(visual, Content) or not part.size.width:
            return
        self._is_place_due = False
        row = len(visual[: start + 1].wrap(part.content_size.width)) - 1
        # Within its message: what was scrolled since the last frame does not count there.
        y = view.virtual_region.y + part.content_region.y - view.region.y + row
        height = self.container_size.height
        if not self.scroll_y <= y < self.scroll_y + height:
            self.scroll_to(y=max(0, y - height // 3))

    # The forget line ------------------------------------------------------------------------------

    def show_dropped(self, view: ContextView, pushed: bool) -> None:
        """Show which messages are not sent.

        Args:
            view: What would be sent now.
            pushed: Whether it is the draft that pushes turns out.
        """
        self._forgetting.show(view, pushed)
        self._place_forget_line()

    def _place_forget_line(self) -> None:
        self._forgetting.place(self._path, self._window, self._views)
