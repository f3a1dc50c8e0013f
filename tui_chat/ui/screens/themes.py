"""The theme picker (F9), which previews each theme on the whole app while the user moves.

The app must have registered the themes; this screen reads no theme files. Closing the picker
without a choice restores the previous theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color, ColorParseError
from textual.content import Content
from textual.style import Style
from textual.theme import BUILTIN_THEMES, Theme
from textual.types import CSSPathType

from tui_chat.ui.screens.sheet import ListSheet
from tui_chat.ui.textual_fixes.terminal_colours import is_of_terminal
from tui_chat.ui.themes import contrast
from tui_chat.ui.widgets.choice_list import ChoiceList
from tui_chat.ui.widgets.line_view import fitted

HIGH_CONTRAST = 18.0
"""Least contrast ratio of text and background for a theme of the kind `high contrast`.

Contrast ratios range from 1 to 21.
"""


class ThemeScreen(ListSheet[str]):
    """A list of themes to pick from; the result is the name of the theme.

    Args:
        names: The themes to list; all themes from theme files if None.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "themes.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Keep", id="themes_keep",
                tooltip="Keeps the theme that is shown."),
        Binding("escape", "close", "Back", id="sheet_close",
                tooltip="Brings the theme back that you had."),
    ]  # fmt: skip

    def __init__(self, names: Sequence[str] | None = None) -> None:
        super().__init__("Theme")
        self._names = names
        self._before = ""

    def compose_body(self) -> ComposeResult:
        """Compose the list of themes."""
        yield ChoiceList[Theme](self._draw, id="choices")

    def on_mount(self) -> None:
        """Show the themes, with the current one highlighted."""
        super().on_mount()
        self._before = self.app.theme
        themes = sorted(self._themes(), key=lambda theme: (kind_of(theme), theme.name))
        self.note = f"{len(themes)} themes"
        here = [theme.name for theme in themes]
        self.choices.show_rows(themes, here.index(self._before) if self._before in here else 0)
        self.choices.focus()

    def _themes(self) -> list[Theme]:
        """Return the themes to list: by default all but those that Textual itself provides."""
        known = self.app.available_themes
        if self._names is not None:
            return [known[name] for name in self._names if name in known]
        own = [theme for theme in known.values() if theme is not BUILTIN_THEMES.get(theme.name)]
        return own or list(known.values())

    def _draw(self, theme: Theme, width: int) -> Content:
        swatch = Content("") if self.app.no_color else _swatch(theme)
        if width < 28:
            return Content.assemble(fitted(theme.name, width - 9), " ", swatch)
        kind = kind_of(theme)
        kind = kind if width >= 40 else kind.removeprefix("high ")
        kind_width = 14 if width >= 40 else 9
        name_width = max(4, width - kind_width - 2 - swatch.cell_length)
        return Content.assemble(
            fitted(theme.name, name_width), " ",
            (fitted(kind, kind_width), "$text-muted"), " ", swatch,
        )  # fmt: skip

    @on(ChoiceList.Moved)
    def _moved(self, event: ChoiceList.Moved) -> None:
        """Switch the app to the highlighted theme."""
        event.stop()
        theme: Theme | None = self.choices.row
        if theme is not None:
            self.app.theme = theme.name

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        event.stop()
        theme: Theme | None = self.choices.row
        self.dismiss(None if theme is None else theme.name)

    def action_close(self) -> None:
        """Restore the previous theme and close."""
        self.app.theme = self._before
        self.dismiss(None)


def kind_of(theme: Theme) -> str:
    """Return `dark`, `light` or `high contrast`, or `terminal` for a theme of ANSI colours."""
    if is_of_terminal(theme):
        return "terminal"
    generated = theme.to_color_system().generate()
    page, text = Color.parse(generated["background"]), Color.parse(generated["foreground"])
    if not page.ansi and not text.ansi and contrast(page, text) >= HIGH_CONTRAST:
        return "high contrast"
    return "dark" if theme.dark else "light"


def _swatch(theme: Theme) -> Content:
    """Return two cells each of a theme's background, foreground, primary and warning colours."""
    parts: list[tuple[str, Style]] = []
    for name in (theme.background, theme.foreground, theme.primary, theme.warning):
        try:
            parts.append(("██", Style(foreground=Color.parse(name or "transparent"))))
        except ColorParseError:
            continue
    return Content.assemble(*parts)
