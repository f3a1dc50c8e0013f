"""Plain display of text from outside: the last filter before the terminal, and `plain`.

Every widget's output passes the line filter. The other functions show a computed string as it is,
without parsing markup.
"""

from __future__ import annotations

import re
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.widget import Widget

from tui_chat.safe_text import safe_line, safe_text, without_controls

_BREAKS = re.compile("[\t\n]")


class TerminalGuard(LineFilter):
    """A filter that deletes from every segment what a terminal would obey instead of show.

    Textual counts the deleted code points as zero cells wide, so nothing moves; the two exceptions
    (lone surrogates, soft hyphens) are replaced by one cell. Segments that are meant as terminal
    control contain none of them. Links lose control characters too.

    Use the one instance `TERMINAL_GUARD`: Textual caches rendered lines by filter.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments with safe text and safe link targets."""
        return [segment if _is_harmless(segment) else _guarded(segment) for segment in segments]


TERMINAL_GUARD = TerminalGuard()
"""The filter that `App.get_line_filters` puts before the filters of Textual."""


def _is_harmless(segment: Segment) -> bool:
    text, style, control = segment
    if style is not None and style.link is not None:
        return False
    return bool(control) or (text.isascii() and text.isprintable())


def _guarded(segment: Segment) -> Segment:
    text, style, control = segment
    if not control:
        text = _without_breaks(text.replace("\u00ad", "-"))
    if style is not None and style.link is not None:
        style = _style_with_safe_link(style, style.link)
    return Segment(text, style, control)


def _style_with_safe_link(style: Style, link: str) -> Style:
    safe = _without_breaks(link)
    return style if safe == link else style.update_link(safe or None)


def _without_breaks(text: str) -> str:
    """Apply `without_controls` to the text of one screen row, and delete tabs and line breaks."""
    return _BREAKS.sub("", without_controls(text))


def plain(text: str) -> Content:
    """Return a computed string as content: safe characters, no markup, line breaks kept."""
    return Content(safe_text(text))


def plain_line(text: str, limit: int = 0) -> Content:
    """Return a computed string as one line of content, cut to `limit` characters (0: not cut)."""
    return Content(safe_line(text, limit))


def notify_plain(
    node: App[Any] | Widget,
    message: str,
    *,
    title: str = "",
    severity: SeverityLevel = "information",
    timeout: float | None = None,
) -> None:
    """Show a notification with text from any source. May be called from any thread.

    Args:
        node: The app or one of its widgets.
        message: The text, shown as it is and never as markup.
        title: A title on one line.
        severity: `information`, `warning` or `error`.
        timeout: Seconds until it disappears; None for the app's default.
    """
    node.notify(
        safe_text(message), title=safe_line(title), severity=severity, timeout=timeout, markup=False
    )
