"""The transcript: the messages of the active path, to be read, followed and selected.

Owns what is selected and how much was written out of sight. What is mounted is its base's; what is
not sent and what is found, its parts'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message as TextualMessage
from textual.reactive import reactive

from tui_chat.actions import actions_in
from tui_chat.chat.budget import ContextView
from tui_chat.chat.conversation import Message
from tui_chat.ui.key_bindings import bindings_of
from tui_chat.ui.key_names import pressed_keys
from tui_chat.ui.widgets.forgetting import Forgetting
from tui_chat.ui.widgets.found_places import FoundPlaces
from tui_chat.ui.widgets.mounted_messages import MountedMessages

if TYPE_CHECKING:
    from tui_chat.chat.matching import Occurrence
    from tui_chat.ui.widgets.message_view import MessageView

_ACTIONS = tuple(actions_in("transcript"))


class Transcript(MountedMessages, can_focus=True):
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
        super().__init__(versions, clock, id=id)
        self._code_number = 0
        self._forgetting = Forgetting(self)
        self._found = FoundPlaces(self)
        self._height_left_at: int | None = None
        self._is_typed_past = False

    # What is shown --------------------------------------------------------------------------------

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
            await self._open_at(place)
        self._fill_later()

    async def show(self, path: Sequence[Message]) -> None:
        """Show a changed path; what is the same stays mounted and where it is."""
        async with self._lock:
            place = self._index(self.selected) if self.selected is not None else None
            self._set_path(path)
            window = self._window.moved_to(len(path))
            await self._mount_window(window, lambda: self._select_instead(place))

    def _select_instead(self, place: int | None) -> None:
        """Keep a place selected whose message is gone.

        Args:
            place: Where the selected message was in the path before; None for none.
        """
        if place is not None and self.selected_message is None:
            # another version stands there now, or what is left of the path
            self.selected = self._path[min(place, len(self._path) - 1)].id if self._path else None

    def show_message(self, message: Message) -> None:
        """Show a newer state of one message."""
        super().show_message(message)
        self._count_unseen()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell where the reader is, and what is out of sight from there."""
        super().watch_scroll_y(old_value, new_value)
        self._count_unseen()
        self.post_message(self.Scrolled())

    def _window_mounted(self, has_others: bool) -> None:
        self._place_forget_line()
        self._mark_selected()
        if has_others and self._found.is_looking:
            self.call_after_refresh(self._mark_found)

    def _late_shown(self) -> None:
        if self._found.is_looking:
            self._mark_found()

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

    async def select_message(self, message_id: str) -> bool:
        """Select a message by its id and bring it into view; False if it is not on the path."""
        index = self._index(message_id)
        if index is not None:
            await self.select(index)
        return index is not None

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

    def mark_found(self, pattern: re.Pattern[str] | None, place: Occurrence | None = None) -> None:
        """Mark what is looked for, in what is mounted later as well.

        Args:
            pattern: What is looked for; None takes all marks off.
            place: The place that the reader is at, which is brought into view.
        """
        self._found.look_for(pattern, place)
        self._mark_found()
        if pattern is not None:  # what was mounted for it is laid out by then
            self.call_after_refresh(self._mark_found)

    def _mark_found(self) -> None:
        self._found.mark(self._views, self._late)

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
