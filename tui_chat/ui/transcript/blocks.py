"""A message as blocks: paragraphs, items, code, tables, in the order in which they are shown.

A block is the least that is parsed, wrapped and kept for the screen. `Blocks` makes them of a text
and, as that grows, makes only the last ones again: what a frame costs does not depend on how long
the message is. `drawing` turns a block into rows.
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
"""`text` has Markdown within its lines; `source` is shown as it is written."""

PIECE_CHARACTERS = 4_000
"""Characters of code, or of a text without Markdown, that are wrapped at once,"""
PIECE_LINES = 80
"""and lines of it, or rows of a table."""
MARKDOWN_CHARACTERS = 8_000
"""A longer paragraph is shown as it is written, in pieces."""
MOST_BRACKETS = 400
"""The same for one with more opening brackets, which take the parser seconds."""
SLICE = 16_384
"""Characters of a long text that are read without letting anything else happen in between."""
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
    """Its Markdown, its code, or what is shown as it is written."""
    lead: str = ""
    """What stands before its first row: bars of quotations, a bullet or a number."""
    rest: str = ""
    """What stands before its other rows."""
    gap: int = 0
    """Empty rows above it."""
    level: int = 0
    """Of a heading, 1 to 6."""
    info: str = ""
    """What a fence says of its code, the language first."""
    number: int = 0
    """Of a code block in its message, from 1."""
    joint: str | None = None
    """Between it and the block above, where both are pieces of one: a line break, or nothing."""
    rows: tuple[tuple[str, ...], ...] = ()
    """Cells of a table; the first row is the header."""
    aligns: tuple[str, ...] = ()
    """`left`, `right` or `center`, for each column."""
    first: Block | None = field(default=None, compare=False, repr=False)
    """The piece of a table that says how wide the columns of this one are."""
    drawn: Any = field(default=None, compare=False, repr=False)
    """What `drawing` keeps of it."""

    @property
    def is_quoted(self) -> bool:
        """Whether it stands in a quotation."""
        return QUOTE in self.lead


@dataclass(frozen=True, slots=True)
class Start:
    """Where the reading of a text can go on, and what is to be known of the text before."""

    at: int = 0
    """Characters before."""
    blocks: int = 0
    """Blocks before."""
    codes: int = 0
    """Code blocks before."""
    gap: int = 0
    """Empty rows above the first block."""
    number: int | None = None
    """Of the item of a numbered list that the rest begins with."""
    kind: Kind | None = None
    """Of the block that goes on; None where the rest begins a new one."""
    joint: str | None = None
    """Between the block above and what goes on."""
    opener: str = ""
    """What is to be read before the rest, so that the rest is taken as code, rows or words."""
    first: Block | None = None
    """The first piece of the table that goes on."""


class Blocks:
    """The blocks of a text that may grow.

    Args:
        parser: Reads Markdown; None shows the text as it is written. One for each thread.
    """

    def __init__(self, parser: MarkdownIt | None) -> None:
        self._parser = parser
        self._start = Start()
        self._taken = 0
        self.text = ""
        """Safe text; `read` makes blocks of it."""
        self.list: list[Block] = []
        """The blocks, as far as the text has been read."""
        self.env: dict[str, Any] = {}
        """The link definitions of the text, as markdown-it wants them."""
        self._references: dict[str, Any] = {}
        """Those that can't change any more."""

    @property
    def is_read(self) -> bool:
        """Whether all of the text is in the blocks."""
        return self._taken == len(self.text)

    def show(self, text: str) -> int:
        """Take another text; if it goes on from the one before, only the rest of it is read.

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
        """Read a slice of what has not been read; call it until `is_read`.

        Returns:
            The index of the first block that has changed.
        """
        end = min(len(self.text), max(self._taken, self._start.at) + SLICE)
        if end < len(self.text):  # at the end of a line, if there is one
            end = self.text.rfind("\n", self._taken + 1, end) + 1 or end
        start = self._start
        rest = self.text[start.at : end]
        known = self.env.get("references", {})
        # what the last block defines is read again, and may be another address by now
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
                block.drawn = None  # a link may have got an address
            return 0
        return start.blocks + same

    def read_all(self) -> None:
        """Read the whole text at once."""
        while not self.is_read:
            self.read()


def _is_long(text: str) -> bool:
    """Whether a paragraph is shown as it is written. Its last line may not be complete."""
    before = text.rfind("\n") + 1
    longest = max(before, len(text) - before)
    brackets = max(text.count("[", 0, before), text.count("[", before))
    return longest > MARKDOWN_CHARACTERS or brackets > MOST_BRACKETS


def pieces(text: str) -> Iterator[tuple[int, int, str]]:
    """A long text in pieces, cut where a line ends, else after a space, else anywhere.

    Where a text goes on, all pieces but the last stay what they are.

    Yields:
        First character, the one after the last, and what stands between it and the next piece.
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
    """The blocks of a text without Markdown, and where to go on."""
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
        """The links that are defined before the place where the reading goes on."""
        final = self._next.blocks - self._first.blocks
        return [label for index, label in self._labels if index < final]

    def _last_certain_line(self) -> int:
        """The last line that is known to begin a block, if it does.

        The last line is not complete: `3` may become `3. item`. And where a formula may be open,
        which ends with an empty line at the latest, all that follows may turn out to be part of it.
        """
        last = len(self._lines) - 1
        begin = last
        while begin and self._lines[begin - 1].strip(" \t>"):
            begin -= 1
        has_formula = any(map(_MAY_BEGIN_FORMULA.match, self._lines[begin:]))
        return begin if has_formula and begin < last else last - 1

    def read(self) -> tuple[list[Block], Start]:
        """The blocks, and where to go on when there is more of the text."""
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
            self._add(Block("text", ""), closed.line)  # its mark is there, and nothing else
        self._containers.pop()

    def _may_go_on(self, token: Token) -> None:
        """Take note of the last place from which the rest of the text can be read by itself."""
        kinds = [container.kind for container in self._containers]
        in_list = kinds[-1:] in (["bullets"], ["numbers"]) and token.type == "list_item_open"
        if any(kind != "quote" for kind in (kinds[:-1] if in_list else kinds)) or not token.map:
            return
        number = None
        if in_list and kinds[-1] == "numbers":
            if len(kinds) > 1:
                return  # a number is kept for lists outside of quotations alone
            number = self._containers[-1].number
        self._go_on_from(self._offsets[token.map[0]], number=number)

    def _go_on_from(self, offset: int, **known: Any) -> None:
        """Take note of a place in the source, and of what `Start` has to know of it."""
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
        """Add the block that begins with a token; returns the index of the token after it."""
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
        """Whether a block is the one that the text before this slice has begun."""
        return self._first.kind == kind and not self._blocks

    def _words(self, token: Token, inline: Token, line: int) -> None:
        text = inline.content
        if self._goes_on("source"):
            opener = self._first.opener
            rest = text[len(opener) :]
            if rest:
                self._long_text(rest, line, len(opener))
            else:  # something else follows the paragraph
                self._first = replace(self._first, gap=1, joint=None)
        elif _is_long(text):
            self._long_text(text, line, self._source.find(text[:80], self._offsets[line]))
        elif not text:  # a heading of nothing
            self._add(Block("source", self._lines[line].strip()), line)
        elif token.type == "heading_open":
            self._add(Block("heading", text, level=int(token.tag[1])), line)
        else:
            self._add(Block("text", text), line)

    def _long_text(self, text: str, line: int, offset: int) -> None:
        """Add a paragraph as it is written."""
        joint: str | None = None
        for begin, end, after in pieces(text):
            if begin and not self._containers:
                # what comes later is read as words of the paragraph that the opener begins
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
            # within a line the rest must not look like the end of the fence
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
            else:  # a row has more cells than there are columns
                head_lines = [] if at or goes_on else lines[:2]
                source = [*head_lines, *lines[2 + at : 2 + at + PIECE_LINES]]
                block = Block("source", "\n".join(source))
            block.joint = None if not at and not goes_on else "\n"
            self._add(block, line)
            first = first or (block if block.kind == "table" else None)

    def _has_all(self, line: str, cells: Sequence[str]) -> bool:
        """Whether the cells are all that is in a line; the parser drops those without a column."""
        written, shown = _CELL_MARKS.sub("", line), _CELL_MARKS.sub("", "".join(cells))
        return written.endswith(shown) if self._containers else written == shown

    def _add(self, block: Block, line: int) -> None:
        """Add a block in the containers that are open."""
        block.lead = "".join(c.rest if c.is_used else c.lead for c in self._containers)
        block.rest = "".join(c.rest for c in self._containers)
        is_item = any(container.kind == "item" for container in self._containers)
        # the first block of an item may stand on a line below the bullet
        marks = [c.line for c in self._containers if c.rest and not c.is_used]
        line = min([line, *marks])
        for container in self._containers:
            container.is_used = True
        if not self._blocks:
            block.gap, block.joint = self._first.gap, self._first.joint
        elif block.joint is None:
            # blocks stand apart, but for the items of a list that are written without empty lines
            is_tight = is_item and self._blocks[-1].rest and self._lines[line - 1].strip(" \t>")
            block.gap = 0 if is_tight else 1
        if self._first.blocks + len(self._blocks) == self._next.blocks:
            self._next = replace(self._next, gap=block.gap, joint=block.joint)
        self._blocks.append(block)


@dataclass(slots=True)
class _Container:
    """A quotation, a list or an item that blocks stand in."""

    kind: str
    lead: str = ""
    rest: str = ""
    number: int = 0
    line: int = 0
    is_used: bool = False


def gap_lead(before: Block | None, block: Block) -> str:
    """What stands in the empty rows above a block: the bars of the quotation that goes on."""
    if before is None:
        return ""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before.rest, block.rest, strict=False))
    return "".join(character for character, _ in same).rstrip()
