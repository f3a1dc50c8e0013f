"""The transcript: the messages of the active path, to be read, followed and selected.

Come here for what is selected, found or not sent. How messages are scrolled and painted is in
`message_list`, how one is laid out in `shown_message`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.message import Message as TextualMessage
from textual.reactive import reactive

from tui_chat.actions import actions_in
from tui_chat.chat.budget import ContextView
from tui_chat.chat.conversation import Message
from tui_chat.ui.keys.bindings import bindings_of
from tui_chat.ui.keys.names import pressed_keys
from tui_chat.ui.transcript.forget_line import Unsent
from tui_chat.ui.transcript.look import Showing
from tui_chat.ui.transcript.message_list import MessageList

if TYPE_CHECKING:
    from tui_chat.chat.matching import Occurrence

_ACTIONS = tuple(actions_in("transcript"))


class Transcript(MessageList, can_focus=True):
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
        self._unsent = Unsent()
        self._pattern: re.Pattern[str] | None = None
        self._found: Occurrence | None = None
        self._left_at: tuple[int, int] | None = None
        self._is_typed_past = False

    # What is shown --------------------------------------------------------------------------------

    def open(self, path: Sequence[Message], place: tuple[str, int] | None = None) -> None:
        """Show another chat.

        Args:
            path: Its messages.
            place: The message at the top and which row of it; its end if None.
        """
        self.selected, self._code_number = None, 0
        self._unsent = Unsent()
        self.set_path(path)
        self.hold(place)

    def show(self, path: Sequence[Message]) -> None:
        """Show a changed path; what is the same stays where it is."""
        place = self.index_of(self.selected)
        self.set_path(path)
        if place is not None and self.selected_message is None:
            # another version stands there now, or what is left of the path
            self.selected = path[min(place, len(path) - 1)].id if path else None
        self._count_unseen()

    def showing(self, index: int) -> Showing:
        message, unsent = self.path[index], self._unsent
        is_selected = message.id == self.selected
        found = self._found
        is_found = found is not None and found.message_id == message.id
        return Showing(
            is_selected=is_selected,
            is_forgotten=unsent.is_forgotten(index, message),
            is_excluded=unsent.is_excluded(message),
            code=self._code_number if is_selected else 0,
            pattern=self._pattern,
            found=(found.part, found.ordinal) if found is not None and is_found else None,
            forget_line=unsent.line if index == unsent.line_after else None,
        )

    def show_dropped(self, view: ContextView, is_pushed: bool) -> None:
        """Show which messages are not sent.

        Args:
            view: What would be sent now.
            is_pushed: Whether it is the draft that pushes turns out.
        """
        self._unsent.count(self.path, view, is_pushed)
        self.lay_out()

    # Following ------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Go to the end and stay there as it grows."""
        self.hold(None)
        self._count_unseen()

    def scroll_page(self, direction: int) -> None:
        """Scroll one page up (-1) or down (+1), with two rows of the old one left."""
        self.scroll_to(y=self.scroll_offset.y + direction * max(1, self.size.height - 2))

    def laid_out(self) -> None:
        self._count_unseen()

    def _count_unseen(self) -> None:
        if self.is_following:
            self._left_at = None
            self.unseen_lines = 0
            return
        if self._left_at is None:
            self._left_at = self.end
        below = max(0, self.max_scroll_y - self.scroll_offset.y)
        self.unseen_lines = min(self.rows_after(self._left_at), below)

    def watch_unseen_lines(self) -> None:
        """Tell how much there is to see."""
        self.post_message(self.UnseenChanged())

    # The selection --------------------------------------------------------------------------------

    def index_of(self, message_id: str | None) -> int | None:
        """The place of a message in the path; None if it is not there."""
        return None if message_id is None else self.places.get(message_id)

    @property
    def selected_message(self) -> Message | None:
        """The selected message."""
        index = self.index_of(self.selected)
        return None if index is None else self.path[index]

    def codes(self, message_id: str | None) -> dict[int, str]:
        """The code blocks of a message by their numbers, from 1."""
        index = self.index_of(message_id)
        return {} if index is None else dict(self.brought_up(index).codes())

    @property
    def selected_code(self) -> str:
        """The code of the selected code block; empty if none is selected."""
        return self.codes(self.selected).get(self._code_number, "")

    def select(self, index: int) -> None:
        """Select a message by its place in the path and bring it into view."""
        if not self.path:
            return
        index = max(0, min(index, len(self.path) - 1))
        self.selected = self.path[index].id
        if index == len(self.path) - 1:
            self.follow()
        else:
            self.reveal(index)

    def select_message(self, message_id: str) -> bool:
        """Select a message by its id and bring it into view; False if it is not on the path."""
        index = self.index_of(message_id)
        if index is not None:
            self.select(index)
        return index is not None

    def bring_into_view(self, message_id: str) -> None:
        """Scroll to a message of the path, without selecting it."""
        index = self.index_of(message_id)
        if index is not None:
            self.reveal(index)

    def select_step(self, step: int) -> None:
        """Select the next (+1) or the message before (-1); the last one where none is."""
        index = self.index_of(self.selected)
        self.select(len(self.path) - 1 if index is None else index + step)

    def select_code_block(self) -> bool:
        """Select the next code block of the selected message; False if it has none."""
        index = self.index_of(self.selected)
        count = len(self.codes(self.selected))
        if index is None or not count:
            return False
        self._code_number = self._code_number % count + 1
        self.lay_out()
        self.reveal(index, *self.shown(index).rows_of_code(self._code_number))
        self.post_message(self.SelectionMoved())
        return True

    def clear_code_block(self) -> bool:
        """Select the whole message again; False if no block was selected."""
        had, self._code_number = bool(self._code_number), 0
        self.lay_out()
        return had

    def watch_selected(self) -> None:
        """Give the selection its quiet background."""
        self._code_number = 0
        self.lay_out()
        self.post_message(self.SelectionMoved())

    @on(MessageList.Pressed)
    def _pressed(self, event: MessageList.Pressed) -> None:
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
        """Mark what is looked for in every message.

        Args:
            pattern: What is looked for; None takes all marks off.
            place: The match that the reader is at.
        """
        self._pattern, self._found = pattern, place
        self.lay_out()

    def reveal_found(self) -> None:
        """Bring the match that the reader is at into view."""
        pattern, place = self._pattern, self._found
        index = self.index_of(place.message_id) if place is not None else None
        if pattern is None or place is None or index is None:
            return
        shown = self.opened(index)
        row = shown.row_of_match(place.part, place.ordinal, pattern)
        if row is not None:
            self.reveal(index, row, 1, self.size.height // 3)
