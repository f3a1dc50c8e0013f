"""What messages look like now: their width, the styles of the theme, what was done with each.

`MessageList` says it, `ShownMessage` and `drawing` obey. Nothing of Markdown is imported here: an
empty chat does without.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from textual.style import Style
from textual.widget import Widget

from tui_chat.chat.conversation import Message
from tui_chat.ui.textual_fixes.terminal_colours import shows_terminal_colours
from tui_chat.ui.transcript.forget_line import ForgetLine

STYLES = (
    "text", "muted", "heading", "title", "code", "code-number", "inline-code", "link", "rule",
    "table-header", "quote", "facts", "side", "failed", "note-head", "bar-user", "bar-note",
    "bar-selected", "forget-line", "forget-line-pushed",
)  # fmt: skip
"""What has a style of its own; `messages.tcss` says what it looks like."""
CHOSEN = {"code": "code-chosen", "code-number": "code-number-chosen"}
"""The styles of a code block that is chosen."""
DIMMED = (
    "text", "muted", "heading", "title", "code", "inline-code", "link", "table-header", "bar-user",
)  # fmt: skip
"""The styles that change with what is not sent: those of the text itself, and the user's bar."""
COMPONENTS = frozenset(
    f"messages--{name}"
    for name in (*STYLES, *CHOSEN.values(), "selected", "forgotten", "excluded", "match")
)
"""The component classes of a widget that shows messages."""
LEAST_TEXT = 8
"""Cells that are left to the text, however narrow the window is."""


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """The styles of one theme."""

    named: Mapping[str, Style]
    """By the names of `StyleName`."""
    parse: Callable[[str], Style]
    """Reads a style of the theme, such as `$text-muted italic`."""
    uses_terminal_colours: bool = False
    """Whether the theme leaves colours to the terminal."""
    is_dim: bool = False
    """Whether all of a text has one colour, since it is not sent."""

    def get(self, style: str | Style) -> Style:
        """A style by its name; others as the theme reads them."""
        if isinstance(style, Style):
            return style
        named = self.named.get(style)
        return self.parse(style) if named is None else named


class Palettes:
    """The palettes of a widget for the states of a message, mixed once for a theme.

    Args:
        widget: Has a component style `messages--NAME` for each name of `STYLES` and of the states.
    """

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._mixed: dict[tuple[str, ...], Palette] = {}

    def clear(self) -> None:
        """Mix them anew, for another theme."""
        self._mixed.clear()

    def get(self, *states: str) -> Palette:
        """The styles for some states: `selected`, `forgotten`, `excluded`, `chosen`."""
        palette = self._mixed.get(states)
        if palette is None:
            palette = self._mixed[states] = self._mix(states)
        return palette

    def _mix(self, states: tuple[str, ...]) -> Palette:
        widget = self._widget

        def mixed(*names: str) -> Style:
            return widget.get_visual_style(*(f"messages--{name}" for name in names))

        before = [name for name in states if name == "selected"]
        after = [name for name in states if name in ("forgotten", "excluded")]
        chosen = CHOSEN if "chosen" in states else {}
        named = {
            name: mixed(*before, "text", chosen.get(name, name), *(after if name in DIMMED else ()))
            for name in STYLES
        }
        named["page"] = widget.visual_style
        named["ground"] = mixed(*before, "text")
        named["match"] = widget.get_visual_style("messages--match", partial=True)
        named["current-match"] = Style(bold=True, reverse=True)
        named["selection"] = widget.screen.get_visual_style("screen--selection", partial=True)
        variables = widget.app.theme_variables
        return Palette(
            named,
            lambda style: Style.parse(style, variables),
            uses_terminal_colours=shows_terminal_colours(widget.app),
            is_dim=bool(after),
        )


@dataclass(frozen=True, slots=True)
class Look:
    """How messages are laid out now."""

    width: int
    """Cells of a message, with its bar and its margins."""
    palette: Callable[..., Palette]
    """The styles for a state: `selected`, `forgotten`, `excluded`, `chosen`, any of them."""
    is_framed: bool = True
    """Whether anything stands beside and below the text; a candidate is its text alone."""
    is_brief: bool = False
    """Whether the figures are the most important ones only."""
    is_narrow: bool = False
    """Whether there is no room for them at all."""


@dataclass(frozen=True, slots=True)
class Showing:
    """What the reader has done with a message, or what has happened to it."""

    is_selected: bool = False
    is_forgotten: bool = False
    is_excluded: bool = False
    code: int = 0
    """Number of the code block that is chosen; 0 for none."""
    pattern: re.Pattern[str] | None = None
    """What is looked for."""
    found: tuple[int, int] | None = None
    """The block that the reader's match is in, and which match of that block it is."""
    forget_line: ForgetLine | None = None
    """The line below the message, above which nothing is sent."""

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states that colour it."""
        names = {
            "selected": self.is_selected,
            "forgotten": self.is_forgotten,
            "excluded": self.is_excluded,
        }
        return tuple(name for name, holds in names.items() if holds)


NOTHING_DONE = Showing()
NO_SPAN = (0, 0, 0, 0)
"""First block and character of the selected text, last block and the character after the last."""


def is_reply(message: Message) -> bool:
    """Whether the model wrote a message, be it a reply or a note; what it writes is Markdown."""
    return message.role == "assistant" or message.is_note


def estimated_height(message: Message, width: int) -> int:
    """About how many rows a message takes that nobody has looked at yet."""
    text = message.text
    foot = 2 if is_reply(message) else 1
    return foot + 1 + text.count("\n") + len(text) // max(LEAST_TEXT, width)
