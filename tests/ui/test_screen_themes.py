"""The theme picker: seen while choosing, taken back on Esc."""

from __future__ import annotations

import pytest
from textual.theme import BUILTIN_THEMES

from tests.ui.piece_app import until
from tests.ui.stage import Stage
from tui_chat.ui.screens.themes import ThemeScreen, kind_of


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_moving_shows_a_theme_and_escape_takes_it_back(size: tuple[int, int]) -> None:
    app = Stage("night")
    async with app.run_test(size=size) as pilot:
        await app.show(ThemeScreen(), pilot)
        await until(pilot, lambda: "› night" in app.shown())
        await pilot.press("end")
        await until(pilot, lambda: app.theme != "night")
        await pilot.press("escape")
        await until(pilot, lambda: app.results == [None])
        assert app.theme == "night"


async def test_enter_keeps_the_theme() -> None:
    app = Stage("night")
    async with app.run_test(size=(100, 30)) as pilot:
        screen = ThemeScreen()
        await app.show(screen, pilot)
        first = screen.choices.rows[0].name
        await pilot.press("home", "enter")
        await until(pilot, lambda: app.results)
        assert app.results == [app.theme] == [first]


async def test_only_the_themes_of_files_are_listed_with_their_kind() -> None:
    app = Stage("paper")
    async with app.run_test(size=(100, 30)) as pilot:
        screen = ThemeScreen()
        await app.show(screen, pilot)
        names = {theme.name for theme in screen.choices.rows}
        assert {"night", "paper", "contrast-dark"} <= names and "monokai" not in names
        await until(pilot, lambda: "high contrast" in app.shown())
        known = app.available_themes
        assert [kind_of(known[n]) for n in ("night", "paper", "contrast-light", "terminal")] == [
            "dark", "light", "high contrast", "terminal",
        ]  # fmt: skip


async def test_named_themes_may_be_textuals_own() -> None:
    app = Stage()
    async with app.run_test() as pilot:
        screen = ThemeScreen(["monokai", "no-such-theme"])
        await app.show(screen, pilot)
        assert list(screen.choices.rows) == [BUILTIN_THEMES["monokai"]]
