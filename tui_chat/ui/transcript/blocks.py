"""A message as a list of blocks: paragraphs, list items, code and tables, in display order.

A block is the smallest part that is parsed, wrapped and cached. As the text grows, `Blocks` makes
only the last ones again, so the cost of a frame does not depend on the length of the message.
`drawing` turns a block into rows.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile
from typing import Any, Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tui_chat.ui.transcript.markdown import block_tokens

Kind = Literal["text", "heading", "code", "formula", "table", "rule", "source"]
"""The kind of a block. `text` has Markdown within its lines; `source` is shown as written."""

PIECE_CHARACTERS = 4_000
"""Most characters in a piece of code, or of text without Markdown. A piece is wrapped at once."""
PIECE_LINES = 80
"""Most lines in such a piece, or rows in a piece of a table."""
MARKDOWN_CHARACTERS = 8_000
"""A longer paragraph is shown as written, in pieces."""
MOST_BRACKETS = 400
"""A paragraph with more opening brackets is shown as written too: it takes the parser seconds."""
SLICE = 16_384
"""Characters of a long text that are parsed in one go, before the event loop gets a turn."""
QUOTE = "▎ "
BULLETS = ("• ", "◦ ", "▪ ")
_OPENERS = frozenset({"blockquote_open", "bullet_list_open", "ordered_list_open", "list_item_open"})
_MAY_BEGIN_FORMULA = re.compile(r"[\s>*+\-0-9.)]*(\$\$|\\\[)")
_CELL_MARKS = re.compile(r"[|\s\\]")


@dataclass(slots=True)
class Block:
    """A part of a message that is wrapped and drawn as one."""

    kind: Kind
    text: str
    """Its Markdown, its code, or the text that is shown as written."""
    lead: str = ""
    """The text before its first row: bars of quotations, a bullet or a number."""
    rest: str = ""
    """The text before its other rows."""
    gap: int = 0
    """Empty rows above it."""
    level: int = 0
    """The level of a heading, 1 to 6."""
    info: str = ""
    """The info string of a fence, the language first."""
    number: int = 0
    """The number of a code block in its message, from 1."""
    joint: str | None = None
    """The text between this block and the one above if both are pieces of one: a line break, or
    nothing. None if they are not."""
    rows: tuple[tuple[str, ...], ...] = ()
    """The cells of a table; the first row is the header."""
    aligns: tuple[str, ...] = ()
    """`left`, `right` or `center`, for each column."""
    first: Block | None = field(default=None, compare=False, repr=False)
    """The first piece of a table, which determines the column widths of this one."""
    drawn: Any = field(default=None, compare=False, repr=False)
    """The cache of `drawing` for this block."""

    @property
    def is_quoted(self) -> bool:
        """Whether the block is inside a quotation."""
        return QUOTE in self.lead


@dataclass(frozen=True, slots=True)
class Start:
    """A place from which the parsing of a text can resume, and the state of the text before it."""

    at: int = 0
    """Characters before it."""
    blocks: int = 0
    """Blocks before it."""
    codes: int = 0
    """Code blocks before it."""
    gap: int = 0
    """Empty rows above the next block."""
    number: int | None = None
    """The number of the list item that the rest begins with; None outside numbered lists."""
    kind: Kind | None = None
    """The kind of the block that continues; None if the rest begins a new block."""
    joint: str | None = None
    """The text between the piece above and the piece that continues it."""
    opener: str = ""
    """Text to parse before the rest, so that the parser takes the rest as code, rows or words."""
    first: Block | None = None
    """The first piece of the table that continues."""


class Blocks:
    """The blocks of a text that may grow.

    Args:
        parser: Parses Markdown, and must belong to this thread; None shows the text as written.
    """

    def __init__(self, parser: MarkdownIt | None) -> None:
        self._parser = parser
        self._start = Start()
        self._taken = 0
        self.text = ""
        """The safe text that `read` makes blocks of."""
        self.list: list[Block] = []
        """The blocks of the text parsed so far."""
        self.env: dict[str, Any] = {}
        """The link definitions of the text, in markdown-it's form."""
        self._references: dict[str, Any] = {}
        """The link definitions that can't change any more."""

    @property
    def is_read(self) -> bool:
        """Whether all of the text has been made into blocks."""
        return self._taken == len(self.text)

    def show(self, text: str) -> int:
        """Set the text. If it continues the previous one, only the rest of it is parsed.

        Returns:
            The index of the first block that can change.
        """
        if not text.startswith(self.text):
            self._start, self._taken = Start(), 0
            self.list.clear()
            self._references.clear()
            self.env = {}
        self.text = text
        return self._start.blocks

    def read(self) -> int:
        """Make blocks of a slice of the text; call it until `is_read`.

        Returns:
            The index of the first block that has changed.
        """
        end = min(len(self.text), max(self._taken, self._start.at) + SLICE)
        if end < len(self.text):  # cut at the end of a line, if there is one
            end = self.text.rfind("\n", self._taken + 1, end) + 1 or end
        start = self._start
        rest = self.text[start.at : end]
        known = self.env.get("references", {})
        # Keep only the final definitions: the others are parsed again and may have changed.
        self.env = {"references": dict(self._references)}
        if self._parser is None:
            made, self._start = _as_source(rest, start)
        else:
            reader = _Reader(self._parser, self.env, rest, start)
            made, self._start = reader.read()
            for label in reader.final_labels:
                self._references[label] = self.env["references"][label]
        self._taken = end
        old = self.list[start.blocks :]
        same = 0
        for before, after in zip(old, made, strict=False):
            if before != after:
                break
            same += 1
        self.list[start.blocks + same :] = made[same:]
        if self.env["references"] != known:
            for block in self.list:
                block.drawn = None  # a reference may have become a link
            return 0
        return start.blocks + same

    def read_all(self) -> None:
        """Make blocks of the whole text."""
        while not self.is_read:
            self.read()


def _is_long(text: str) -> bool:
    """Return whether a paragraph has to be shown as written.

    Its last line may be incomplete and turn out to belong to another block, so the lines before it
    are measured apart from it.
    """
    before = text.rfind("\n") + 1
    longest = max(before, len(text) - before)
    brackets = max(text.count("[", 0, before), text.count("[", before))
    return longest > MARKDOWN_CHARACTERS or brackets > MOST_BRACKETS


def pieces(text: str) -> Iterator[tuple[int, int, str]]:
    """Cut a long text into pieces: at the end of a line, else after a space, else anywhere.

    As the text grows, all pieces but the last stay the same.

    Yields:
        The first character, the one after the last, and the text between this piece and the next.
    """
    start = 0
    while True:
        limit, end, lines = start + PIECE_CHARACTERS, start, 0
        while lines < PIECE_LINES and (at := text.find("\n", end, limit + 1)) >= 0:
            end, lines = at + 1, lines + 1
        if lines < PIECE_LINES and len(text) <= limit:
            break
        if lines:
            yield start, end - 1, "\n"
        else:
            end = text.rfind(" ", start + PIECE_CHARACTERS // 2, limit) + 1 or limit
            yield start, end, ""
        start = end
    yield start, len(text), ""


def _as_source(text: str, start: Start) -> tuple[list[Block], Start]:
    """Return the blocks of a text without Markdown, and where to resume."""
    blocks: list[Block] = []
    joint, following = start.joint, start
    for begin, end, after in pieces(text):
        following = Start(start.at + begin, start.blocks + len(blocks), joint=joint)
        blocks.append(Block("source", text[begin:end], joint=joint))
        joint = after
    return blocks, following


class _Reader:
    """Makes blocks of one slice of a text."""

    def __init__(self, parser: MarkdownIt, env: dict[str, Any], rest: str, start: Start) -> None:
        self._source = start.opener + rest
        self._tokens = block_tokens(parser, self._source, env)
        self._lines = self._source.split("\n")
        self._offsets = [0]
        for line in self._lines:
            self._offsets.append(self._offsets[-1] + len(line) + 1)
        self._first = start
        self._next = start
        self._blocks: list[Block] = []
        self._codes = start.codes
        self._containers: list[_Container] = []
        self._labels: list[tuple[int, str]] = []
        self._last_line = self._last_certain_line()

    @property
    def final_labels(self) -> list[str]:
        """Labels of the links that are defined before the place to resume from."""
        final = self._next.blocks - self._first.blocks
        return [label for index, label in self._labels if index < final]

    def _last_certain_line(self) -> int:
        """Return the last line at which a new block, if there is one, is certain to begin.

        The last line of the slice may be incomplete: `3` may become `3. item`. And while a formula
        may be open, which ends with an empty line at the latest, all following lines may belong to
        it.
        """
        last = len(self._lines) - 1
        begin = last
        while begin and self._lines[begin - 1].strip(" \t>"):
            begin -= 1
        has_formula = any(map(_MAY_BEGIN_FORMULA.match, self._lines[begin:]))
        return begin if has_formula and begin < last else last - 1

    def read(self) -> tuple[list[Block], Start]:
        """Return the blocks, and where to resume when the text grows."""
        at = 0
        while at < len(self._tokens):
            token = self._tokens[at]
            if token.type in _OPENERS:
                self._may_go_on(token)
                self._open(token)
                at += 1
            elif token.nesting < 0 and token.type.startswith(("blockquote", "bullet", "ord", "li")):
                self._close()
                at += 1
            else:
                self._may_go_on(token)
                at = self._leaf(at)
        return self._blocks, self._next

    # Containers -----------------------------------------------------------------------------------

    def _open(self, token: Token) -> None:
        if token.type == "blockquote_open":
            begin = token.map[0] if token.map else 0
            self._containers.append(_Container("quote", QUOTE, QUOTE, line=begin))
        elif token.type == "list_item_open":
            parent = self._containers[-1]
            if parent.kind == "bullets":
                lead = BULLETS[(sum(c.kind == "bullets" for c in self._containers) - 1) % 3]
            else:
                lead = f"{parent.number}{token.markup} "
                parent.number += 1
            begin = token.map[0] if token.map else 0
            self._containers.append(_Container("item", lead, " " * len(lead), line=begin))
        else:
            number = int(token.attrs.get("start", 1)) if token.type[0] == "o" else 0
            if self._first.number is not None and not self._blocks and not self._containers:
                number = self._first.number
            kind = "numbers" if token.type[0] == "o" else "bullets"
            self._containers.append(_Container(kind, number=number))

    def _close(self) -> None:
        closed = self._containers[-1]
        if closed.kind in ("quote", "item") and not closed.is_used:
            self._add(Block("text", ""), closed.line)  # show the mark of an empty item
        self._containers.pop()

    def _may_go_on(self, token: Token) -> None:
        """Note a place as the one to resume from, if the rest can be parsed on its own there."""
        kinds = [container.kind for container in self._containers]
        in_list = kinds[-1:] in (["bullets"], ["numbers"]) and token.type == "list_item_open"
        if any(kind != "quote" for kind in (kinds[:-1] if in_list else kinds)) or not token.map:
            return
        number = None
        if in_list and kinds[-1] == "numbers":
            if len(kinds) > 1:
                return  # `Start.number` works only for lists outside quotations
            number = self._containers[-1].number
        self._go_on_from(self._offsets[token.map[0]], number=number)

    def _go_on_from(self, offset: int, **known: Any) -> None:
        """Note a place to resume from, unless the block that begins there is not certain yet.

        Args:
            offset: The place in the source of this slice.
            known: Further fields of `Start`.
        """
        at = self._first.at + offset - len(self._first.opener)
        is_same = at <= self._first.at and self._first.kind is not None
        line = bisect_left(self._offsets, offset)
        is_line_start = self._offsets[line] == offset
        if is_same or (is_line_start and line > self._last_line):
            return
        blocks = self._first.blocks + len(self._blocks)
        self._next = Start(at, blocks, self._codes, **known)

    # Leaves ---------------------------------------------------------------------------------------

    def _leaf(self, at: int) -> int:
        """Add the block that begins at a token; return the index of the token after the block."""
        token = self._tokens[at]
        line = token.map[0] if token.map else 0
        if token.type in ("paragraph_open", "heading_open"):
            self._words(token, self._tokens[at + 1], line)
            return at + 3
        if token.type == "table_open":
            types = [token.type for token in self._tokens[at:]]
            close = at + types.index("table_close")
            self._table(self._tokens[at:close], line, token.map[1] if token.map else line)
            return close + 1
        if token.type in ("fence", "code_block"):
            self._code(token, line)
        elif token.type == "formula_block":
            self._add(Block("formula", token.content), line)
        elif token.type == "hr":
            self._add(Block("rule", ""), line)
        elif token.content:
            if token.type == "definition" and token.info:
                self._labels.append((len(self._blocks), token.info))
            self._add(Block("source", token.content), line)
        return at + 1

    def _goes_on(self, kind: Kind) -> bool:
        """Return whether the next block continues the one that the text before this slice began."""
        return self._first.kind == kind and not self._blocks

    def _words(self, token: Token, inline: Token, line: int) -> None:
        text = inline.content
        if self._goes_on("source"):
            opener = self._first.opener
            rest = text[len(opener) :]
            if rest:
                self._long_text(rest, line, len(opener))
            else:  # the paragraph has ended, and the slice begins with another block
                self._first = replace(self._first, gap=1, joint=None)
        elif _is_long(text):
            self._long_text(text, line, self._source.find(text[:80], self._offsets[line]))
        elif not text:  # an empty heading
            self._add(Block("source", self._lines[line].strip()), line)
        elif token.type == "heading_open":
            self._add(Block("heading", text, level=int(token.tag[1])), line)
        else:
            self._add(Block("text", text), line)

    def _long_text(self, text: str, line: int, offset: int) -> None:
        """Add a paragraph as written, in pieces."""
        joint: str | None = None
        for begin, end, after in pieces(text):
            if begin and not self._containers:
                # Begin with a word, so that the parser takes the rest as a paragraph.
                opener = "x\n" if joint else "x"
                self._go_on_from(offset + begin, kind="source", opener=opener)
            self._add(Block("source", text[begin:end], joint=joint), line)
            joint = after

    def _code(self, token: Token, line: int) -> None:
        self._codes += not self._goes_on("code")
        code = token.content.removesuffix("\n")
        is_fence = token.type == "fence"
        opener = self._lines[line] + "\n" if is_fence else ""
        joint: str | None = None
        for begin, end, after in pieces(code):
            row = line + is_fence + code.count("\n", 0, begin)
            column = begin - (code.rfind("\n", 0, begin) + 1)
            # A piece that begins within a line must not look like the end of the fence.
            may_go_on = not column or (is_fence and code[begin] not in "`~ " and opener[0] in "`~")
            if begin and may_go_on and not self._containers:
                self._go_on_from(self._offsets[row] + column, kind="code", opener=opener)
            block = Block("code", code[begin:end], info=token.info.strip(), number=self._codes)
            block.joint = joint
            self._add(block, line)
            joint = after

    def _table(self, tokens: Sequence[Token], line: int, end: int) -> None:
        rows: list[list[str]] = []
        aligns: list[str] = []
        for token, after in pairwise(tokens):
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open"):
                rows[-1].append(after.content)
                if token.type == "th_open":
                    aligns.append(str(token.attrs.get("style", "")).rpartition(":")[2] or "left")
        lines = self._lines[line:end]
        head, body = tuple(rows[0]), [tuple(row) for row in rows[1:]]
        opener = "\n".join(lines[:2]) + "\n"
        goes_on = self._goes_on("table")
        first = self._first.first if goes_on else None
        for at in range(0, max(1, len(body)), PIECE_LINES):
            if at and not self._containers:
                offset = self._offsets[line + 2 + at]
                self._go_on_from(offset, kind="table", opener=opener, first=first)
            part = (head, *body[at : at + PIECE_LINES])
            written = lines[2 + at : 2 + at + PIECE_LINES]
            if not at and not goes_on:
                written = [lines[0], *written]
            shown = part if len(written) == len(part) else part[1:]
            if all(map(self._has_all, written, shown)):
                block = Block("table", "", rows=part, aligns=tuple(aligns), first=first)
            else:  # a row has more cells than columns, and the parser drops the surplus
                head_lines = [] if at or goes_on else lines[:2]
                source = [*head_lines, *lines[2 + at : 2 + at + PIECE_LINES]]
                block = Block("source", "\n".join(source))
            block.joint = None if not at and not goes_on else "\n"
            self._add(block, line)
            first = first or (block if block.kind == "table" else None)

    def _has_all(self, line: str, cells: Sequence[str]) -> bool:
        """Return whether the cells hold all that is written in a line of a table."""
        written, shown = _CELL_MARKS.sub("", line), _CELL_MARKS.sub("", "".join(cells))
        return written.endswith(shown) if self._containers else written == shown

    def _add(self, block: Block, line: int) -> None:
        """Add a block inside the open containers, which determine its lead and its gap."""
        block.lead = "".join(c.rest if c.is_used else c.lead for c in self._containers)
        block.rest = "".join(c.rest for c in self._containers)
        is_item = any(container.kind == "item" for container in self._containers)
        # The first block of an item may begin below the bullet; the gap depends on the bullet.
        marks = [c.line for c in self._containers if c.rest and not c.is_used]
        line = min([line, *marks])
        for container in self._containers:
            container.is_used = True
        if not self._blocks:
            block.gap, block.joint = self._first.gap, self._first.joint
        elif block.joint is None:
            # An empty row separates blocks, except items written without empty lines between.
            is_tight = is_item and self._blocks[-1].rest and self._lines[line - 1].strip(" \t>")
            block.gap = 0 if is_tight else 1
        if self._first.blocks + len(self._blocks) == self._next.blocks:
            self._next = replace(self._next, gap=block.gap, joint=block.joint)
        self._blocks.append(block)


@dataclass(slots=True)
class _Container:
    """An open quotation, list or list item."""

    kind: str
    lead: str = ""
    rest: str = ""
    number: int = 0
    line: int = 0
    is_used: bool = False


def gap_lead(before: Block | None, block: Block) -> str:
    """Return the text in the empty rows above a block: the bars of a quotation that continues."""
    if before is None:
        return ""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before.rest, block.rest, strict=False))
    return "".join(character for character, _ in same).rstrip()
