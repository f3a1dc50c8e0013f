"""One message as screen rows: its blocks, and the labels beside and below them.

`ShownMessage` is not a widget; `MessageList` asks it for rows. The positions of a message's parts
are computed here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from unicodedata import category

from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.content import Content
from textual.strip import Strip

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Prefill
from tui_chat.safe_text import safe_line, safe_text
from tui_chat.ui.transcript.blocks import Block, Blocks, gap_lead
from tui_chat.ui.transcript.drawing import (
    Mark,
    Row,
    content_of,
    copied_text,
    drawn_rows,
    estimated_rows,
    marked_rows,
)
from tui_chat.ui.transcript.heights import Heights
from tui_chat.ui.transcript.look import (
    LEAST_TEXT,
    NO_SPAN,
    NOTHING_DONE,
    Look,
    Palette,
    Showing,
    is_reply,
)
from tui_chat.ui.transcript.markdown import new_parser
from tui_chat.ui.transcript.message_notes import (
    mark_text,
    meta_text,
    note_text,
    side_text,
    time_text,
)

log = logging.getLogger(__name__)

SIDE_GAP = 3
"""Cells between the text and the label beside it."""
MOST_COMPOSED = 500
"""Most rows of one message that stay composed, ready to be painted."""
BROKEN = "this reply can't be laid out, which the log explains; it is shown as it is written"


@cache
def _parser() -> MarkdownIt:
    """Return the parser for shown messages, which only the UI thread uses."""
    return new_parser()


class ShownMessage:
    """A message as rows.

    Args:
        message: The message to show.
    """

    def __init__(self, message: Message) -> None:
        self.message = message
        self.showing = NOTHING_DONE
        self.heights = Heights()
        """Heights of the blocks in rows, the gaps above them included."""
        self.blocks = Blocks(_parser() if is_reply(message) else None)
        self._raw: str | None = None
        """The text that the blocks were made of; None before any is taken."""
        self._version: tuple[int, int] | None = None
        self._now = message.created
        self._prefill: Prefill | None = None
        self._look: Look | None = None
        self._text_width = 0
        self._is_open = False
        self._selected = NO_SPAN
        self._above: list[Strip] = []
        self._below: list[Strip] = []
        self._side = ""
        self._composed: dict[tuple[int, int], Strip] = {}

    # What it shows --------------------------------------------------------------------------------

    def show(self, message: Message, version: tuple[int, int], now: datetime) -> int | None:
        """Show a newer state of the message.

        Args:
            message: The message as it is now.
            version: The number of its version, from 1, and how many there are.
            now: The current time in the user's time zone.

        Returns:
            The first of its rows that may have changed; None if nothing has.
        """
        if message is self.message and version == self._version:
            return None
        before, self.message, self._version, self._now = self.message, message, version, now
        is_growing = message.status == before.status == "streaming"
        first = 0
        if self._is_open:
            block = self._take_text()
            if is_growing and message.text:
                first = self.row_of((min(block, len(self.heights)), 0))
        if not (is_growing and before.text):
            self._lay_out_frame()
        return first

    def show_prefill(self, prefill: Prefill) -> None:
        """Show how much of the reply's prompt the engine has read."""
        self._prefill = prefill
        self._lay_out_frame()

    def set_showing(self, showing: Showing) -> bool:
        """Set the state that the message is drawn in; return whether it differs from before."""
        if showing == self.showing:
            return False
        has_line = showing.forget_line != self.showing.forget_line
        has_states = showing.states != self.showing.states
        self.showing = showing
        self._composed.clear()
        if has_line or has_states:
            self._lay_out_frame()
        return True

    def select_text(self, span: tuple[int, int, int, int]) -> None:
        """Mark a span of the text as selected; `NO_SPAN` marks nothing."""
        if span != self._selected:
            self._selected = span
            self._composed.clear()

    # Layout ---------------------------------------------------------------------------------------

    def fit(self, look: Look) -> None:
        """Lay the message out for a look; measured heights stay if the width of the text does."""
        if look is self._look:
            return
        self._look = look
        self._lay_out_frame()

    @property
    def is_read(self) -> bool:
        """Whether all of the text has been made into blocks."""
        return self._is_open and self.blocks.is_read

    @property
    def height(self) -> int:
        """The rows of the message, some of which may be estimates."""
        return len(self._above) + self.heights.total + len(self._below)

    @property
    def is_open(self) -> bool:
        """Whether the message has begun to make blocks of its text."""
        return self._is_open

    def open(self) -> None:
        """Begin to make blocks of the text. Messages far from the window are never opened."""
        if not self._is_open:
            self._is_open = True
            self._take_text()

    def read(self) -> int:
        """Make blocks of a slice of the text; call it until `is_read`.

        If the text can't be read as Markdown, the blocks show it as written instead.

        Returns:
            The index of the first block that has changed.
        """
        try:
            first = self.blocks.read()
        except Exception:
            log.exception("a reply could not be read as Markdown")
            self.blocks = Blocks(None)
            self.blocks.show(f"({BROKEN})\n{safe_text(self.message.text)}")
            first = self.blocks.read()
        self._estimate(first)
        return first

    def _take_text(self) -> int:
        """Take the text of the message; return the first block that may have changed."""
        raw = self.message.text
        if raw == self._raw:
            return len(self.blocks.list)
        before, self._raw = self._raw or "", raw
        # Only the new characters need `safe_text`, unless the first of them acts on those before:
        # a combining mark, a control character, or the LF of a CR LF.
        known = len(before)
        joins = category(raw[known])[0] in "MC" if len(raw) > known else False
        if known and not joins and before[-1] != "\r" and raw.startswith(before):
            text = self.blocks.text + safe_text(raw[known:])
        else:
            text = safe_text(raw)
        self.blocks.show(text)
        return self.read()

    def _estimate(self, first: int) -> None:
        first = min(first, len(self.heights))
        rows = [estimated_rows(block, self._text_width) for block in self.blocks.list[first:]]
        self.heights.estimate_from(first, rows)
        self._compose_again(first)

    def _compose_again(self, index: int) -> None:
        """Drop the composed rows from a block on, which are out of date."""
        first = len(self._above) + self.heights.top(index)
        for key in [key for key in self._composed if key[0] >= first]:
            del self._composed[key]

    def measure(self, top: int, bottom: int) -> list[Block]:
        """Draw the blocks between two rows of the message and note their heights.

        Args:
            top: The first row.
            bottom: The row after the last one.

        Returns:
            The blocks that had not been measured before.
        """
        drawn: list[Block] = []
        if not self._is_open:
            return drawn
        index, _ = self.heights.at(top - len(self._above))
        while index < len(self.heights):
            if self.heights.top(index) + len(self._above) >= bottom:
                break
            block = self.blocks.list[index]
            if not self.heights.is_measured(index):
                drawn.append(block)
                if self.heights.measure(index, block.gap + len(self._rows(block))):
                    self._compose_again(index)
            index += 1
        return drawn

    def _lay_out_frame(self) -> None:
        """Lay out the rows above and below the text, and the label beside it."""
        look, message = self._look, self.message
        if look is None:
            return
        self._composed.clear()
        palette = look.palette(*self.showing.states)
        self._side = ""
        self._above, self._below = [], []
        room = look.width - (0 if not look.is_framed else 2 if look.is_narrow else 3)
        if look.is_framed:
            self._side = "" if look.is_narrow else self._side_text()
            if message.is_note:
                self._above = _short_rows(note_text(message), room, palette, "note-head")
            if is_reply(message):
                self._below = self._foot(look, palette, room)
            self._below.append(Strip.blank(0))
            if self.showing.forget_line is not None:
                self._below += [self._forget_line(look), Strip.blank(0)]
        beside = cell_len(self._side) + SIDE_GAP if self._side else 0
        width = max(LEAST_TEXT, room - beside)
        if width != self._text_width:
            self._text_width = width
            if self._is_open:
                self._estimate(0)

    def _forget_line(self, look: Look) -> Strip:
        line = self.showing.forget_line
        assert line is not None
        name = "forget-line-pushed" if line.is_pushed else "forget-line"
        return Strip([Segment(line.text(look.width), look.palette().named[name].rich_style)])

    def _side_text(self) -> str:
        signs = side_text(self.message, self._version or (1, 1))
        if is_reply(self.message):
            return signs
        who = f"you  {time_text(self.message, self._now)}"
        return f"{signs}  {who}" if signs else who

    def _foot(self, look: Look, palette: Palette, room: int) -> list[Strip]:
        """Return the rows under a reply: how it ended at the left, its figures at the right."""
        message = self.message
        facts = meta_text(message, self._now, look.is_brief or look.is_narrow)
        mark = safe_line(mark_text(message, self._prefill))
        name = "failed" if message.status == "failed" else "muted"
        rows = _short_rows(mark, room - cell_len(facts) - 2, palette, name) if mark else []
        if facts or not (rows or look.is_narrow):
            first = rows[0] if rows else Strip.blank(0)
            gap = Strip([Segment(" " * max(0, room - cell_len(facts) - first.cell_length))])
            shown = Strip([Segment(facts, palette.named["facts"].rich_style)])
            rows[:1] = [Strip.join([first, gap, shown])]
        return rows

    # Rows -----------------------------------------------------------------------------------------

    def row(self, y: int, number: int) -> Strip:
        """Return one row; rows below the foot may be narrower than the look's width.

        Args:
            y: The row of the message, from 0.
            number: The line number of its first block; the offsets in block `i` are
                `Offset(character, number + i)`.
        """
        strip = self._composed.get((y, number))
        if strip is None:
            if len(self._composed) > MOST_COMPOSED:
                self._composed.clear()
            strip = self._composed[y, number] = self._compose(y, number)
        return strip

    def _compose(self, y: int, number: int) -> Strip:
        assert self._look is not None
        palette = self._look.palette(*self.showing.states)
        at = y - len(self._above)
        end = self.heights.total if self._is_open else 0
        last = max(0, len(self.heights) - 1)
        if at < 0:
            return self._framed(self._above[y], palette, 0, number)
        if at >= end + len(self._below):
            return self._framed(Strip.blank(0), palette, 0, number + last, has_bar=False)
        if at >= end:
            below = self._below[min(at - end, len(self._below) - 1)]
            is_foot = at - end < len(self._below) - self._rows_after_foot
            length = len(content_of(self.blocks.list[last], self.blocks.env)) if end else 0
            return self._framed(below, palette, length, number + last, is_foot)
        index, row = self.heights.at(at)
        block = self.blocks.list[index]
        if row < block.gap:
            lead = gap_lead(self.blocks.list[index - 1] if index else None, block)
            strip = Strip([Segment(lead, palette.named["quote"].rich_style)] if lead else [])
            return self._framed(strip, palette, 0, number + index)
        rows = self._rows(block, self._marks(index, block))
        shown = rows[min(row - block.gap, len(rows) - 1)]
        return self._framed(shown.strip, palette, shown.start, number + index, side=at == 0)

    @property
    def _rows_after_foot(self) -> int:
        return 0 if not self._below else 1 if self.showing.forget_line is None else 3

    def _rows(self, block: Block, marks: Sequence[Mark] = ()) -> list[Row]:
        assert self._look is not None
        states = self.showing.states
        if block.kind == "code" and block.number == self.showing.code:
            states = (*states, "chosen")
        palette, width = self._look.palette(*states), self._text_width
        try:
            if marks:
                return marked_rows(block, width, palette, self.blocks.env, marks)
            return drawn_rows(block, width, palette, self.blocks.env)
        except Exception:
            log.exception("a block could not be drawn")
            plain = Block("source", block.text or "\n".join(map("  ".join, block.rows)))
            return marked_rows(plain, width, palette, {}, ())

    def _marks(self, index: int, block: Block) -> list[Mark]:
        """Return the search matches and the selection in a block."""
        marks: list[Mark] = []
        pattern = self.showing.pattern
        if pattern is not None:
            plain = content_of(block, self.blocks.env).plain
            for ordinal, match in enumerate(pattern.finditer(plain)):
                is_current = self.showing.found == (index, ordinal)
                marks.append((*match.span(), "current-match" if is_current else "match"))
        start, end = self.selected_in(index, block)
        if end > start:
            marks.append((start, end, "selection"))
        return marks

    def selected_in(self, index: int, block: Block) -> tuple[int, int]:
        """Return the selected characters of a block: the first, and the one after the last."""
        first, start, last, end = self._selected
        if not first <= index <= last or self._selected == NO_SPAN:
            return 0, 0
        length = len(content_of(block, self.blocks.env))
        begin = min(start, length) if index == first else 0
        return begin, min(end, length) if index == last else length

    def _framed(
        self,
        strip: Strip,
        palette: Palette,
        start: int,
        line: int,
        has_bar: bool = True,
        side: bool = False,
    ) -> Strip:
        """Return a row with its bar, its margins and the label beside it.

        Args:
            strip: The row without a frame.
            palette: The styles of the message.
            start: The character of the text that the frame counts as.
            line: The line number of the row's block.
            has_bar: Whether the row belongs to the message and not to the space below it.
            side: Whether the label beside the text stands in this row.
        """
        look = self._look
        assert look is not None
        ground = palette.named["ground" if has_bar else "page"].rich_style
        here = RichStyle.from_meta({"offset": (start, line)})
        segments: list[Segment] = []
        if look.is_framed and has_bar:
            bar, style = self._bar(palette)
            segments += [Segment(bar, style + here), Segment(" ", ground + here)]
        elif not strip:
            segments.append(Segment(" ", ground + here))
        has_text = False
        for text, own, _ in strip:
            style = ground if own is None else ground + own
            offset = style.meta.get("offset")
            if offset is not None:
                has_text = True
                style += RichStyle.from_meta({"offset": (offset[0], line)})
                segments.append(Segment(text, style))
            elif has_text:
                segments.append(Segment(text, style))
            else:  # bullets and bars before the text count as the place where the text begins
                segments += [Segment(character, style + here) for character in text]
        width = look.width if has_bar else None
        framed = Strip(segments)
        if width is None:
            return framed
        if side and self._side:
            shown = palette.named["side"].rich_style
            margin = 0 if look.is_narrow else 1
            framed = framed.extend_cell_length(width - margin - cell_len(self._side), ground)
            framed = Strip.join([framed, Strip([Segment(self._side, shown)])])
        return framed.adjust_cell_length(width, ground)

    def _bar(self, palette: Palette) -> tuple[str, RichStyle]:
        if self.showing.is_selected:
            return "▌", palette.named["bar-selected"].rich_style
        if self.message.is_note:
            return "▎", palette.named["bar-note"].rich_style
        if self.message.role == "user":
            return "▎", palette.named["bar-user"].rich_style
        return " ", palette.named["ground"].rich_style

    # Where things are -----------------------------------------------------------------------------

    def place(self, y: int) -> tuple[int, int]:
        """Return the block at a row and the row within it.

        Rows above the blocks have block -1; rows below them have the number of blocks.
        """
        at = y - len(self._above)
        if at < 0 or not len(self.heights):
            return -1, y
        if at >= self.heights.total:
            return len(self.heights), at - self.heights.total
        return self.heights.at(at)

    def row_of(self, place: tuple[int, int]) -> int:
        """Return the row of a place, which may stem from another width or from less text."""
        block, row = place
        if block < 0:
            return min(row, self.height - 1)
        if block >= len(self.heights):
            return min(len(self._above) + self.heights.total + row, self.height - 1)
        rows = self.heights[block]
        return len(self._above) + self.heights.top(block) + min(row, max(0, rows - 1))

    def row_of_match(self, index: int, ordinal: int, pattern: re.Pattern[str]) -> int | None:
        """Return the row of a search match; None if the text has changed since.

        Args:
            index: The index of the block.
            ordinal: The number of the match in the block, from 0.
            pattern: The search pattern.
        """
        if index >= len(self.blocks.list) or self._look is None:
            return None
        block = self.blocks.list[index]
        plain = content_of(block, self.blocks.env).plain
        match = next(islice(pattern.finditer(plain), ordinal, None), None)
        if match is None:
            return None
        rows = self._rows(block)
        within = max((n for n, row in enumerate(rows) if row.start <= match.start()), default=0)
        return len(self._above) + self.heights.top(index) + block.gap + within

    def rows_of_code(self, number: int) -> tuple[int, int]:
        """Return the first row of a code block, and how many rows all of its pieces take."""
        index = next((i for i, b in enumerate(self.blocks.list) if b.number == number), 0)
        first = self.row_of((index, self.blocks.list[index].gap))
        rows = sum(self.heights[i] for i, b in enumerate(self.blocks.list) if b.number == number)
        return first, rows - self.blocks.list[index].gap

    def codes(self) -> Iterator[tuple[int, str]]:
        """Yield the number and the text of each code block, with its pieces joined."""
        number, code = 0, ""
        for block in self.blocks.list:
            if block.kind != "code":
                continue
            if block.joint is not None:
                code += block.joint + block.text
                continue
            if number:
                yield number, code
            number, code = block.number, block.text
        if number:
            yield number, code

    def selected_text(self, first: int, start: int, last: int, end: int) -> str:
        """Return the text of a span, with line breaks between blocks.

        Args:
            first: The index of the first block.
            start: The first character of that block.
            last: The index of the last block.
            end: The character of that block after the last selected one.
        """
        parts: list[str] = []
        for index in range(first, min(last + 1, len(self.blocks.list))):
            block = self.blocks.list[index]
            begin = start if index == first else 0
            part = copied_text(block, self.blocks.env, begin, end if index == last else None)
            if parts:
                parts.append("\n" * (1 + block.gap) if block.joint is None else block.joint)
            parts.append((block.lead if not begin else "") + part)
        return "".join(parts)


def _short_rows(text: str, width: int, palette: Palette, name: str) -> list[Strip]:
    """Wrap a short text in one of the palette's styles."""
    style = palette.named[name].rich_style
    lines = Content(text).wrap(max(LEAST_TEXT, width))
    return [Strip([Segment(line.plain, style)]) for line in lines]
