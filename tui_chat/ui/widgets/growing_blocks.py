"""Markdown blocks that take more text in place, for replies as they are written.

Owns how much of the screen a few words may touch. The stock blocks lay the whole screen out for
every word, and build a list anew for each; these repaint what has as many lines as before, and
change only those parts of a list that have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.visual import VisualType
from textual.widget import Widget
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownBlockQuote,
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownFence,
    MarkdownHeader,
    MarkdownHorizontalRule,
    MarkdownList,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownParagraph,
    MarkdownTable,
)

from tui_chat.ui.widgets.laid_out_once import LaidOutOnce

if TYPE_CHECKING:
    _ListBase = MarkdownList
else:
    _ListBase = object  # Textual takes the styles from the first base that is a widget


LAST = "-last"
"""Class of the last block in another, which ends without a margin. With `:last-child`, all blocks
of a reply would be styled anew with every further one."""


def mark_last(blocks: Sequence[MarkdownBlock]) -> None:
    """Mark the last of these blocks that are not mounted yet, and within each of them."""
    for block in blocks:
        mark_last(block._blocks)
    for block in blocks[-1:]:
        block.add_class(LAST, update=False)  # styled when it is mounted


class GrowingParagraph(LaidOutOnce, MarkdownParagraph):
    """A paragraph to which words are added, laid out anew only when its height changes."""

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show another text."""
        super().update(content, layout=False)
        width, height = self.size
        if layout and (not width or self.get_content_height(self.size, self.size, width) != height):
            self.refresh(layout=True)


class GrowingQuote(LaidOutOnce, MarkdownBlockQuote):
    """A quotation to which words and paragraphs are added."""


class _ListRow(LaidOutOnce, Horizontal):
    """The bullet of an item, and beside it its blocks."""


class _ListItem(LaidOutOnce, Vertical):
    """The blocks of an item."""


class _Growing(LaidOutOnce, _ListBase):
    """Laid over a list, to which words and items are added."""

    def compose(self) -> ComposeResult:
        """A row for each item."""
        items = _items(self)
        for row, item in zip(super().compose(), items, strict=True):
            yield _ListRow(_bullet(row._pending_children), _ListItem(*item._blocks))

    async def grow_items(self, newer: MarkdownBlock) -> None:
        """Become a list with more in it."""
        items, old = _items(newer), list(self.children)
        rows = list(newer.compose())
        for row, newer_row, item in zip(old, rows, items, strict=False):
            bullet, symbol = _bullet(row.children), _bullet(newer_row._pending_children).symbol
            if bullet.symbol != symbol:  # they all get wider with the tenth item
                bullet.symbol = symbol
                bullet.refresh(layout=True)
            parts = row.children[-1]
            await grow_blocks(parts, list(parts.children), item._blocks)
        await self.remove_children(old[len(rows) :])
        await self.mount_all(rows[len(old) :])


class GrowingBulletList(_Growing, MarkdownBulletList):
    """A list with bullets."""


class GrowingOrderedList(_Growing, MarkdownOrderedList):
    """A list with numbers."""


def _items(block: MarkdownBlock) -> list[MarkdownListItem]:
    """The items of a list that is not mounted yet."""
    return [item for item in block._blocks if isinstance(item, MarkdownListItem)]


def _bullet(row: Iterable[Widget]) -> MarkdownBullet:
    return next(widget for widget in row if isinstance(widget, MarkdownBullet))


async def grow_blocks(parent: Widget, old: Sequence[Widget], new: Sequence[MarkdownBlock]) -> None:
    """Make the last blocks of a widget what a longer text, or another one, makes of them.

    Args:
        parent: Where the blocks are.
        old: The last blocks of it, which are mounted.
        new: What they are to be.
    """
    same = 0
    for block, newer in zip(old, new, strict=False):
        if not (isinstance(block, MarkdownBlock) and await _become(block, newer)):
            break
        block.source_range = newer.source_range
        block.set_class(newer.has_class(LAST), LAST)
        same += 1
    await parent.remove_children(old[same:])
    await parent.mount_all(new[same:])


async def _become(block: MarkdownBlock, newer: MarkdownBlock) -> bool:
    """Make a mounted block what a newer one is; False if it can't be."""
    if type(block) is not type(newer):
        return False
    if isinstance(block, MarkdownTable) and isinstance(newer, MarkdownTable):
        if not _has_more_rows(block, newer):
            return False
        await block._update_from_block(newer)
    elif isinstance(block, _Growing):
        await block.grow_items(newer)
    elif isinstance(block, GrowingQuote):
        await grow_blocks(block, list(block.children), newer._blocks)
    elif isinstance(block, MarkdownFence) and isinstance(newer, MarkdownFence):
        if (block.code, block.lexer) != (newer.code, newer.lexer):
            await block._update_from_block(newer)
    elif isinstance(block, MarkdownParagraph):
        if not block._content.is_same(newer._content):
            await block._update_from_block(newer)
    elif isinstance(block, MarkdownHeader):
        if not block._content.is_same(newer._content):
            block.set_content(newer._content)
    elif isinstance(block, MarkdownHorizontalRule):
        pass  # they are all alike
    else:
        return False
    block._copy_context(newer)
    return True


def _has_more_rows(table: MarkdownTable, newer: MarkdownTable) -> bool:
    """Whether a table has the rows of another one before its last, and that or more rows."""
    headers, rows = newer._get_headers_and_rows()
    old = table._rows
    before = [*table._headers, *(cell for row in old[:-1] for cell in row)]
    after = [*headers, *(cell for row in rows[: len(old) - 1] for cell in row)]
    return bool(old) and len(rows) >= len(old) and _are_same(before, after)


def _are_same(before: Sequence[Content], after: Sequence[Content]) -> bool:
    return len(before) == len(after) and all(
        a.is_same(b) for a, b in zip(before, after, strict=True)
    )
