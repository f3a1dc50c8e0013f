"""The transcript widget: the messages of the active path, to be read, followed and selected.

It adds the selection, the search marks and the forget line to `MessageList`, which scrolls and
paints. `ShownMessage` lays out a single message.
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
    """A path of messages that follows its end until the user scrolls away.

    Args:
        versions: Returns the number of a message's version and how many there are, by its id.
        clock: Returns the current time in the user's time zone.
    """

    HELP = (
        "Move with j and k, copy with y, edit with e, retry with r, continue with >. Left and "
        "Right flip between versions, Delete removes, z undoes. Esc goes back to the prompt."
    )
    BINDING_GROUP_TITLE = "Transcript"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("transcript"))

    selected: reactive[str | None] = reactive(None)
    """Id of the selected message; None for none."""
    unseen_lines: reactive[int] = reactive(0)
    """Rows added below the window since the user left the end."""

    class SelectionMoved(TextualMessage):
        """Posted when another message, another code block or nothing is selected."""

    class UnseenChanged(TextualMessage):
        """Posted when the number of unseen lines changes."""

    class Typed(TextualMessage):
        """Posted for a typed character that is no command here; the prompt takes it."""

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
            place: The id of the message at the top of the window, and the row of it; None for the
                end of the chat.
        """
        self.selected, self._code_number = None, 0
        self._unsent = Unsent()
        self.set_path(path)
        self.hold(place)

    def show(self, path: Sequence[Message]) -> None:
        """Show a changed path; the messages that it keeps stay where they are on the screen."""
        place = self.index_of(self.selected)
        self.set_path(path)
        if place is not None and self.selected_message is None:
            # Select what took its place: another version, or the last message that is left.
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
            view: How much of the path fits the context.
            is_pushed: Whether it is the draft that pushes turns out.
        """
        self._unsent.count(self.path, view, is_pushed)
        self.lay_out()

    # Following ------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Scroll to the end and stay there as the transcript grows."""
        self.hold(None)
        self._count_unseen()

    def scroll_page(self, direction: int) -> None:
        """Scroll one page up (-1) or down (+1), and keep two rows of the old page in view."""
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
        """Post the new number of unseen lines."""
        self.post_message(self.UnseenChanged())

    # The selection --------------------------------------------------------------------------------

    def index_of(self, message_id: str | None) -> int | None:
        """Return the index of a message in the path; None if it is not there."""
        return None if message_id is None else self.places.get(message_id)

    @property
    def selected_message(self) -> Message | None:
        """The selected message; None for none."""
        index = self.index_of(self.selected)
        return None if index is None else self.path[index]

    def codes(self, message_id: str | None) -> dict[int, str]:
        """Return the code blocks of a message by their numbers, from 1."""
        index = self.index_of(message_id)
        return {} if index is None else dict(self.brought_up(index).codes())

    @property
    def selected_code(self) -> str:
        """The code of the selected code block; empty if none is selected."""
        return self.codes(self.selected).get(self._code_number, "")

    def select(self, index: int) -> None:
        """Select a message by its index in the path and scroll it into view."""
        if not self.path:
            return
        index = max(0, min(index, len(self.path) - 1))
        self.selected = self.path[index].id
        if index == len(self.path) - 1:
            self.follow()
        else:
            self.reveal(index)

    def select_message(self, message_id: str) -> bool:
        """Select a message by its id and scroll it into view; return False if the path lacks it."""
        index = self.index_of(message_id)
        if index is not None:
            self.select(index)
        return index is not None

    def bring_into_view(self, message_id: str) -> None:
        """Scroll to a message of the path without selecting it."""
        index = self.index_of(message_id)
        if index is not None:
            self.reveal(index)

    def select_step(self, step: int) -> None:
        """Select the next message (+1) or the previous one (-1); without a selection, the last."""
        index = self.index_of(self.selected)
        self.select(len(self.path) - 1 if index is None else index + step)

    def select_code_block(self) -> bool:
        """Select the next code block of the selected message; return False if it has none."""
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
        """Select the whole message again; return False if no code block was selected."""
        had, self._code_number = bool(self._code_number), 0
        self.lay_out()
        return had

    def watch_selected(self) -> None:
        """Show the new selection, without a chosen code block."""
        self._code_number = 0
        self.lay_out()
        self.post_message(self.SelectionMoved())

    @on(MessageList.Pressed)
    def _pressed(self, event: MessageList.Pressed) -> None:
        """Select the clicked message."""
        event.stop()
        self.screen.set_focus(self, scroll_visible=False)
        self.selected = event.message_id

    def on_key(self, event: events.Key) -> None:
        """Pass characters that are no command on to the prompt."""
        if not event.is_printable or event.character is None:
            return
        if not self._is_typed_past:
            keys = {key for action in _ACTIONS for key in pressed_keys(self.app, action)}
            if event.key in keys:
                return
        # Fast typing delivers letters here before the focus has moved to the prompt. Once one of
        # them was meant for the prompt, none of the next ones is a command.
        self._is_typed_past = True
        event.stop()
        self.post_message(self.Typed(event.character))

    def on_focus(self) -> None:
        """Treat letters as commands again."""
        self._is_typed_past = False

    # What is found --------------------------------------------------------------------------------

    def mark_found(self, pattern: re.Pattern[str] | None, place: Occurrence | None = None) -> None:
        """Mark the search matches in every message.

        Args:
            pattern: The search pattern; None removes all marks.
            place: The current match.
        """
        self._pattern, self._found = pattern, place
        self.lay_out()

    def reveal_found(self) -> None:
        """Scroll the current match into view."""
        pattern, place = self._pattern, self._found
        index = self.index_of(place.message_id) if place is not None else None
        if pattern is None or place is None or index is None:
            return
        shown = self.opened(index)
        row = shown.row_of_match(place.part, place.ordinal, pattern)
        if row is not None:
            self.reveal(index, row, 1, self.size.height // 3)
