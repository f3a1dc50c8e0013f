"""Markdown as replies need it: nothing vanishes, nothing is opened, code can be copied.

Owns the parser's settings and the code blocks with their numbers. Refuses raw HTML, which the
stock widget would drop in silence; it is shown as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.content import Content
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
from tui_chat.ui.widgets.growing_blocks import (
    GrowingBulletList,
    GrowingOrderedList,
    GrowingParagraph,
    GrowingQuote,
    grow_blocks,
    mark_last,
)
from tui_chat.ui.widgets.laid_out_once import LaidOutOnce


def _parser() -> MarkdownIt:
    """A parser. It must not be shared among threads: what finds links in it keeps its place."""
    return MarkdownIt("gfm-like", {"html": False})


@cache
def _parser_of_the_loop() -> MarkdownIt:
    """The one for growing text; making one takes longer than parsing a few sentences."""
    return _parser()


_INNER_RULE = "inner_hr"


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

    def compose(self) -> ComposeResult:
        """The code, and the number at its right."""
        yield CopyMark("", classes="code-number", markup=False)
        yield Label(self._highlighted_code, id="code-content", expand=True, markup=False)

    def set_number(self, number: int) -> None:
        """Show the place among the blocks of the reply."""
        if number != self.number:
            self.number = number
            self.query_one(CopyMark).update(Content(f"{number} ⧉"))

    def on_click(self, event: events.Click) -> None:
        """Copy where the sign was clicked."""
        if isinstance(event.widget, CopyMark):
            event.stop()
            self.post_message(self.CopyRequested(self.code))

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """Colour code with the theme's colours."""
        return coloured_code(code, language or "", ansi)


class ReplyMarkdown(LaidOutOnce, Markdown):
    """The Markdown of one reply."""

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
        super().__init__(markdown, parser_factory=_parser, open_links=False)

    @property
    def code_blocks(self) -> list[CodeBlock]:
        """The code blocks, first to last."""
        return list(self.query(CodeBlock))

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

    async def _grow(self) -> None:
        async with self.lock:
            blocks = [child for child in self.children if isinstance(child, MarkdownBlock)]
            old = blocks[_first_to_change(blocks) :]
            start = old[0].source_range[0] if old else 0
            rest = "\n".join(self._markdown.split("\n")[start:])
            new = self._parse_markdown(_parser_of_the_loop().parse(rest))
            for block in new:
                first, last = block.source_range
                block.source_range = (first + start, last + start)
            with self.app.batch_update():
                await grow_blocks(self, old, new)

    def number_blocks(self) -> None:
        """Give every code block its number."""
        for number, block in enumerate(self.code_blocks, 1):
            block.set_number(number)

    def unhandled_token(self, token: Token) -> MarkdownBlock | None:
        """Show as text what has no widget of its own, rather than drop it."""
        if token.type == _INNER_RULE:
            return MarkdownHorizontalRule(self, token)
        if not token.content:
            return None
        block = MarkdownBlock(self, token)
        block.set_content(Content(token.content))
        return block
