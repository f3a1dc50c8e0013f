"""What messages look like: the rows that are painted, and how parts of them stand out."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from tui_chat.ui.app import TuiChat
from tui_chat.ui.transcript.message_list import STRIDE, MessageList


def strips(shown: MessageList) -> list[Strip]:
    """The rows in view, with their styles."""
    return [shown.render_line(y) for y in range(shown.size.height)]


def rows(shown: MessageList) -> list[str]:
    """The rows in view, without what is empty at their right."""
    return [strip.text.rstrip() for strip in strips(shown)]


def message_of(strip: Strip) -> int | None:
    """The place in the path of the message that a row belongs to."""
    for segment in strip:
        offset = segment.style.meta.get("offset") if segment.style is not None else None
        if offset is not None:
            return int(offset[1]) // STRIDE
    return None


def message_rows(app: TuiChat, index: int) -> list[str]:
    """The rows in view of one message, by its place in the path; those below it belong to it."""
    found = strips(app.chat.transcript)
    return [strip.text.rstrip() for strip in found if message_of(strip) == index]


def messages_in_view(app: TuiChat) -> dict[int, int]:
    """The messages in view by their places in the path, and the first row in view of each."""
    first: dict[int, int] = {}
    for row, strip in enumerate(strips(app.chat.transcript)):
        index = message_of(strip)
        if index is not None:
            first.setdefault(index, row)
    return first


def shown(app: TuiChat) -> str:
    """Everything of the transcript that is in view."""
    return "\n".join(rows(app.chat.transcript))


def words(app: TuiChat, index: int) -> list[str]:
    """The words in view of one message, with what stands beside and below it."""
    return " ".join(message_rows(app, index)).split()


def row_of(app: TuiChat, text: str) -> int | None:
    """The first row in view in which a text stands."""
    found = (row for row, line in enumerate(rows(app.chat.transcript)) if text in line)
    return next(found, None)


def place_of(app: TuiChat, text: str) -> tuple[int, int]:
    """The cell of the transcript in which a text begins that is in view, to be clicked at."""
    row = row_of(app, text)
    assert row is not None, f"{text!r} is not in view"
    before, _, _ = rows(app.chat.transcript)[row].partition(text)
    left, top = app.chat.transcript.gutter.top_left
    return left + cell_len(before), top + row


def marked(app: TuiChat, is_current: bool = False) -> list[str]:
    """What is marked as found, top to bottom.

    Args:
        app: With a transcript.
        is_current: Only the place that the reader is at.
    """
    found: list[str] = []
    for strip in strips(app.chat.transcript):
        was = False
        for segment in strip:
            is_marked = is_current_match(segment) or (not is_current and is_match(segment, strip))
            if is_marked and was:
                found[-1] += segment.text
            elif is_marked:
                found.append(segment.text)
            was = is_marked
    return found


def is_match(segment: Segment, strip: Strip) -> bool:
    """Whether a part of a row is marked as found: underlined, on a ground of its own."""
    style = segment.style
    if style is None or not style.underline:
        return False
    ground = next(iter(strip)).style
    return "link" not in style.meta or (ground is not None and style.bgcolor != ground.bgcolor)


def is_current_match(segment: Segment) -> bool:
    """Whether a part of a row is the place that the reader is at."""
    return segment.style is not None and bool(segment.style.bold and segment.style.reverse)


def dimmed(app: TuiChat) -> list[str]:
    """The texts in view that are painted in the colour of what is not sent."""
    colour = app.theme_variables["forgotten"].lower()
    return _texts(app, lambda segment: _colour(segment) == colour)


def struck(app: TuiChat) -> list[str]:
    """The texts in view that are struck through."""
    return _texts(app, lambda segment: segment.style is not None and bool(segment.style.strike))


def _texts(app: TuiChat, is_meant: Callable[[Segment], bool]) -> list[str]:
    """The parts of rows that look like something; what stands far apart is not one text."""
    found: list[str] = []
    for strip in strips(app.chat.transcript):
        line = "".join(segment.text if is_meant(segment) else "  " for segment in strip)
        parts = (part.strip("▎▌ ") for part in re.split(r"\s{2,}", line))
        found += [part for part in parts if re.search(r"\w", part)]
    return found


def _colour(segment: Segment) -> str:
    style = segment.style
    if style is None or style.color is None or style.color.triplet is None:
        return ""
    return style.color.triplet.hex
