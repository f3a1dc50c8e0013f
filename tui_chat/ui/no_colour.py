"""`NO_COLOR` (https://no-color.org): a line filter that leaves only text attributes.

Textual turns colours into greys instead, which are colours too. The style sheets express under
`:nocolor` what colour alone would express.
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
"""Contrast with the page from which a background is shown as reversed text (WCAG ratio, 1 to
21)."""
_QUIET = (0, 8)
"""Black and bright black, the terminal's own colours for backgrounds that should not stand out."""


class WithoutColour(LineFilter):
    """A filter that removes colours, and reverses text whose background stood out.

    Args:
        page: Returns the background of the theme in use.
    """

    def __init__(self, page: Callable[[], Color]) -> None:
        super().__init__()
        self._page = page

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments with bold, dim, underlined, reversed and similar text only."""
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
    if colour.triplet is None:  # one of the terminal's own colours, whose RGB value is unknown
        return colour.number not in _QUIET
    return contrast(Color.from_rich_color(colour), page) >= STANDS_OUT
