"""Themes that use the terminal's own colours, on Textual 8.1 as well as 8.2.

Since 8.2 a theme declares that it is one and generates the matching variables (`Theme.ansi`,
`App.native_ansi_color`); 8.1 knows only one such theme, by its name. This module would be unneeded
if the range in `pyproject.toml` began at 8.2.
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
"""Variables that a theme can set since 8.2; they have no effect before."""


def theme_of(fields: Mapping[str, Any]) -> Theme:
    """Return the theme that the fields of a theme file describe."""
    if _EVERY_THEME_SAYS:
        return Theme(**fields)
    return Theme(**{key: value for key, value in fields.items() if key != "ansi"})


def is_of_terminal(theme: Theme) -> bool:
    """Return whether a theme uses the terminal's own colours."""
    if _EVERY_THEME_SAYS:
        return theme.ansi
    return theme.background == "ansi_default"


def shows_terminal_colours(app: App[Any]) -> bool:
    """Return whether the app now sends colours such as `ansi_blue` to the terminal by name."""
    return app.native_ansi_color if _EVERY_THEME_SAYS else bool(app.ansi_color)


def take_over(app: App[Any]) -> None:
    """Use the terminal's colours if the current theme does. Call it after each change of theme.

    Since 8.2 Textual does this by itself.
    """
    if not _EVERY_THEME_SAYS:
        app.ansi_color = is_of_terminal(app.current_theme)
