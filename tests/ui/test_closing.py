"""Modal screens take one answer, however many keys, clicks and threads give one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual import events
from textual.command import CommandList, CommandPalette
from textual.pilot import Pilot
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

import tui_chat.ui
from tests.ui import chat_app as chats
from tests.ui.piece_app import until
from tests.ui.stage import NOW, SavedChats, Stage, session_for_tests, summaries, type_fast
from tui_chat.ui.commands.palette import ActionCommands, Palette
from tui_chat.ui.screens.closing import ClosesOnce
from tui_chat.ui.screens.dialogs import ConfirmScreen, InputScreen, LinkScreen, MessageMenu
from tui_chat.ui.screens.saved_chats import TranscriptsScreen
from tui_chat.ui.screens.tree import TreeScreen
from tui_chat.ui.widgets.choice_list import ChoiceList

Make = Callable[[], Screen[Any]]


def modal_screens() -> Iterator[type[ModalScreen[Any]]]:
    """Every modal screen that the program defines."""
    for module in pkgutil.walk_packages(tui_chat.ui.__path__, "tui_chat.ui."):
        for value in vars(importlib.import_module(module.name)).values():
            is_modal = isinstance(value, type) and issubclass(value, ModalScreen)
            if is_modal and value.__module__.startswith("tui_chat."):
                yield value


def test_every_modal_screen_takes_one_answer() -> None:
    classes = set(modal_screens())
    assert Palette in classes and len(classes) > 10
    assert all(issubclass(one, ClosesOnce) for one in classes)


def transcripts() -> Screen[Any]:
    return TranscriptsScreen(SavedChats(summaries(5)), clock=lambda: NOW)


def menu() -> Screen[Any]:
    return MessageMenu([("state", "complete")], ["copy", "edit", "delete"], "Reply")


@pytest.mark.parametrize(
    ("make", "keys", "answer"),
    [
        (transcripts, ("enter", "enter"), f"{0:032x}"),
        (transcripts, ("enter", "enter", "enter", "enter"), f"{0:032x}"),
        (transcripts, ("escape", "escape"), None),
        (menu, ("enter", "enter"), "copy"),
        (menu, ("e", "e"), "edit"),
        (menu, ("e", "escape"), "edit"),
        (lambda: ConfirmScreen("Delete it?"), ("y", "n"), True),
        (lambda: ConfirmScreen("Delete it?"), ("enter", "enter"), False),
        (lambda: InputScreen("Rename", "a"), ("b", "enter", "enter"), "ab"),
        (lambda: LinkScreen("https://example.com/"), ("o", "c", "escape"), "open"),
    ],
)
async def test_keys_of_one_read_give_one_answer(
    make: Make, keys: tuple[str, ...], answer: object
) -> None:
    app = Stage()
    async with app.run_test(size=(100, 30)) as pilot:
        screen = make()
        await app.show(screen, pilot)
        await until(pilot, lambda: screen.focused is not None)
        below = app.screen_stack[0]
        type_fast(app, *keys)
        await until(pilot, lambda: app.results and app.screen is below)
        await until(pilot, lambda: not screen.is_attached)
        await chats.passed(pilot)  # the last key, before the app ends
        assert app.results == [answer] and app.screen_stack == [below]


async def test_a_double_click_is_one_answer() -> None:
    app = Stage()
    async with app.run_test(size=(100, 30)) as pilot:
        screen = menu()
        await app.show(screen, pilot)
        await pilot.click(ChoiceList, offset=(4, 0), times=2)
        await until(pilot, lambda: app.results == ["copy"])
        await until(pilot, lambda: not screen.is_attached)
        assert len(app.screen_stack) == 1


async def test_an_answer_to_a_covered_screen_is_dropped() -> None:
    app = Stage()
    async with app.run_test() as pilot:
        lower, upper = InputScreen("Name"), ConfirmScreen("Sure?")
        await app.show(lower, pilot)
        await app.show(upper, pilot)
        await lower.dismiss("late")
        assert app.screen is upper and not app.results
        upper.dismiss(True)
        await until(pilot, lambda: app.screen is lower)
        lower.dismiss("in time")
        await until(pilot, lambda: app.results == [True, "in time"])


async def test_a_second_enter_does_nothing_to_the_message_below() -> None:
    app = chats.chat_app(conversation=chats.talk("One", "Two"))
    async with chats.running(app) as pilot:
        await pilot.press("escape")
        await chats.until(pilot, lambda: app.chat.transcript.has_focus)
        answers: list[str | None] = []
        screen = InputScreen("Rename", "a")
        await app.push_screen(screen, answers.append)
        await chats.until(pilot, lambda: screen.focused is not None)
        for _ in range(3):
            app.post_message(events.Key("enter", None))
        await chats.until(pilot, lambda: answers and not screen.is_attached)
        await chats.passed(pilot)
        assert answers == ["a"] and app.screen is app.chat


# The palette --------------------------------------------------------------------------------------


async def searching(app: Stage, pilot: Pilot[None]) -> Palette:
    palette = Palette(providers=[ActionCommands])
    app.push_screen(palette)
    await until(pilot, lambda: app.screen is palette and palette.query(Input))
    return palette


@pytest.mark.parametrize("typed", ["", "t", "theme", "zzz"])
async def test_the_palette_is_left_at_any_moment(typed: str) -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        for rounds in range(6):
            palette = Palette(providers=[ActionCommands])
            app.push_screen(palette)
            # an Esc of the round before may come only now, and close it at once
            await until(pilot, lambda palette=palette: palette.is_over or palette.query(Input))
            for _ in range(rounds):
                await pilot.pause(0)
            type_fast(app, *typed, "escape", *typed, "escape")
            await until(pilot, lambda palette=palette: not palette.is_attached)
            assert len(app.screen_stack) == 1


async def test_a_key_for_a_screen_without_widgets_does_nothing() -> None:
    app = chats.chat_app(conversation=chats.talk("One", "Two"))
    async with chats.running(app) as pilot:
        screen = TreeScreen(app.session, None)
        app.push_screen(screen)
        assert not screen.is_mounted
        assert not await app.run_action("name", screen)
        await chats.until(pilot, lambda: screen.is_mounted)
        screen.dismiss(None)
        await chats.until(pilot, lambda: not screen.is_attached)
        assert not await app.run_action("name", screen)


async def test_a_page_of_the_palette_before_there_are_entries() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        palette = await searching(app, pilot)
        for key in ("pagedown", "pageup", "pagedown"):
            app.post_message(events.Key(key, None))
        entries = palette.query_one(CommandList)
        await until(pilot, lambda: entries.option_count)
        entries.highlighted = 0
        await pilot.press("pagedown")
        await until(pilot, lambda: entries.highlighted)
        assert app.screen is palette


async def test_the_palette_is_left_before_it_begins() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        for _ in range(3):
            palette = Palette(providers=[ActionCommands])
            app.push_screen(palette)
            palette.dismiss(None)
            await until(pilot, lambda palette=palette: not palette.is_attached)
            assert len(app.screen_stack) == 1


async def test_what_is_typed_into_a_palette_that_closes_is_not_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        palette = await searching(app, pilot)
        field, searches = palette.query_one(Input), []
        await until(pilot, lambda: palette.query_one(CommandList).option_count)
        monkeypatch.setattr(palette, "run_worker", lambda *_, **about: searches.append(about))
        palette.dismiss(None)
        assert palette.post_message(Input.Changed(field, "theme"))
        assert palette.post_message(Input.Submitted(field, "theme"))
        await until(pilot, lambda: not palette.is_attached)
        assert not searches and not app.commands


async def test_enter_twice_runs_an_entry_of_the_palette_once() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        palette = await searching(app, pilot)
        palette.query_one(Input).value = "Preset: nucleus9"
        await until(pilot, lambda: "From Open Assistant" in app.shown())
        type_fast(app, "enter", "enter", "enter")
        await until(pilot, lambda: not palette.is_attached)
        await until(pilot, lambda: app.commands)
        await pilot.pause()
        assert app.commands == [("preset", "nucleus9")]


async def test_the_palette_of_the_program_is_this_one() -> None:
    async with chats.running(chats.chat_app()) as pilot:
        await pilot.press("ctrl+p")
        await chats.until(pilot, lambda: isinstance(pilot.app.screen, CommandPalette))
        assert isinstance(pilot.app.screen, Palette)
