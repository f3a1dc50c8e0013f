"""Drawing of one row of the tree screen: guides, role, first words, rating, model and tokens.

Narrow rows leave out columns; the widths are at the tests in `_figures`.
"""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

from tui_chat.chat.conversation import Message
from tui_chat.safe_text import safe_line
from tui_chat.ui.screens.message_lines import first_words
from tui_chat.ui.screens.tree_rows import TreeRow, guides
from tui_chat.ui.transcript.message_notes import short_model
from tui_chat.ui.widgets.line_view import fitted
from tui_chat.ui.widgets.numbers import grouped

_ROLES = {"user": "you", "assistant": "reply", "system": "system"}


def most_guides(width: int) -> int:
    """Return how many levels of guides a row may show, so that the text keeps most of the line.

    Args:
        width: Width of the row in cells.
    """
    return max(3, width // 6)


def tree_line(row: TreeRow, width: int, hidden: int = 0) -> Content:
    """Return a message of the tree as one line.

    Args:
        row: The message and its place in the tree.
        width: Width of the line in cells.
        hidden: How many of the outermost fork levels are scrolled out at the left.
    """
    message = row.message
    mark = "◆ " if row.is_end else "● " if row.is_active else "  "
    lines = guides(row, hidden, most_guides(width))
    if hidden:
        lines = ("‹ " if row.depth else "  ") + lines
    fold = "▸ " if row.is_folded else "▾ " if row.forks > 1 else "  "
    role = fitted(_ROLES[message.role], 7 if width >= 44 else 6)
    folded = f"  {grouped(row.below)} more" if row.is_folded else ""
    tail = _figures(message, width)
    room = width - sum(map(len, (mark, lines, fold, role, folded)))
    room -= sum(len(text) for text, _ in tail)
    name = f"[{safe_line(message.marks.branch, 40)}] " if message.marks.branch else ""
    name = fitted(name.rstrip(), min(room, cell_len(name)))
    return Content.assemble(
        (mark, "$accent"),
        (lines, "$text-muted"),
        (fold, "$accent"),
        (role, "$role-user" if message.role == "user" else "$role-assistant"),
        (name, "$accent bold"),
        (fitted(first_words(message), room - cell_len(name)), _tone(row)),
        (folded, "$text-muted"),
        *tail,
    ).truncate(width)


def _tone(row: TreeRow) -> str:
    """Return the style of the text: muted for a message that is not on the active path."""
    return "" if row.is_active else "$text-muted"


def _figures(message: Message, width: int) -> list[tuple[str, str]]:
    """Return the columns at the right end: rating, model and tokens, as far as there is room."""
    rating = {1: "+", -1: "-"}.get(message.marks.rating, "")
    colour = "$success" if message.marks.rating > 0 else "$warning"
    figures = [(fitted(rating, 3, "right"), f"{colour} bold")] if width >= 30 else []
    if width >= 84:
        figures.append((f"  {fitted(short_model(message.model), 14)}", "$text-muted"))
    if width >= 60:
        tokens = int(message.stats.get("completion_tokens", 0) or 0) or len(message.token_ids)
        shown = f"{grouped(tokens)} tok" if tokens else ""
        figures.append((fitted(shown, 10, "right"), "$text-muted"))
    return figures
