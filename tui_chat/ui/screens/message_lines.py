"""Messages as plain text lines, for the screens that list, rank or label messages.

Markdown is not rendered, so that people judge exactly what the model wrote.
"""

from __future__ import annotations

from textual.content import Content

from tui_chat.chat.conversation import Message
from tui_chat.safe_text import safe_text
from tui_chat.ui.widgets.line_view import Layout, wrapped
from tui_chat.ui.widgets.numbers import grouped

ROW_CHARACTERS = 400
"""Most characters of a message that `first_words` returns; a row never shows more."""
TEXT_CHARACTERS = 20_000
"""Most characters of a message that `text_lines` lays out; more would stall the screen."""


def first_words(message: Message) -> str:
    """Return the beginning of a message for one row; `failed` or `…` if it has no text."""
    text = message.text[: ROW_CHARACTERS * 4].strip()[:ROW_CHARACTERS]
    if text:
        return text
    return "failed" if message.status == "failed" else "…"


def text_lines(message: Message) -> Layout:
    """Return a layout of the message's text, wrapped and cut after `TEXT_CHARACTERS`."""
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
