"""A message as plain lines, for screens that list or judge messages.

Owns how much of a text is shown there. Refuses Markdown: what is judged is what was written.
"""

from __future__ import annotations

from textual.content import Content

from tui_chat.chat.conversation import Message
from tui_chat.safe_text import safe_text
from tui_chat.ui.widgets.line_view import Layout, wrapped
from tui_chat.ui.widgets.numbers import grouped

ROW_CHARACTERS = 400
"""Of a message in one line; more never fits."""
TEXT_CHARACTERS = 20_000
"""Of a message in a page; laying out more would stall the screen."""


def first_words(message: Message) -> str:
    """The beginning of a message, for one line; how it ended where it has no text."""
    text = message.text[: ROW_CHARACTERS * 4].strip()[:ROW_CHARACTERS]
    if text:
        return text
    return "failed" if message.status == "failed" else "…"


def text_lines(message: Message) -> Layout:
    """The whole text of a message, wrapped; of a very long one the beginning."""
    text = safe_text(message.text[:TEXT_CHARACTERS]).strip() or "…"
    rest = len(message.text) - TEXT_CHARACTERS

    def layout(width: int) -> list[Content]:
        lines: list[Content] = []
        for line in text.split("\n"):
            lines += [Content(piece) for piece in wrapped(line, width)] or [Content("")]
        if rest > 0:
            lines.append(Content.styled(f"… {grouped(rest)} characters more", "$text-muted"))
        return lines

    return layout
