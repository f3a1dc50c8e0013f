"""How messages look: their width, the styles of the theme, and the state of each message.

`MessageList` fills these values in; `ShownMessage` and `drawing` read them. Nothing of Markdown is
imported here, so an empty chat starts without it.
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
"""Names of the component styles `messages--NAME`, whose looks `messages.tcss` defines."""
CHOSEN = {"code": "code-chosen", "code-number": "code-number-chosen"}
"""Styles that replace the usual ones in the chosen code block."""
DIMMED = (
    "text", "muted", "heading", "title", "code", "inline-code", "link", "table-header", "bar-user",
)  # fmt: skip
"""Styles that change in a message that is not sent: those of its text, and the user's bar."""
COMPONENTS = frozenset(
    f"messages--{name}"
    for name in (*STYLES, *CHOSEN.values(), "selected", "forgotten", "excluded", "match")
)
"""The component classes of a widget that shows messages."""
LEAST_TEXT = 8
"""Least width of the text in cells, however narrow the window is."""


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """The styles of one theme for one combination of message states."""

    named: Mapping[str, Style]
    """The styles by name: those of `STYLES`, and the ones that `Palettes` adds to them."""
    parse: Callable[[str], Style]
    """Parses a style that refers to the theme, such as `$text-muted italic`."""
    uses_terminal_colours: bool = False
    """Whether the theme leaves its colours to the terminal."""
    is_dim: bool = False
    """Whether the message is not sent, so that its code loses its syntax colours."""

    def get(self, style: str | Style) -> Style:
        """Return a style by its name; any other string is parsed with the theme's variables."""
        if isinstance(style, Style):
            return style
        named = self.named.get(style)
        return self.parse(style) if named is None else named


class Palettes:
    """The palettes of a widget for the states of a message, mixed once per theme.

    Args:
        widget: Has a component style `messages--NAME` for each name of `STYLES` and of the states.
    """

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._mixed: dict[tuple[str, ...], Palette] = {}

    def clear(self) -> None:
        """Drop the palettes, so that they are mixed again for another theme."""
        self._mixed.clear()

    def get(self, *states: str) -> Palette:
        """Return the palette for any of the states selected, forgotten, excluded and chosen.

        Args:
            states: Their names, in this order.
        """
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
    """The layout that all messages of a list share."""

    width: int
    """Width of a message in cells, bar and margins included."""
    palette: Callable[..., Palette]
    """Returns the palette for the names of any of those states; see `Palettes.get`."""
    is_framed: bool = True
    """Whether to draw the bar and the labels around the text; a best-of candidate has neither."""
    is_brief: bool = False
    """Whether the figures under a reply are its size and time only."""
    is_narrow: bool = False
    """Whether to leave out the labels beside the text too, and one margin."""


@dataclass(frozen=True, slots=True)
class Showing:
    """The state of one message that changes how it is drawn."""

    is_selected: bool = False
    is_forgotten: bool = False
    is_excluded: bool = False
    code: int = 0
    """Number of the chosen code block; 0 for none."""
    pattern: re.Pattern[str] | None = None
    """The search pattern whose matches are marked."""
    found: tuple[int, int] | None = None
    """The current match: index of its block, and its number among that block's matches, from 0."""
    forget_line: ForgetLine | None = None
    """The forget line below this message; None for none."""

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states that change the message's palette."""
        names = {
            "selected": self.is_selected,
            "forgotten": self.is_forgotten,
            "excluded": self.is_excluded,
        }
        return tuple(name for name, holds in names.items() if holds)


NOTHING_DONE = Showing()
NO_SPAN = (0, 0, 0, 0)
"""An empty selection. A span is the first block and character, the last block, and the character
after the last one."""


def is_reply(message: Message) -> bool:
    """Return whether the model wrote a message, as a reply or a note. Its text is Markdown then."""
    return message.role == "assistant" or message.is_note


def estimated_height(message: Message, width: int) -> int:
    """Estimate the rows of a message that has not been laid out yet.

    Args:
        message: Any message.
        width: Width of a message in cells.
    """
    text = message.text
    foot = 2 if is_reply(message) else 1
    return foot + 1 + text.count("\n") + len(text) // max(LEAST_TEXT, width)
