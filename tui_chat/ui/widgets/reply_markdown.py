"""Markdown as replies need it: nothing vanishes, nothing is opened, code can be copied.

Owns the blocks and their places, and the code blocks with their numbers. Refuses raw HTML, which
the stock widget would drop in silence; it is shown as text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import cache
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.layout import DockArrangeResult
from textual.message import Message
from textual.widgets import Label, Markdown, Static
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownFence,
    MarkdownHeader,
    MarkdownHorizontalRule,
    MarkdownList,
)

from tui_chat.ui.code_colours import coloured_code
from tui_chat.ui.shown_text import new_parser
from tui_chat.ui.widgets.foldable import Foldable
from tui_chat.ui.widgets.growing_blocks import (
    GrowingBulletList,
    GrowingOrderedList,
    GrowingParagraph,
    GrowingQuote,
    grow_blocks,
    mark_last,
)
from tui_chat.ui.widgets.laid_out_once import LaidOutOnce


@cache
def _parser_of_the_loop() -> MarkdownIt:
    """The one for growing text; making one takes longer than parsing a few sentences."""
    return new_parser()


_INNER_RULE = "inner_hr"
_SECTION_BLOCKS = 12
"""Most blocks that are folded together."""
_SHORT = 2048
"""Characters that are parsed in less time than a thread for it takes to begin."""
_AT_ONCE = 16
"""Sections that are mounted without letting anything else happen in between."""


def _keep_within(token: Token) -> Token:
    """Keep a rule within its list or quotation; the stock widget puts it before that."""
    if token.type == "hr" and token.level:
        token.type = _INNER_RULE
    return token


def _first_to_change(blocks: Sequence[MarkdownBlock]) -> int:
    """The first block that more text can change: the last, or one that it may yet belong to."""
    if len(blocks) < 2:
        return 0
    before, last = blocks[-2:]
    # After an item and an empty line, `2` is a paragraph, and `2.` the next item.
    is_next_item = isinstance(before, MarkdownList) and last._content.plain.isdecimal()
    # Right below other words, `***` is a rule, `#` a heading, and each may begin more words.
    is_marks_alone = isinstance(last, MarkdownHorizontalRule | MarkdownHeader | MarkdownFence) and (
        before.source_range[1] == last.source_range[0] == last.source_range[1] - 1
        and not last._content
    )
    return len(blocks) - 1 - (is_next_item or is_marks_alone)


class CopyMark(Static):
    """The number of a code block with a sign to click."""

    ALLOW_SELECT = False


class CodeBlock(LaidOutOnce, MarkdownFence):
    """A fenced block with a number, which can be selected and copied alone."""

    class CopyRequested(Message):
        """The sign beside the block was clicked."""

        def __init__(self, code: str) -> None:
            super().__init__()
            self.code = code

    number = 0
    """Its place among the blocks of the reply, from 1."""

    def __init__(self, markdown: Markdown, token: Token, code: str) -> None:
        super().__init__(markdown, token, code)
        self._mark = CopyMark("", classes="code-number", markup=False)

    def compose(self) -> ComposeResult:
        """The code, and the number at its right."""
        yield self._mark
        yield Label(self._highlighted_code, id="code-content", expand=True, markup=False)

    def set_number(self, number: int) -> None:
        """Show the place among the blocks of the reply."""
        if number != self.number:
            self.number = number
            self._mark.update(Content(f"{number} ⧉"))

    def on_click(self, event: events.Click) -> None:
        """Copy where the sign was clicked."""
        if isinstance(event.widget, CopyMark):
            event.stop()
            self.post_message(self.CopyRequested(self.code))

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """Colour code with the theme's colours."""
        return coloured_code(code, language or "", ansi)


class Section(Foldable, LaidOutOnce, Vertical):
    """Some blocks of a reply, one below the other."""

    codes_before = 0
    """Code blocks in the sections above."""

    @property
    def blocks(self) -> list[MarkdownBlock]:
        """What it holds."""
        return [child for child in self.children if isinstance(child, MarkdownBlock)]


def _in_sections(blocks: Sequence[MarkdownBlock]) -> list[Section]:
    """Sections for blocks that are not mounted yet."""
    starts = range(0, len(blocks), _SECTION_BLOCKS)
    return [Section(*blocks[at : at + _SECTION_BLOCKS]) for at in starts]


class ReplyMarkdown(LaidOutOnce, Markdown):
    """The Markdown of one reply, in sections: what is far away is not laid out for every word."""

    _arranged: DockArrangeResult | None = None

    BLOCKS: ClassVar[dict[str, type[MarkdownBlock]]] = {  # type: ignore[misc]  # a ClassVar in all but name
        **Markdown.BLOCKS,
        "fence": CodeBlock,
        "code_block": CodeBlock,
        "paragraph_open": GrowingParagraph,
        "bullet_list_open": GrowingBulletList,
        "ordered_list_open": GrowingOrderedList,
        "blockquote_open": GrowingQuote,
    }

    def __init__(self, markdown: str = "") -> None:
        super().__init__(markdown, parser_factory=new_parser, open_links=False)

    @property
    def code_blocks(self) -> list[CodeBlock]:
        """The code blocks, first to last."""
        return list(self.query(CodeBlock))

    def see(self, top: int, bottom: int) -> None:
        """Fold the sections that are far from what is in view.

        Args:
            top: The first line that is near, counted from the first of the reply.
            bottom: The line after the last one.
        """
        for placement in self._arranged.placements if self._arranged is not None else ():
            if isinstance(placement.widget, Section):
                placement.widget.see(top - placement.region.y, bottom - placement.region.y)

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """Lay out the sections, and remember where they are."""
        self._arranged = super().arrange(size, optimal)
        return self._arranged

    def update(self, markdown: str) -> AwaitComplete:
        """Show another text."""
        self._theme = self.app.theme
        self._markdown = markdown
        return AwaitComplete(self._show_anew(markdown))

    def append(self, markdown: str) -> AwaitComplete:
        """Add to the text. Only what that can change is parsed and laid out anew.

        The stock widget begins at the last line after `update`, and so drops what stands above it
        in the last block; and it counts lines otherwise than its parser does.
        """
        self._markdown = self.source + markdown
        return AwaitComplete(self._grow())

    def _parse_markdown(self, tokens: Iterable[Token]) -> list[MarkdownBlock]:
        blocks = list(super()._parse_markdown(map(_keep_within, tokens)))
        mark_last(blocks)
        return blocks

    async def _show_anew(self, markdown: str) -> None:
        async with self.lock:
            if len(markdown) <= _SHORT:
                tokens = _parser_of_the_loop().parse(markdown)
            else:
                loop = asyncio.get_running_loop()
                tokens = await loop.run_in_executor(None, new_parser().parse, markdown)
            blocks = self._parse_markdown(tokens)
            with self.app.batch_update():
                kept, rest = await self._shown_in_place(blocks)
                sections = _in_sections(rest)
                await self.mount_all(sections[:_AT_ONCE])
            for at in range(_AT_ONCE, len(sections), _AT_ONCE):
                await self.mount_all(sections[at : at + _AT_ONCE])
            self._number([*kept, *sections])

    async def _shown_in_place(
        self, blocks: list[MarkdownBlock]
    ) -> tuple[list[Section], list[MarkdownBlock]]:
        """Show blocks in the sections that are there; these, and the blocks without a place."""
        old = [child for child in self.children if isinstance(child, Section)]
        kept = old[: -(-len(blocks) // _SECTION_BLOCKS)]
        await self.remove_children(old[len(kept) :])
        for number, section in enumerate(kept):
            at = number * _SECTION_BLOCKS
            await grow_blocks(section, section.blocks, blocks[at : at + _SECTION_BLOCKS])
        return kept, blocks[len(kept) * _SECTION_BLOCKS :]

    async def _grow(self) -> None:
        async with self.lock:
            # What changes may begin with the last block of the section before.
            tail = [child for child in self.children[-2:] if isinstance(child, Section)]
            blocks = [block for section in tail for block in section.blocks]
            old = blocks[_first_to_change(blocks) :]
            start = old[0].source_range[0] if old else 0
            rest = "\n".join(self._markdown.split("\n")[start:])
            new = self._parse_markdown(_parser_of_the_loop().parse(rest))
            for block in new:
                first, last = block.source_range
                block.source_range = (first + start, last + start)
            with self.app.batch_update():
                if old and len(tail) > 1 and old[0].parent is tail[0]:
                    await tail.pop().remove()
                    old = [block for block in old if block.parent is tail[0]]
                if tail:
                    section = tail[-1]
                    room = max(len(old), _SECTION_BLOCKS - len(section.blocks) + len(old))
                    await grow_blocks(section, old, new[:room])
                    new = new[room:]
                sections = _in_sections(new)
                await self.mount_all(sections)
            self._number([*tail, *sections])

    def _number(self, sections: Sequence[Section]) -> None:
        """Give every code block of the last sections its number."""
        count = sections[0].codes_before if sections else 0
        for section in sections:
            section.codes_before = count
            for block in section.query(CodeBlock):
                count += 1
                block.set_number(count)

    def unhandled_token(self, token: Token) -> MarkdownBlock | None:
        """Show as text what has no widget of its own, rather than drop it."""
        if token.type == _INNER_RULE:
            return MarkdownHorizontalRule(self, token)
        if not token.content:
            return None
        block = MarkdownBlock(self, token)
        block.set_content(Content(token.content))
        return block
