"""Drawing of blocks as screen rows, for a width and a theme.

The looks of paragraphs, tables and code blocks are decided here. `content_of` returns the text of a
block independently of its width, so that threads can search it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import local
from typing import Any

from markdown_it.token import Token
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.content import Content, Span
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions

from tui_chat.safe_text import safe_line
from tui_chat.ui.transcript.blocks import Block
from tui_chat.ui.transcript.code_colours import coloured_code
from tui_chat.ui.transcript.look import Palette
from tui_chat.ui.transcript.markdown import inline_tokens, new_parser

TAB = 4
"""Distance between tab stops, in cells."""
COLUMN_GAP = "  "
_MARKS = {"strong": "bold", "em": "italic", "s": "strike"}
Mark = tuple[int, int, str]
"""First character of a marked range, the one after its last, and the name of its style."""


@dataclass(frozen=True, slots=True)
class Row:
    """One screen row of a block."""

    strip: Strip
    start: int
    """Index in the block's text of the first character of this row."""


@dataclass(slots=True, eq=False)
class Drawn:
    """The rows of a block as last drawn, and what they were drawn for."""

    width: int
    palette: Palette
    rows: list[Row]


def estimated_rows(block: Block, width: int) -> int:
    """Estimate the rows of a block without drawing it, its gap included."""
    if block.rows:
        return block.gap + len(block.rows) + 1
    room = max(4, width - len(block.rest))
    return block.gap + max(block.text.count("\n") + 1, -(-len(block.text) // room))


def drawn_rows(block: Block, width: int, palette: Palette, env: dict[str, Any]) -> list[Row]:
    """Return the rows of a block, without its gap, and cache them for a width and a palette.

    Args:
        block: A block of the message that `env` belongs to.
        width: Width in cells, at least 4.
        palette: The styles of the message.
        env: The link definitions of the message.
    """
    drawn = block.drawn
    if not (isinstance(drawn, Drawn) and drawn.width == width and drawn.palette is palette):
        drawn = block.drawn = Drawn(width, palette, marked_rows(block, width, palette, env, ()))
    return drawn.rows


def marked_rows(
    block: Block, width: int, palette: Palette, env: dict[str, Any], marks: Sequence[Mark]
) -> list[Row]:
    """Draw a block with marked ranges of its text; the result is not cached."""
    lead, rest = _fitting(block.lead, width), _fitting(block.rest, width)
    room = width - max(len(lead), len(rest))
    if block.kind == "rule":
        rows = [Row(Strip([Segment("─" * room, palette.named["rule"].rich_style)], room), 0)]
    elif block.kind == "table":
        rows = _table_rows(block, room, palette, env, marks)
    elif block.kind == "code":
        rows = _code_rows(block, room, palette, env, marks)
    else:
        style = palette.named["muted" if block.is_quoted else "text"]
        if block.kind == "heading":
            style += palette.named["title" if block.level == 1 else "heading"]
        rows = _wrapped(content_of(block, env), room, style, palette, marks)
    if not rest:
        return rows
    leads = [lead, *[rest] * (len(rows) - 1)]
    mark = palette.named["quote"].rich_style
    return [
        Row(Strip([*(Segment(c, mark) for c in before), *row.strip], None), row.start)
        for before, row in zip(leads, rows, strict=True)
    ]


def _fitting(lead: str, width: int) -> str:
    """Return the end of a lead that leaves at least half of the width to the text."""
    return lead[-(width // 2) :] if len(lead) > width // 2 else lead


def _wrapped(
    content: Content, width: int, style: Style, palette: Palette, marks: Sequence[Mark]
) -> list[Row]:
    """Wrap a text into rows. The style of each segment carries the index of its first character."""
    for start, end, name in marks:
        content = content.stylize(palette.named[name], start, end)
    options = RenderOptions(palette.get, RulesMap())
    rows: list[Row] = []
    at = 0
    for line in content.split(allow_blank=True):
        for strip in line.render_strips(max(1, width), None, style, options):
            first = next(iter(strip), None)
            x = at if first is None or first.style is None else at + first.style.meta["offset"][0]
            rows.append(Row(strip.apply_offsets(x, 0), x))
        at += len(line) + 1
    return rows


# Code ---------------------------------------------------------------------------------------------


def code_label(block: Block, width: int) -> str:
    """Return the label in the first row of a code block: language, number and copy sign."""
    label, short = f"{safe_line(block.info, 24)}  {block.number} ⧉".lstrip(), f"{block.number} ⧉"
    return label if cell_len(label) <= width else set_cell_size(short, min(len(short), width))


def _code_rows(
    block: Block, width: int, palette: Palette, env: dict[str, Any], marks: Sequence[Mark]
) -> list[Row]:
    """Draw code on its own background, with its label at the right of the first row."""
    style = palette.named["code"]
    ground = style.rich_style
    content = content_of(block, env, palette.uses_terminal_colours)
    if palette.is_dim:
        content = content.without_spans
    room = max(1, width - 4)
    label = "" if block.joint is not None else code_label(block, room)
    rows = _wrapped(content, room, style, palette, marks)
    if label and rows[0].strip.cell_length + cell_len(label) > width - 5:
        rows.insert(0, Row(Strip.blank(0), 0))  # no room beside the code, so a row above it
    result: list[Row] = []
    for number, row in enumerate(rows):
        padded = [Segment("  ", ground), *row.strip]
        fill = width - 2 - row.strip.cell_length
        if label and not number:
            sign = palette.named["code-number"] + Style.from_meta({"copy": block.number})
            fill -= cell_len(label) + 1
            padded += [Segment(" " * fill, ground), Segment(label, sign.rich_style)]
            padded.append(Segment(" ", ground))
        else:
            padded.append(Segment(" " * fill, ground))
        result.append(Row(Strip(padded, width), row.start))
    return result


# Tables -------------------------------------------------------------------------------------------


def _table_rows(
    block: Block, width: int, palette: Palette, env: dict[str, Any], marks: Sequence[Mark]
) -> list[Row]:
    """Draw a table whose columns are no wider than they need to be."""
    shown = block.first or block
    cells = [[_cell(text, env) for text in row] for row in shown.rows]
    lengths = [[cell.cell_length for cell in column] for column in zip(*cells, strict=True)]
    widths = _column_widths(lengths, width)
    rows: list[Row] = []
    at = 0
    if shown is not block:
        cells = [[_cell(text, env) for text in row] for row in block.rows]
    for number, line in enumerate(cells):
        if not number and block.joint is not None:
            continue  # the header stands above the first piece
        style = palette.named["table-header" if not number else "text"]
        columns: list[list[Row]] = []
        for cell, column in zip(line, widths, strict=True):
            own = [
                (max(0, s - at), e - at, n) for s, e, n in marks if s < at + len(cell) and e > at
            ]
            wrapped = _wrapped(cell, column, style, palette, own)
            columns.append([Row(row.strip, row.start + at) for row in wrapped])
            at += len(cell.plain) + len(_BETWEEN)
        at += 1 - len(_BETWEEN)
        rows += _side_by_side(columns, widths, block.aligns, style.rich_style)
        if not number:
            bar = ("─" * column for column in widths)
            rule = Segment(COLUMN_GAP.join(bar), palette.named["rule"].rich_style)
            rows.append(Row(Strip([rule]), at))
    return rows


def _side_by_side(
    columns: Sequence[Sequence[Row]], widths: Sequence[int], aligns: Sequence[str], style: RichStyle
) -> list[Row]:
    """Join the wrapped cells of one table row into screen rows."""
    rows: list[Row] = []
    for number in range(max(map(len, columns), default=0)):
        segments: list[Segment] = []
        start: int | None = None
        for column, width, align in zip(columns, widths, aligns, strict=True):
            if segments:
                segments.append(Segment(COLUMN_GAP, style))
            if number < len(column):
                row = column[number]
                start = row.start if start is None else start
                room = width - row.strip.cell_length
                left = {"right": room, "center": room // 2}.get(align, 0)
                placed = row.strip.apply_offsets(row.start, 0)
                segments += [
                    Segment(" " * left, style),
                    *placed,
                    Segment(" " * (room - left), style),
                ]
            else:
                segments.append(Segment(" " * width, style))
        rows.append(Row(Strip(segments), start or 0))
    return rows


def _column_widths(cells: Sequence[Sequence[int]], width: int) -> list[int]:
    """Return the widths of a table's columns: what they need, or less if the room is short.

    Narrow columns are served first, so that the wide ones share what is left.

    Args:
        cells: For each column, the widths of its texts in cells.
        width: Cells for all columns and the gaps between them.
    """
    wanted = [max(1, max(column)) for column in cells]
    room = max(len(wanted), width - len(COLUMN_GAP) * (len(wanted) - 1))
    widths = [0] * len(wanted)
    for done, index in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        widths[index] = min(wanted[index], room // (len(wanted) - done))
        room -= widths[index]
    return widths


_BETWEEN = "  "
"""Separator between the cells of a row in the text of a table."""


def _cell(text: str, env: dict[str, Any]) -> Content:
    return _inline(inline_tokens(_parsers.parser, text, env))


# Texts --------------------------------------------------------------------------------------------


class _Parsers(local):
    """One parser for each thread, because a parser keeps state."""

    def __init__(self) -> None:
        self.parser = new_parser()


_parsers = _Parsers()


def content_of(block: Block, env: dict[str, Any], uses_terminal_colours: bool = False) -> Content:
    """Return the text of a block as shown but not wrapped, with its style names as spans."""
    if block.kind in ("text", "heading"):
        return _inline(inline_tokens(_parsers.parser, block.text, env))
    if block.kind == "code":
        code = block.text.expandtabs(TAB)
        if not code.strip():
            return Content(code)
        content = coloured_code(code, block.info, uses_terminal_colours)
        return content if content.plain == code else Content(code, [*content.spans])
    if block.kind == "table":
        rows = block.rows if block.joint is None else block.rows[1:]
        lines = (Content(_BETWEEN).join([_cell(cell, env) for cell in row]) for row in rows)
        return Content("\n").join(lines)
    return Content(block.text.expandtabs(TAB))


def copied_text(block: Block, env: dict[str, Any], start: int, end: int | None) -> str:
    """Return the text to copy for a range of a block's shown text; code keeps its tabs.

    Args:
        block: A block of the message that `env` belongs to.
        env: The link definitions of the message.
        start: First character of the shown text.
        end: The character after the last one; None for the end of the text.
    """
    if block.kind in ("code", "source", "formula") and "\t" in block.text:
        last = None if end is None else _before_tabs(block.text, end)
        return block.text[_before_tabs(block.text, start) : last]
    return content_of(block, env).plain[start:end]


def _before_tabs(text: str, at: int) -> int:
    """Map an index in `text.expandtabs(TAB)` to the index in `text`."""
    place = column = 0
    for index, character in enumerate(text):
        cells = TAB - column % TAB if character == "\t" else 1
        if place + cells > at:
            return index
        place += cells
        column = 0 if character == "\n" else column + cells
    return len(text)


def _inline(tokens: Sequence[Token]) -> Content:
    """Build the content of a line from its tokens."""
    text: list[str] = []
    spans: list[Span] = []
    open_marks: list[tuple[int, list[str | Style]]] = []
    length = 0

    def add(words: str, *styles: str | Style) -> None:
        nonlocal length
        text.append(words)
        spans.extend(Span(length, length + len(words), style) for style in styles if words)
        length += len(words)

    for token in tokens:
        if token.nesting > 0:
            kind = token.type.removesuffix("_open")
            styles: list[str | Style] = [_MARKS.get(kind, "link")]
            if kind == "link":
                styles.append(_link(str(token.attrs.get("href", ""))))
            open_marks.append((length, styles))
        elif token.nesting < 0 and open_marks:
            begin, styles = open_marks.pop()
            if begin == length and token.type == "link_close":  # no text: show the address
                add(str(styles[-1].meta["link"]) if isinstance(styles[-1], Style) else "")
            spans.extend(Span(begin, length, style) for style in styles if length > begin)
        elif token.type == "softbreak":
            add(" ")
        elif token.type == "hardbreak":
            add("\n")
        elif token.type == "code_inline":
            add(token.content, "inline-code")
        elif token.type == "image":
            address = str(token.attrs.get("src", ""))
            add(f"🖼 {token.content or address}", "link", _link(address))
        else:
            add(token.content)
    return Content("".join(text).expandtabs(TAB) if "\t" in "".join(text) else "".join(text), spans)


def _link(address: str) -> Style:
    return Style.from_meta({"link": address})
