"""Markdown as replies need it: nothing vanishes, nothing is opened, code can be copied.

Owns the parser's settings and the code blocks with their numbers. Refuses raw HTML, which the
stock widget would drop in silence; it is shown as text.
"""

from __future__ import annotations

from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Label, Markdown, Static
from textual.widgets._markdown import MarkdownBlock, MarkdownFence

from tui_chat.ui.code_colours import coloured_code


def _parser() -> MarkdownIt:
    return MarkdownIt("gfm-like", {"html": False})


class CopyMark(Static):
    """The number of a code block with a sign to click."""

    ALLOW_SELECT = False


class CodeBlock(MarkdownFence):
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


class ReplyMarkdown(Markdown):
    """The Markdown of one reply."""

    BLOCKS: ClassVar[dict[str, type[MarkdownBlock]]] = {  # type: ignore[misc]  # a ClassVar in all but name
        **Markdown.BLOCKS,
        "fence": CodeBlock,
        "code_block": CodeBlock,
    }

    def __init__(self, markdown: str = "") -> None:
        super().__init__(markdown, parser_factory=_parser, open_links=False)

    @property
    def code_blocks(self) -> list[CodeBlock]:
        """The code blocks, first to last."""
        return list(self.query(CodeBlock))

    def number_blocks(self) -> None:
        """Give every code block its number."""
        for number, block in enumerate(self.code_blocks, 1):
            block.set_number(number)

    def unhandled_token(self, token: Token) -> MarkdownBlock | None:
        """Show as text what has no widget of its own, rather than drop it."""
        if not token.content:
            return None
        block = MarkdownBlock(self, token)
        block.set_content(Content(token.content))
        return block
