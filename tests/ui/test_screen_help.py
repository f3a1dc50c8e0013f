"""Help: made from the declarations, in the order of what has the focus, with the user's keys."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from tests.ui.piece_app import until
from tests.ui.stage import Stage
from tui_chat.actions import ACTIONS, SLASH_COMMANDS
from tui_chat.chat.params import PARAM_SPECS
from tui_chat.ui.screens.help import (
    HelpScreen,
    help_lines,
    help_sections,
    matching,
    scope_of,
)
from tui_chat.ui.widgets.line_view import LineView


def everything() -> str:
    sections = help_sections("prompt", lambda action: action.key_text)
    return "\n".join(line.plain for line in help_lines("", sections, 200))


def test_every_action_with_a_key_every_command_and_every_parameter_is_there() -> None:
    text = everything()
    assert all(action.help in text for action in ACTIONS if action.keys)
    assert all(command in text for command in SLASH_COMMANDS)
    assert all(spec.name in text and spec.range_text[1:] in text for spec in PARAM_SPECS)


def test_the_place_that_has_the_focus_comes_first() -> None:
    assert help_sections("transcript", lambda a: a.key_text)[0].title == "The transcript"
    assert scope_of("parameters") == scope_of("ParameterRow") == "parameters"
    assert scope_of("MessageView") == "transcript" and scope_of("PromptBar") == "prompt"
    assert scope_of("whatever") == "app"


@pytest.mark.parametrize("width", [38, 59, 60, 76, 120])
def test_no_line_is_wider_than_asked(width: int) -> None:
    sections = help_sections("app", lambda a: a.key_text)
    assert all(line.cell_length <= width for line in help_lines("word " * 40, sections, width))


def test_the_filter_keeps_rows_that_hold_every_word() -> None:
    sections = help_sections("app", lambda a: a.key_text)
    rows = [row for section in matching(sections, "palette command") for row in section.rows]
    assert rows and all("palette" in " ".join(row).lower() for row in rows)
    assert matching(sections, "no such thing at all") == []


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_it_scrolls_filters_and_closes(size: tuple[int, int]) -> None:
    app = Stage()
    async with app.run_test(size=size) as pilot:
        screen = HelpScreen("Prompt")
        await app.show(screen, pilot)
        await until(pilot, lambda: "This is where you type." in app.shown())
        await pilot.press("pagedown")
        await until(pilot, lambda: screen.query_one(LineView).scroll_offset.y > 0)
        screen.query_one(Input).value = "temperature"
        await until(pilot, lambda: "This is where you type." not in app.shown())
        await pilot.press("escape")
        await until(pilot, lambda: app.results == [None])


async def test_the_keys_are_those_of_the_user() -> None:
    app = Stage()
    app.keymap = {"regenerate": "ctrl+y,question_mark"}
    async with app.run_test(size=(100, 30)) as pilot:
        screen = HelpScreen("app")
        await app.show(screen, pilot)
        screen.query_one(Input).value = "last reply again"
        await until(pilot, lambda: "Ctrl+Y / ?" in app.shown())
        assert "Ctrl+R" not in app.shown()
