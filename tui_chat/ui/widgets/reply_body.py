"""The text of a reply as it grows: streamed Markdown, or plain text where that would be too slow.

Owns that only what is new is laid out, and the exactness of what is shown in the end.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui_chat.safe_text import safe_text
from tui_chat.ui.message_notes import needs_plain
from tui_chat.ui.widgets.laid_out_once import LaidOutOnce

if TYPE_CHECKING:
    from tui_chat.ui.widgets.reply_markdown import CodeBlock, ReplyMarkdown


log = logging.getLogger(__name__)

BROKEN = "this reply can't be laid out (Ctrl+L says why), shown as plain text"


class ReplyBody(LaidOutOnce, Vertical):
    """Shows a text and, as it grows, only what is new of it.

    One task at a time brings what is shown up to what is wanted; how often that changes is up to
    the event feed.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(classes="reply-body")
        self._wanted = safe_text(text)
        self._shown = ""
        self._markdown: ReplyMarkdown | None = None
        self._plain: Static | None = None
        self._layout_task: asyncio.Task[None] | None = None
        self._is_broken = False

    async def on_mount(self) -> None:
        """Show the first text at once."""
        await self._lay_out(self._wanted)

    @property
    def text(self) -> str:
        """The text that is shown, as far as it has been laid out."""
        return self._shown

    @property
    def is_plain(self) -> bool:
        """Whether the text is too large for Markdown."""
        return self._plain is not None

    @property
    def code_blocks(self) -> list[CodeBlock]:
        """The code blocks, first to last."""
        return self._markdown.code_blocks if self._markdown is not None else []

    @property
    def text_parts(self) -> list[Static]:
        """The widgets that the text is in, first to last."""
        if self._plain is not None:
            return [self._plain]
        if self._markdown is None:
            return []
        return [part for part in self.query(Static) if not part.has_class("code-number")]

    def see(self, top: int, bottom: int) -> None:
        """Leave out of the layout what is far from these lines of the text."""
        if self._markdown is not None:
            self._markdown.see(top, bottom)

    def show(self, text: str) -> None:
        """Show a text; where it continues the one that is shown, only the rest is laid out."""
        self._wanted = safe_text(text)
        is_running = self._layout_task is not None and not self._layout_task.done()
        if self.is_mounted and not is_running and self._wanted != self._shown:
            self._layout_task = asyncio.create_task(self._pump())

    async def become(self, text: str) -> None:
        """Show another text; it is laid out when this returns."""
        self._is_broken = False
        self.show(text)
        if self._layout_task is not None:
            await asyncio.wait([self._layout_task])

    def on_unmount(self) -> None:
        """Stop laying out."""
        if self._layout_task is not None:
            self._layout_task.cancel()

    async def _pump(self) -> None:
        while self._wanted != self._shown and self.is_attached:
            await self._lay_out(self._wanted)

    async def _lay_out(self, text: str) -> None:
        """Show a text as Markdown; whatever goes wrong with that, show it."""
        try:
            await self._catch_up(text)
        except Exception:
            if not self.is_attached:
                return  # it has been taken away meanwhile
            log.exception("a reply could not be laid out as Markdown")
            self._is_broken = True
            await self._catch_up(text)

    async def _catch_up(self, text: str) -> None:
        note = BROKEN if self._is_broken else needs_plain(text)
        if note:
            await self._show_plain(text, note)
        elif self._markdown is None:
            await self._show_markdown(text)
        elif text.startswith(self._shown):
            await self._markdown.append(text[len(self._shown) :])
            if self._markdown.source != text:
                await self._markdown.update(text)
        else:
            await self._markdown.update(text)
        self._shown = text

    async def _show_markdown(self, text: str) -> None:
        if self._plain is not None:
            self._plain = None
            await self.remove_children()
        if text:
            from tui_chat.ui.widgets.reply_markdown import ReplyMarkdown

            self._markdown = ReplyMarkdown(text)
            await self.mount(self._markdown)

    async def _show_plain(self, text: str, note: str) -> None:
        if self._plain is None:
            self._markdown = None
            await self.remove_children()
            self._plain = Static("", markup=False, classes="reply-plain")
            await self.mount(Static(Content(note), classes="reply-note"), self._plain)
        self._plain.update(Content(text))
