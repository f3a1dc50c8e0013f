"""Themes of the terminal's own colours, also on Textual 8.1, which knows one such theme by name.

Since 8.2 each theme says whether it is one, and generates the variables of one (`Theme.ansi`,
`App.native_ansi_color`). A range in `pyproject.toml` that begins at 8.2 would make this unneeded.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from textual.app import App
from textual.theme import Theme

_EVERY_THEME_SAYS = "ansi" in inspect.signature(Theme).parameters

VARIABLES = frozenset(
    {
        "ansi-background",
        "ansi-foreground",
        "input-selection-foreground",
        "screen-selection-background",
        "screen-selection-foreground",
    }
)
"""What a theme can set since 8.2; without effect before."""


def theme_of(fields: Mapping[str, Any]) -> Theme:
    """The theme that the fields of a theme file describe."""
    if _EVERY_THEME_SAYS:
        return Theme(**fields)
    return Theme(**{key: value for key, value in fields.items() if key != "ansi"})


def is_of_terminal(theme: Theme) -> bool:
    """Whether a theme takes the terminal's own colours, whatever they are."""
    if _EVERY_THEME_SAYS:
        return theme.ansi
    return theme.background == "ansi_default"


def shows_terminal_colours(app: App[Any]) -> bool:
    """Whether colours such as `ansi_blue` reach the terminal by their names at the moment."""
    return app.native_ansi_color if _EVERY_THEME_SAYS else bool(app.ansi_color)


def take_over(app: App[Any]) -> None:
    """Let such a theme have its way; call it whenever the theme has changed."""
    if not _EVERY_THEME_SAYS:
        app.ansi_color = is_of_terminal(app.current_theme)
