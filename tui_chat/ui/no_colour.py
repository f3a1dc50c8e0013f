"""`NO_COLOR`: what is sent to the terminal when colours are unwanted, which is attributes alone.

Owns the line filter for it (https://no-color.org). Textual turns colours to greys instead, which
are colours too. What colour alone would say is said in the style sheets under `:nocolor`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from tui_chat.ui.themes import contrast

STANDS_OUT = 2.5
"""Contrast with the page from which a background is shown as reversed text."""
_QUIET = (0, 8)
"""Black and bright black, in which a terminal's own theme draws what should not stand out."""


class WithoutColour(LineFilter):
    """Takes the colours away; where the background stood out, the text is reversed.

    Args:
        page: The background of the theme in use.
    """

    def __init__(self, page: Callable[[], Color]) -> None:
        super().__init__()
        self._page = page

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments with bold, dim, underlined and reversed text alone."""
        page = self._page()
        return [
            Segment(text, style if style is None else _attributes(style, page), control)
            for text, style, control in segments
        ]


@lru_cache(4096)
def _attributes(style: Style, page: Color) -> Style:
    if style.reverse or not _stands_out(style.bgcolor, page):
        return style.without_color
    return style.without_color + Style(reverse=True)


def _stands_out(colour: RichColor | None, page: Color) -> bool:
    if colour is None or colour.is_default:
        return False
    if colour.triplet is None:  # one of the terminal's own, wherever it lies
        return colour.number not in _QUIET
    return contrast(Color.from_rich_color(colour), page) >= STANDS_OUT
