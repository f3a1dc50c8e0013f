"""Messages one below the other in one scrolling widget, of which only what is near is laid out.

Come here for scrolling, following and the selection of text. Textual's line API asks for rows; how
high a message is that nobody has looked at yet is estimated, and the reader's place is kept as
a place in the text, so that what is learnt about heights moves nothing on the screen.
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
"""Cells of a message; longer lines are no pleasure to read."""
MOST_DRAWN = 300
"""Blocks that are kept as they were drawn,"""
MOST_OPEN = 120
"""and messages that are kept as blocks."""
MOST_ROUNDS = 12
"""Times that the rows in view are looked for again, after heights were found to be others."""
READ_AT_ONCE_S = 0.02
"""Seconds for which a long message is read without letting anything else happen,"""
READ_PAUSE_S = 0.005
"""and between such times."""
CLICKABLE = ("link", "copy")
"""What the style of a cell says of it where a click does something."""
if TYPE_CHECKING:
    from tui_chat.ui.transcript.blocks import Block
    from tui_chat.ui.transcript.shown_message import ShownMessage


@dataclass(frozen=True, slots=True)
class _Place:
    """A row of a message: a block and a row of that, or with no block a row of the message."""

    message: int
    block: int | None
    row: int


class MessageList(ScrollView, can_focus=False):
    """Shows messages, and follows their end until the reader scrolls away.

    Args:
        versions: Which version of how many a message is, by its id.
        clock: The current time in the user's time zone.
        is_framed: Whether anything stands beside and below the texts.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)

    class LinkClicked(TextualMessage):
        """A link was clicked."""

        def __init__(self, address: str) -> None:
            super().__init__()
            self.address = address

    class CopyClicked(TextualMessage):
        """The sign beside a code block was clicked."""

        def __init__(self, code: str) -> None:
            super().__init__()
            self.code = code

    class Pressed(TextualMessage):
        """A message was clicked."""

        def __init__(self, message_id: str) -> None:
            super().__init__()
            self.message_id = message_id

    class Scrolled(TextualMessage):
        """The reader is at another place."""

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
        """The messages that somebody has looked at."""
        self._heights = Heights()
        self._anchor: _Place | None = None
        """What is at the top; None while the end is followed."""
        self._look: Look | None = None
        self._estimated_for = 0
        self._laid_out_for = Size(0, 0)
        self._palettes = Palettes(self)
        self._drawn: dict[int, Block] = {}
        self._selection = TextSelection(self, self)
        self._is_reading = False
        self._hovered: tuple[int, str, object] | None = None
        """The message and what of it is under the pointer, if it can be clicked."""

    # What is shown --------------------------------------------------------------------------------

    @property
    def path(self) -> Sequence[Message]:
        """The messages, first to last."""
        return self._path

    @property
    def places(self) -> Mapping[str, int]:
        """The place of each message in the path, by its id."""
        return self._index

    @property
    def end(self) -> tuple[int, int]:
        """The last message, and how many rows of it there are."""
        last = len(self._path) - 1
        return (last, self._heights[last]) if self._path else (0, 0)

    def rows_after(self, place: tuple[int, int]) -> int:
        """Rows below a row of a message, which has been `end`."""
        index, row = place
        if index >= len(self._path):
            return 0
        return max(0, self._heights.total - self._heights.top(index) - row)

    def shown(self, index: int) -> ShownMessage:
        """A message by its place in the path, as it is shown."""
        message = self._path[index]
        item = self._items.get(message.id)
        if item is None:
            # an empty chat does without Markdown, and so paints its first frame sooner
            from tui_chat.ui.transcript.shown_message import ShownMessage

            item = self._items[message.id] = ShownMessage(message)
        return item

    @property
    def looked_at(self) -> Mapping[str, ShownMessage]:
        """The messages that were near the window lately, by their ids."""
        return self._items

    def at(self, row: int) -> tuple[int, int]:
        """The message of a row of the whole list by its place in the path, and its row there."""
        return self._heights.at(row)

    def opened(self, index: int) -> ShownMessage:
        """The same, with all of its text read."""
        item = self.brought_up(index)
        while not item.is_read:
            item.read()
        return item

    def set_detail(self, detail: Literal["full", "brief", "narrow"]) -> None:
        """Leave out some of what stands beside and below the messages."""
        if detail != self._detail:
            self._detail = detail
            self._look = None
            self.lay_out()

    def set_path(self, path: Sequence[Message]) -> None:
        """Show other messages. Those that were there stay where they are."""
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
            else:  # what was at the top is gone: what stands in its place now
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
        """Show how far the prompt of a reply has been read."""
        index = self._index.get(message_id)
        item = self._items.get(message_id)
        if index is not None and item is not None:
            item.show_prefill(prefill)
            self._item_changed(index, 0)

    def showing(self, index: int) -> Showing:
        """What is to be seen of what was done with a message, by its place in the path."""
        return NOTHING_DONE

    def laid_out(self) -> None:
        """Called when heights or the reader's place may have changed."""

    # Layout ---------------------------------------------------------------------------------------

    @property
    def _room(self) -> Size:
        """The size of what is in view, without the scrollbar."""
        return self.scrollable_content_region.size

    @property
    def _message_width(self) -> int:
        return min(MOST_WIDTH, self._room.width or MOST_WIDTH)

    def _item_changed(self, index: int, row: int) -> None:
        """Lay out a message again, and paint what has changed of what is in view."""
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
        """Lay out and paint what is in view, after something about the messages has changed."""
        self._settle()
        self.refresh()

    def notify_style_update(self) -> None:
        """Another theme, or other styles."""
        super().notify_style_update()
        self._look = None
        self._palettes.clear()

    def on_resize(self, event: events.Resize) -> None:
        """Keep the reader's place."""
        self.lay_out()

    def _new_look(self) -> Look:
        width, detail = self._message_width, self._detail
        return Look(
            width, self._palettes.get, self._is_framed, detail == "brief", detail == "narrow"
        )

    def _settle(self) -> None:
        """Lay out what is in view and one window around it, and scroll so that nothing moves."""
        width, height = self._room
        if not width or not height or not self.is_attached:
            self._look = None  # what is shown meanwhile is laid out when there is room again
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
        """Estimate how high every message is at another width."""
        assert self._look is not None
        width = self._estimated_for = self._look.width
        self._heights.estimate_from(0, [estimated_height(m, width) for m in self._path])

    def _top(self, height: int) -> int:
        """The first row in view."""
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
        """Lay out exactly what is between two rows; whether any height was another one."""
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
        """A message with everything that there is to be seen of it now."""
        message, item = self._path[index], self.shown(index)
        if self._look is not None:
            item.fit(self._look)
        item.show(message, self._versions(message.id), self._clock())
        item.set_showing(self.showing(index))
        item.select_text(self._selection.span(index))
        item.open()
        return item

    def _read_on(self) -> None:
        """Read on in messages that are too long to be read at once, and let keys in between."""
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
        """Read on soon, if there is anything to be read."""
        is_due = any(item.is_open and not item.is_read for item in self._items.values())
        if is_due and not self._is_reading:
            self._is_reading = True
            self.set_timer(READ_PAUSE_S, self._read_on)

    def _let_go(self, top: int, height: int) -> None:
        """Keep no more than is worth it of what is out of view."""
        while len(self._drawn) > MOST_DRAWN:
            self._drawn.pop(next(iter(self._drawn))).drawn = None
        if len(self._items) > MOST_OPEN:
            first, _ = self._heights.at(top - 2 * height)
            last, _ = self._heights.at(top + 3 * height)
            for key in list(self._items):
                if not first <= self._index[key] <= last:
                    del self._items[key]

    def _scroll_quietly(self, width: int, height: int, top: int) -> None:
        """Bring the widget's idea of its size and its place up to date, without a layout."""
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
        """Whether the end stays in view as it grows."""
        return self._anchor is None

    @property
    def place(self) -> tuple[str, int] | None:
        """The message at the top of the window and which row of it; None at the end."""
        if self._anchor is None or not self._path:
            return None
        index, row = self._heights.at(self.scroll_offset.y)
        return self._path[index].id, row

    def hold(self, place: tuple[str, int] | None) -> None:
        """Have a row of a message at the top, until the reader scrolls; None follows the end."""
        index = None if place is None else self._index.get(place[0])
        self._anchor = None if place is None or index is None else _Place(index, None, place[1])
        self.lay_out()

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """Scroll at once, and without animation."""
        super().scroll_to(x, y, **(options | {"animate": False, "immediate": True}))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Take the reader's new place, and lay out what is there."""
        super().watch_scroll_y(old_value, new_value)
        self._hovered = None  # something else is under the pointer now
        top = round(new_value)
        # Textual scrolls by itself where the end is beyond the window after a resize: the place of
        # the reader is another one only if the messages are laid out for this size
        if top != round(old_value) and self._room == self._laid_out_for:
            self._anchor = None if top >= self.max_scroll_y else self._place_at(top)
            self.lay_out()
            self.post_message(self.Scrolled())

    def reveal(self, index: int, row: int = 0, rows: int | None = None, above: int = 0) -> None:
        """Scroll so that some rows of a message are in view; the first where not all fit.

        Args:
            index: Its place in the path.
            row: The first of the rows.
            rows: How many; all of the message by default.
            above: How many rows to leave above them, if it has to scroll.
        """
        if self._look is None or not self._path:
            return
        item, height = self.shown(index), self.size.height
        for _ in range(MOST_ROUNDS):  # what is measured on the way changes where the rest is
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
        """One row of what is in view."""
        width = self._room.width
        if self._look is None or self._look.width != self._message_width:
            self._settle()
        page = self._palettes.get().named["page"].rich_style
        row = self.scroll_offset.y + y
        if not self._path or row >= self._heights.total or self._look is None:
            return Strip([Segment(" " * width, page)], width)
        index, within = self._heights.at(row)
        shown = self.shown(index)
        if not shown.is_open:  # what came in view since is laid out after this frame
            self.brought_up(index)
            self.call_later(self.lay_out)
        strip = shown.row(within, index * STRIDE)
        if self._hovered is not None and self._hovered[0] == index:
            strip = _set_off(strip, *self._hovered[1:])
        return strip.adjust_cell_length(width, page)

    # Text that is selected ------------------------------------------------------------------------

    @property
    def allow_select(self) -> bool:
        """Text can be selected, though this is a scrolling container to Textual."""
        return True

    def selection_updated(self, selection: Selection | None) -> None:
        """Mark what is selected."""
        self._selection.show(selection)
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, and how it ends."""
        text = self._selection.text(selection)
        return (text, "\n") if text else None

    @property
    def select_container(self) -> Widget:
        """What three clicks select, for Textual; `on_click` selects what is meant."""
        return self

    def text_select_all(self) -> None:
        """Do nothing: Textual would select every message."""

    # The mouse ------------------------------------------------------------------------------------

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Show what a click would do something with."""
        kind = next((kind for kind in CLICKABLE if kind in event.style.meta), None)
        offset = event.get_content_offset(self)
        hovered = None
        if kind is not None and offset is not None and self._path:
            index, _ = self._heights.at(self.scroll_offset.y + offset.y)
            hovered = index, kind, event.style.meta[kind]
        self._hover(hovered)

    def on_leave(self) -> None:
        """Nothing is under the pointer."""
        self._hover(None)

    def _hover(self, hovered: tuple[int, str, object] | None) -> None:
        if hovered != self._hovered:
            self._hovered = hovered
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Follow a link, copy code, select a block or a message, or say which one was clicked."""
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
    """A row with the link or the sign that is under the pointer set off from the others."""
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
