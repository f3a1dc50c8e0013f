"""A scrolling widget of messages that lays out only those near the window.

It uses Textual's line API: the widget draws single rows on request. Heights of messages that have
not come near the window are estimates. The user's place is kept as a place in the text, so that
nothing on the screen moves when a height is corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.geometry import Region, Size
from textual.message import Message as TextualMessage
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Prefill
from tui_chat.ui.transcript.heights import Heights
from tui_chat.ui.transcript.look import (
    COMPONENTS,
    NOTHING_DONE,
    Look,
    Palettes,
    Showing,
    estimated_height,
)
from tui_chat.ui.transcript.text_selection import STRIDE, TextSelection

MOST_WIDTH = 116
"""Most cells in a message's width; longer lines are hard to read."""
MOST_DRAWN = 300
"""Most blocks whose drawn rows are cached."""
MOST_OPEN = 120
"""Number of messages with blocks above which those far from the window are dropped."""
MOST_ROUNDS = 12
"""Most passes over the rows in view while measuring still corrects heights."""
READ_AT_ONCE_S = 0.02
"""Seconds of parsing a long message before the event loop handles keys again."""
READ_PAUSE_S = 0.005
"""Seconds between two such spans."""
CLICKABLE = ("link", "copy")
"""Keys in a cell's style meta that mark what a click acts on."""
if TYPE_CHECKING:
    from tui_chat.ui.transcript.blocks import Block
    from tui_chat.ui.transcript.shown_message import ShownMessage


@dataclass(frozen=True, slots=True)
class _Place:
    """A row of a message: a block and a row of it, or without a block a row of the message."""

    message: int
    block: int | None
    row: int


class MessageList(ScrollView, can_focus=False):
    """A list of messages that follows its end until the user scrolls away.

    Args:
        versions: Returns the number of a message's version and how many there are, by its id.
        clock: Returns the current time in the user's time zone.
        is_framed: Whether to draw the bars and the labels beside and below the texts.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)

    class LinkClicked(TextualMessage):
        """Posted when a link is clicked."""

        def __init__(self, address: str) -> None:
            super().__init__()
            self.address = address

    class CopyClicked(TextualMessage):
        """Posted when the copy sign beside a code block is clicked."""

        def __init__(self, code: str) -> None:
            super().__init__()
            self.code = code

    class Pressed(TextualMessage):
        """Posted when a message is clicked."""

        def __init__(self, message_id: str) -> None:
            super().__init__()
            self.message_id = message_id

    class Scrolled(TextualMessage):
        """Posted when the user's place has changed."""

    def __init__(
        self,
        versions: Callable[[str], tuple[int, int]] = lambda _: (1, 1),
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        *,
        is_framed: bool = True,
        id: str | None = None,  # noqa: A002 - the name Textual uses
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._versions = versions
        self._clock = clock
        self._is_framed = is_framed
        self._detail: Literal["full", "brief", "narrow"] = "full"
        self._path: list[Message] = []
        self._index: dict[str, int] = {}
        self._items: dict[str, ShownMessage] = {}
        """The messages near the window now or lately, by id."""
        self._heights = Heights()
        self._anchor: _Place | None = None
        """The place at the top of the window; None while the list follows its end."""
        self._look: Look | None = None
        self._estimated_for = 0
        self._laid_out_for = Size(0, 0)
        self._palettes = Palettes(self)
        self._drawn: dict[int, Block] = {}
        self._selection = TextSelection(self, self)
        self._is_reading = False
        self._hovered: tuple[int, str, object] | None = None
        """Index of the message, meta key and meta value of the clickable text under the pointer."""

    # What is shown --------------------------------------------------------------------------------

    @property
    def path(self) -> Sequence[Message]:
        """The messages, first to last."""
        return self._path

    @property
    def places(self) -> Mapping[str, int]:
        """The index of each message in the path, by its id."""
        return self._index

    @property
    def end(self) -> tuple[int, int]:
        """Index of the last message, and its number of rows."""
        last = len(self._path) - 1
        return (last, self._heights[last]) if self._path else (0, 0)

    def rows_after(self, place: tuple[int, int]) -> int:
        """Return the rows below a place that `end` returned earlier."""
        index, row = place
        if index >= len(self._path):
            return 0
        return max(0, self._heights.total - self._heights.top(index) - row)

    def shown(self, index: int) -> ShownMessage:
        """Return a message as rows, by its index in the path."""
        message = self._path[index]
        item = self._items.get(message.id)
        if item is None:
            # Import late: an empty chat needs no Markdown and paints its first frame sooner.
            from tui_chat.ui.transcript.shown_message import ShownMessage

            item = self._items[message.id] = ShownMessage(message)
        return item

    @property
    def looked_at(self) -> Mapping[str, ShownMessage]:
        """The messages that were near the window lately, by their ids."""
        return self._items

    def at(self, row: int) -> tuple[int, int]:
        """Return the index of the message at a row of the list, and the row within the message."""
        return self._heights.at(row)

    def opened(self, index: int) -> ShownMessage:
        """Return a message by its index in the path, with all of its text parsed."""
        item = self.brought_up(index)
        while not item.is_read:
            item.read()
        return item

    def set_detail(self, detail: Literal["full", "brief", "narrow"]) -> None:
        """Set how many of the labels beside and below the messages are shown."""
        if detail != self._detail:
            self._detail = detail
            self._look = None
            self.lay_out()

    def set_path(self, path: Sequence[Message]) -> None:
        """Show other messages. Those that were there before stay where they are on the screen."""
        place = self._anchor
        held = None if place is None else self._path[place.message].id
        old, heights, width = self._index, self._heights, self._message_width
        is_longer = [m.id for m in path[: len(self._path)]] == [m.id for m in self._path]
        places = (old.get(message.id) for message in path)
        rows = [
            estimated_height(message, width) if index is None else heights[index]
            for message, index in zip(path, places, strict=True)
        ]
        self._path = list(path)
        self._index = {message.id: index for index, message in enumerate(path)}
        self._heights = Heights()
        self._heights.estimate_from(0, rows)
        self._items = {key: item for key, item in self._items.items() if key in self._index}
        if place is not None:
            index = self._index.get(held or "")
            if index is not None:
                self._anchor = replace(place, message=index)
            else:  # the message at the top is gone; hold the one that took its place
                self._anchor = _Place(min(place.message, len(path) - 1), None, 0) if path else None
        if not is_longer:
            self._selection.clear()
        self.lay_out()

    def show_message(self, message: Message) -> None:
        """Show a newer state of one message."""
        index = self._index.get(message.id)
        if index is None:
            return
        self._path[index] = message
        item = self._items.get(message.id)
        if item is None or not item.is_open:
            self._heights.measure(index, estimated_height(message, self._message_width))
            self._settle()
            return
        row = item.show(message, self._versions(message.id), self._clock())
        if row is not None:
            self._item_changed(index, row)

    def show_prefill(self, message_id: str, prefill: Prefill) -> None:
        """Show how much of a reply's prompt the engine has read."""
        index = self._index.get(message_id)
        item = self._items.get(message_id)
        if index is not None and item is not None:
            item.show_prefill(prefill)
            self._item_changed(index, 0)

    def showing(self, index: int) -> Showing:
        """Return the state that a message is drawn in, by its index in the path."""
        return NOTHING_DONE

    def laid_out(self) -> None:
        """Hook for subclasses, called when heights or the user's place may have changed."""

    # Layout ---------------------------------------------------------------------------------------

    @property
    def _room(self) -> Size:
        """The size of the window, without the scrollbar."""
        return self.scrollable_content_region.size

    @property
    def _message_width(self) -> int:
        return min(MOST_WIDTH, self._room.width or MOST_WIDTH)

    def _item_changed(self, index: int, row: int) -> None:
        """Lay out a message again, and repaint the part of the window that has changed.

        Args:
            index: The index of the message in the path.
            row: The first of its rows that may have changed.
        """
        self._heights.measure(index, self.shown(index).height)
        before, first = self.scroll_offset.y, self._heights.top(index) + row
        self._settle()
        top, height = self.scroll_offset.y, self.size.height
        if top != before:
            self.refresh()
        elif first < top + height:
            begin = max(0, first - top)
            left, above = self.gutter.top_left
            self.refresh(Region(left, above + begin, self.size.width, height - begin))

    def lay_out(self) -> None:
        """Lay out and repaint the window after a change to the messages."""
        self._settle()
        self.refresh()

    def notify_style_update(self) -> None:
        """Drop the look and the palettes after a change of theme or styles."""
        super().notify_style_update()
        self._look = None
        self._palettes.clear()

    def on_resize(self, event: events.Resize) -> None:
        """Lay out again, with the same text at the top."""
        self.lay_out()

    def _new_look(self) -> Look:
        width, detail = self._message_width, self._detail
        return Look(
            width, self._palettes.get, self._is_framed, detail == "brief", detail == "narrow"
        )

    def _settle(self) -> None:
        """Lay out the window and one more above and below it, without moving the text in view."""
        width, height = self._room
        if not width or not height or not self.is_attached:
            self._look = None  # so that everything is laid out once there is room again
            return
        if self._look is None or self._look.width != self._message_width:
            self._look = self._new_look()
            for item in self._items.values():
                item.fit(self._look)
        if self._estimated_for != self._look.width:
            self._estimate_all()
        for _ in range(MOST_ROUNDS):
            top = self._top(height)
            if not self._measure(top - height, top + 2 * height):
                break
        self._laid_out_for = self._room
        top = self._top(height)
        if self._anchor is not None and self._anchor.block is None and self._path:
            self._anchor = self._place_at(top)
        self._scroll_quietly(width, height, top)
        self._read_later()
        self._let_go(top, height)
        self.laid_out()

    def _estimate_all(self) -> None:
        """Estimate the height of every message for a new width."""
        assert self._look is not None
        width = self._estimated_for = self._look.width
        self._heights.estimate_from(0, [estimated_height(m, width) for m in self._path])

    def _top(self, height: int) -> int:
        """Return the row at the top of the window."""
        most = max(0, self._heights.total - height)
        place = self._anchor
        if place is None or not self._path:
            return most
        item = self.shown(place.message)
        row = place.row if place.block is None else item.row_of((place.block, place.row))
        return max(0, min(most, self._heights.top(place.message) + row))

    def _place_at(self, row: int) -> _Place | None:
        if not self._path:
            return None
        index, within = self._heights.at(row)
        item = self.shown(index)
        if not item.is_open:
            return _Place(index, None, within)
        return _Place(index, *item.place(within))

    def _measure(self, top: int, bottom: int) -> bool:
        """Lay out everything between two rows exactly; return whether any height was corrected."""
        assert self._look is not None
        is_news = False
        index, _ = self._heights.at(top)
        while index < len(self._path) and self._heights.top(index) < bottom:
            item, begin = self.brought_up(index), self._heights.top(index)
            for block in item.measure(top - begin, bottom - begin):
                self._drawn.pop(id(block), None)
                self._drawn[id(block)] = block
            is_news = self._heights.measure(index, item.height) or is_news
            index += 1
        return is_news

    def brought_up(self, index: int) -> ShownMessage:
        """Return an opened message with its present look and state, by its index in the path."""
        message, item = self._path[index], self.shown(index)
        if self._look is not None:
            item.fit(self._look)
        item.show(message, self._versions(message.id), self._clock())
        item.set_showing(self.showing(index))
        item.select_text(self._selection.span(index))
        item.open()
        return item

    def _read_on(self) -> None:
        """Parse more of the long messages, and return to the event loop when the time is up."""
        self._is_reading = False
        until = monotonic() + READ_AT_ONCE_S
        for key, item in list(self._items.items()):
            if item.is_open and not item.is_read:
                while not item.is_read and monotonic() < until:
                    item.read()
                if item.is_read:
                    self._item_changed(self._index[key], 0)
        self._read_later()

    def _read_later(self) -> None:
        """Schedule `_read_on` if any message still has text to parse."""
        is_due = any(item.is_open and not item.is_read for item in self._items.values())
        if is_due and not self._is_reading:
            self._is_reading = True
            self.set_timer(READ_PAUSE_S, self._read_on)

    def _let_go(self, top: int, height: int) -> None:
        """Drop the oldest drawings, and the messages far from the window, if there are too many."""
        while len(self._drawn) > MOST_DRAWN:
            self._drawn.pop(next(iter(self._drawn))).drawn = None
        if len(self._items) > MOST_OPEN:
            first, _ = self._heights.at(top - 2 * height)
            last, _ = self._heights.at(top + 3 * height)
            for key in list(self._items):
                if not first <= self._index[key] <= last:
                    del self._items[key]

    def _scroll_quietly(self, width: int, height: int, top: int) -> None:
        """Update the widget's virtual size and scroll position without triggering a layout."""
        total = self._heights.total if self._path else 0
        self.set_reactive(Widget.virtual_size, Size(width, total))
        if round(self.scroll_y) != top or self.scroll_target_y != top:
            self.set_scroll(None, top)
            self.set_reactive(Widget.scroll_target_y, float(top))
        if self.show_vertical_scrollbar:
            bar = self.vertical_scrollbar
            bar.window_virtual_size, bar.window_size, bar.position = total, height, top

    # Scrolling ------------------------------------------------------------------------------------

    @property
    def is_following(self) -> bool:
        """Whether the list scrolls with its end as it grows."""
        return self._anchor is None

    @property
    def place(self) -> tuple[str, int] | None:
        """The id of the message at the top of the window and the row of it; None at the end."""
        if self._anchor is None or not self._path:
            return None
        index, row = self._heights.at(self.scroll_offset.y)
        return self._path[index].id, row

    def hold(self, place: tuple[str, int] | None) -> None:
        """Keep a row of a message at the top until the user scrolls; None follows the end.

        Args:
            place: The id of the message and the row of it.
        """
        index = None if place is None else self._index.get(place[0])
        self._anchor = None if place is None or index is None else _Place(index, None, place[1])
        self.lay_out()

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """Scroll immediately and without animation."""
        super().scroll_to(x, y, **(options | {"animate": False, "immediate": True}))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Record the user's new place, and lay out the window there."""
        super().watch_scroll_y(old_value, new_value)
        self._hovered = None  # something else is under the pointer now
        top = round(new_value)
        # After a resize Textual may scroll by itself to keep the end in range. Only once the
        # messages are laid out for the new size does a scroll mean that the user has moved.
        if top != round(old_value) and self._room == self._laid_out_for:
            self._anchor = None if top >= self.max_scroll_y else self._place_at(top)
            self.lay_out()
            self.post_message(self.Scrolled())

    def reveal(self, index: int, row: int = 0, rows: int | None = None, above: int = 0) -> None:
        """Scroll so that some rows of a message are in view; the first ones if not all fit.

        Args:
            index: The index of the message in the path.
            row: The first of the rows.
            rows: The number of rows; all of the message by default.
            above: Rows to leave above them if the list has to scroll.
        """
        if self._look is None or not self._path:
            return
        item, height = self.shown(index), self.size.height
        for _ in range(MOST_ROUNDS):  # a corrected height moves the rows below it
            top = self._heights.top(index)
            if not self._measure(top + row - height, top + row + height):
                break
        count = item.height - 1 if rows is None else rows
        first, now = self._heights.top(index) + row, self.scroll_offset.y
        if first < now or first + count > now + height:
            is_below = first >= now and count < height and not above
            place = first + count - height if is_below else first - above
            self._anchor = self._place_at(max(0, place))
            self.lay_out()
            self.post_message(self.Scrolled())

    # Painting -------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Return one row of the window."""
        width = self._room.width
        if self._look is None or self._look.width != self._message_width:
            self._settle()
        page = self._palettes.get().named["page"].rich_style
        row = self.scroll_offset.y + y
        if not self._path or row >= self._heights.total or self._look is None:
            return Strip([Segment(" " * width, page)], width)
        index, within = self._heights.at(row)
        shown = self.shown(index)
        if not shown.is_open:  # it came into view after the last layout; lay out again
            self.brought_up(index)
            self.call_later(self.lay_out)
        strip = shown.row(within, index * STRIDE)
        if self._hovered is not None and self._hovered[0] == index:
            strip = _set_off(strip, *self._hovered[1:])
        return strip.adjust_cell_length(width, page)

    # Text that is selected ------------------------------------------------------------------------

    @property
    def allow_select(self) -> bool:
        """Whether text can be selected; Textual's default is False for scrolling containers."""
        return True

    def selection_updated(self, selection: Selection | None) -> None:
        """Mark the selected text."""
        self._selection.show(selection)
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the selected text and its line ending."""
        text = self._selection.text(selection)
        return (text, "\n") if text else None

    @property
    def select_container(self) -> Widget:
        """The widget that Textual selects on three clicks; `on_click` selects the message."""
        return self

    def text_select_all(self) -> None:
        """Do nothing, because Textual would select every message."""

    # The mouse ------------------------------------------------------------------------------------

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Highlight the clickable text under the pointer."""
        kind = next((kind for kind in CLICKABLE if kind in event.style.meta), None)
        offset = event.get_content_offset(self)
        hovered = None
        if kind is not None and offset is not None and self._path:
            index, _ = self._heights.at(self.scroll_offset.y + offset.y)
            hovered = index, kind, event.style.meta[kind]
        self._hover(hovered)

    def on_leave(self) -> None:
        """Remove the highlight when the pointer leaves."""
        self._hover(None)

    def _hover(self, hovered: tuple[int, str, object] | None) -> None:
        if hovered != self._hovered:
            self._hovered = hovered
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Act on a click: follow a link, copy code, or select a block or a message.

        A double click selects a block, a triple click a whole message. A click on plain text posts
        `Pressed`.
        """
        offset = event.get_content_offset(self)
        if offset is None or not self._path or self._look is None:
            return
        row = self.scroll_offset.y + offset.y
        if row >= self._heights.total:
            return
        index, within = self._heights.at(row)
        item = self.shown(index)
        meta = event.style.meta
        if event.chain > 1:
            self._selection.select(index, within, is_whole=event.chain > 2)
        elif "link" in meta:
            self.post_message(self.LinkClicked(str(meta["link"])))
        elif "copy" in meta:
            code = dict(item.codes()).get(meta["copy"], "")
            self.post_message(self.CopyClicked(code))
        elif not self.screen.get_selected_text():
            self.post_message(self.Pressed(item.message.id))


def _set_off(strip: Strip, kind: str, value: object) -> Strip:
    """Return a row with the clickable text under the pointer reversed.

    Args:
        strip: The row.
        kind: The key in the style meta that marks the text.
        value: The value under this key.
    """
    set_off = RichStyle(reverse=True)
    return Strip(
        [
            Segment(text, style + set_off)
            if style is not None and style.meta.get(kind) == value
            else Segment(text, style)
            for text, style, _ in strip
        ],
        strip.cell_length,
    )
