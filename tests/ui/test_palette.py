"""The palette: every action by name, and one dispatch for all of them."""

from __future__ import annotations

from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input

from tests.ui.piece_app import until
from tests.ui.stage import HOSTILE, Stage, session_for_tests
from tui_chat.actions import ACTIONS
from tui_chat.chat.known_names import PRECISION_NAMES
from tui_chat.chat.params import BUILTIN_PRESETS, PARAM_SPECS, Preset
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.contract.scripted import ScriptedBackend
from tui_chat.engine.files.registry import Registry
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.ui.commands.palette import ActionCommands
from tui_chat.ui.screens.dialogs import InputScreen


async def search(app: Stage, pilot: Pilot[None], text: str) -> None:
    app.push_screen(CommandPalette(providers=[ActionCommands]))
    await until(pilot, lambda: isinstance(app.screen, CommandPalette))
    await until(pilot, lambda: app.screen.query(Input))
    app.screen.query_one(Input).value = text


async def test_everything_is_offered() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test() as pilot:
        await pilot.pause()
        names = [entry.name for entry in ActionCommands(app.screen).entries()]
        assert all(action.label in names for action in ACTIONS if action.palette)
        assert all(f"Set {spec.name}…" in names for spec in PARAM_SPECS)
        assert {"Theme: night", "Preset: k50", "Precision: 8bit"} <= set(names)
        assert sum(name.startswith("Precision: ") for name in names) == len(PRECISION_NAMES)
        assert len(set(names)) == len(names)


async def test_an_entry_goes_through_the_dispatch_of_the_app() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        await search(app, pilot, "Preset: nucleus9")
        await until(pilot, lambda: "From Open Assistant" in app.shown())
        await pilot.press("enter")
        await until(pilot, lambda: app.commands == [("preset", "nucleus9")])


async def test_help_and_keys_are_shown_and_searched() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        await search(app, pilot, "exact token ids")
        await until(pilot, lambda: "Inspect prompt  F5" in app.shown())


async def test_a_parameter_asks_for_its_value() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        await search(app, pilot, "Set temperature")
        await until(pilot, lambda: "Set temperature…" in app.shown())
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, InputScreen))
        field = app.screen.query_one(Input)
        field.value = "9"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query("#hint.-problem"))
        field.value = "0.5"
        await pilot.press("enter")
        await until(pilot, lambda: app.commands == [("set", "temperature=0.5")])


async def test_hostile_names_are_text() -> None:
    registry = Registry({}, {**BUILTIN_PRESETS, HOSTILE: Preset(HOSTILE, {}, HOSTILE)})
    session = ChatSession(ScriptedBackend(), registry, SessionSettings(LoadRequest("guide")))
    app = Stage(session=session)
    async with app.run_test(size=(100, 30)) as pilot:
        await search(app, pilot, "click=app")
        await until(pilot, lambda: "[@click=app.quit]x[/]" in app.shown())
        assert not set("\x1b\x07\u202e") & set(app.shown())
