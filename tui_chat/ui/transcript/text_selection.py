"""Mouse selection of text, kept as places in the text instead of places on the screen.

Textual asks for the offset of every cell. Here it is `Offset(character, line)`: a character of a
block, and a line number that stands for the block and follows from the index of its message. So a
selection stays on its words while heights change, a reply grows or the window is resized.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from textual.geometry import Offset
from textual.selection import Selection
from textual.widget import Widget

from tui_chat.ui.transcript.look import NO_SPAN

if TYPE_CHECKING:
    from tui_chat.chat.conversation import Message
    from tui_chat.ui.transcript.shown_message import ShownMessage

STRIDE = 1 << 24
"""The line number of a message's first block is the message's index in the path times this."""


class Messages(Protocol):
    """The list of messages as the selection needs it; `MessageList` implements it."""

    @property
    def path(self) -> Sequence[Message]:
        """The messages, first to last."""

    @property
    def places(self) -> Mapping[str, int]:
        """The index of each message in the path, by its id."""

    @property
    def looked_at(self) -> Mapping[str, ShownMessage]:
        """The messages that were near the window lately, by their ids."""

    def shown(self, index: int) -> ShownMessage:
        """Return a message by its index in the path."""

    def opened(self, index: int) -> ShownMessage:
        """Return a message by its index in the path, with all of its text parsed."""

    def at(self, row: int) -> tuple[int, int]:
        """Return the index of the message at a row of the list, and the row within the message."""


class TextSelection:
    """The selected text of a list of messages.

    Args:
        widget: The widget that shows the list.
        messages: The list.
    """

    def __init__(self, widget: Widget, messages: Messages) -> None:
        self._widget = widget
        self._messages = messages
        self._bounds: tuple[Offset, Offset] | None = None

    def clear(self) -> None:
        """Clear the selection, for example when the selected messages are gone."""
        if self._bounds is not None and self._widget.is_attached:
            self._widget.screen.clear_selection()

    def select(self, index: int, row: int, is_whole: bool) -> None:
        """Select the block at a row, or the whole message.

        Args:
            index: The message's index in the path.
            row: A row of the message.
            is_whole: Whether to select all of the message.
        """
        shown, line = self._messages.shown(index), index * STRIDE
        last = max(0, len(shown.heights) - 1)
        first = 0 if is_whole else max(0, min(shown.place(row)[0], last))
        start, end = Offset(0, line + first), Offset(STRIDE, line + (last if is_whole else first))
        self._widget.screen.selections = {self._widget: Selection(start, end)}

    def show(self, selection: Selection | None) -> None:
        """Mark a selection in the messages near the window, and unmark the previous one."""
        old, self._bounds = self._bounds, None
        messages = self._messages
        if selection is not None and messages.path:
            self._bounds = self._closed(selection)
        for bounds in (old, self._bounds):
            if bounds is not None:
                first, last = (offset.y // STRIDE for offset in bounds)
                for message_id, shown in messages.looked_at.items():
                    index = messages.places[message_id]
                    if first <= index <= last:
                        shown.select_text(self.span(index))

    def span(self, index: int) -> tuple[int, int, int, int]:
        """Return the selected part of a message, as `ShownMessage.select_text` takes it."""
        if self._bounds is None:
            return NO_SPAN
        start, end = self._bounds
        line = index * STRIDE
        if end.y < line or start.y >= line + STRIDE:
            return NO_SPAN
        first, character = (start.y - line, max(0, start.x)) if start.y >= line else (0, 0)
        is_last = end.y < line + STRIDE
        return first, character, *((end.y - line, max(0, end.x)) if is_last else (STRIDE, STRIDE))

    def text(self, selection: Selection) -> str:
        """Return the selected text, with an empty line between messages."""
        if not self._messages.path:
            return ""
        self._bounds = self._closed(selection)
        first, last = (offset.y // STRIDE for offset in self._bounds)
        return "\n\n".join(
            self._messages.opened(index).selected_text(*self.span(index))
            for index in range(first, min(last + 1, len(self._messages.path)))
        )

    def _closed(self, selection: Selection) -> tuple[Offset, Offset]:
        """Return the ends of a selection; an open end becomes the edge of the window."""
        top, height = self._widget.scroll_offset.y, self._widget.size.height
        start, end = selection
        return (
            Offset(0, self._line_at(top)) if start is None else start,
            Offset(STRIDE, self._line_at(top + height - 1)) if end is None else end,
        )

    def _line_at(self, row: int) -> int:
        """Return the line number of a row of the list."""
        index, within = self._messages.at(row)
        shown = self._messages.shown(index)
        block, _ = shown.place(within)
        return index * STRIDE + max(0, min(block, len(shown.heights) - 1))
