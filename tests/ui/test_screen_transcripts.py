"""The saved chats: found, opened, renamed, deleted and brought back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.ui.piece_app import until
from tests.ui.stage import HOSTILE, NOW, SavedChats, Stage, summaries, type_fast
from tui_chat.chat.query import Query
from tui_chat.errors import StoreError
from tui_chat.ui.screens.dialogs import InputScreen
from tui_chat.ui.screens.saved_chats import TranscriptsScreen, chat_date


async def opened(pilot: Pilot[None], app: Stage) -> TranscriptsScreen:
    screen = TranscriptsScreen(app.session, clock=lambda: NOW)
    await app.show(screen, pilot)
    await until(pilot, lambda: not screen.has_class("-message"))
    return screen


async def test_enter_opens_the_highlighted_chat() -> None:
    app = Stage(session=SavedChats(summaries(5)))
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app)
        assert "5 chats" in app.shown() and "today" in app.shown()
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: app.results == [f"{2:032x}"])


async def test_typing_filters_and_down_goes_back_to_the_list() -> None:
    app = Stage(session=SavedChats(summaries(200)))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press(*"number 17")
        await until(pilot, lambda: screen.note.startswith("12 of 200"))
        assert screen.query_one(Input).value == "number 17"
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.results == [f"{117:032x}"])


async def test_a_title_may_begin_with_a_command_letter_once_the_filter_is_open() -> None:
    app = Stage(session=SavedChats(summaries(3, lambda n: f"recipe {n}")))
    async with app.run_test() as pilot:
        screen = await opened(pilot, app)
        await pilot.press("slash", *"recipe 1")
        await until(pilot, lambda: len(screen.choices.rows) == 1)
        assert app.screen is screen


async def test_keys_typed_at_once_are_all_taken_in_their_order() -> None:
    titles = ("arzt", "art", "zebra")
    app = Stage(session=SavedChats(summaries(3, lambda n: titles[n])))
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app)
        type_fast(app, *"art", "enter")
        await until(pilot, lambda: app.results == [f"{1:032x}"])
        await opened(pilot, app)
        type_fast(app, "down", "down", "enter")
        await until(pilot, lambda: app.results[1:] == [f"{2:032x}"])


async def test_delete_and_undo_bring_back_the_same_place() -> None:
    chats = SavedChats(summaries(4))
    app = Stage(session=chats)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        assert "Undo" not in app.shown()
        await pilot.press("down", "delete")
        await until(pilot, lambda: len(screen.choices.rows) == 3)
        await until(pilot, lambda: "z brings it back" in app.shown() and "z Undo" in app.shown())
        await pilot.press("delete", "z", "z")
        await until(pilot, lambda: list(screen.choices.rows) == chats.saved)
        assert chats.done == [
            ("delete", f"{1:032x}"), ("delete", f"{2:032x}"),
            ("undelete", f"{2:032x}"), ("undelete", f"{1:032x}"),
        ]  # fmt: skip


async def test_the_last_chat_can_be_brought_back() -> None:
    app = Stage(session=SavedChats(summaries(1)))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("delete")
        await until(pilot, lambda: "No chat is left" in app.shown())
        await pilot.press("z")
        await until(pilot, lambda: not screen.has_class("-message"))
        assert len(screen.choices.rows) == 1


async def test_rename_keeps_the_text_and_undo_takes_it_back() -> None:
    chats = SavedChats(summaries(2))
    app = Stage(session=chats)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, InputScreen))
        await pilot.press(*" again", "enter")
        await until(pilot, lambda: app.screen is screen and chats.done)
        assert screen.choices.row is not None and screen.choices.row.title.endswith("ure again")
        await pilot.press("z")
        await until(pilot, lambda: len(chats.done) == 2)
        assert chats.done[1] == ("rename", chats.saved[0].id, chats.saved[0].title)


async def test_an_empty_list_says_so() -> None:
    app = Stage(session=SavedChats([]))
    async with app.run_test() as pilot:
        await app.show(TranscriptsScreen(app.session), pilot)
        await until(pilot, lambda: "Nothing is saved in this run" in app.shown())
        await pilot.press("enter", "delete", "r", "x", "escape")
        await until(pilot, lambda: app.results == [None])


async def test_an_unreadable_database_says_what_why_and_what_to_do() -> None:
    error = StoreError("The chats cannot be read", f"Disk {HOSTILE}", "Move the file away")
    app = Stage(session=SavedChats([], error))
    async with app.run_test() as pilot:
        await app.show(TranscriptsScreen(app.session), pilot)
        await until(pilot, lambda: "Move the file away" in app.shown())
        assert "The chats cannot be read" in app.shown() and "\x1b" not in app.shown()


async def test_one_of_five_thousand_chats_is_found() -> None:
    app = Stage(session=SavedChats(summaries(5000)))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("end", "pageup", "home", *"number 4999")
        await until(pilot, lambda: len(screen.choices.rows) == 1)


async def test_a_wide_terminal_shows_how_the_chat_begins() -> None:
    app = Stage(session=SavedChats(summaries(3)))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await until(pilot, lambda: "How do I make the answers" in app.shown())
        assert not set("\x1b\x07\u202e") & set(app.shown())


async def test_the_preview_is_filled_when_the_terminal_gets_wider() -> None:
    app = Stage(session=SavedChats(summaries(3)))
    async with app.run_test(size=(80, 40)) as pilot:
        await opened(pilot, app)
        assert "How do I make the answers" not in app.shown()
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "How do I make the answers" in app.shown())


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_hostile_titles_are_text(size: tuple[int, int]) -> None:
    app = Stage(session=SavedChats(summaries(3, lambda n: HOSTILE)))
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        await pilot.press("delete")
        await until(pilot, lambda: "[@click" in app.shown())
        assert not set("\x1b\x07\u202e\u200b") & set(app.shown())


def test_dates_are_said_as_people_say_them() -> None:
    current = datetime(2025, 3, 14, 12, 0, tzinfo=UTC)
    assert chat_date(current, current).startswith("today ")
    assert chat_date(datetime(2025, 3, 13, 12, tzinfo=UTC), current).startswith("yesterday ")
    assert chat_date(datetime(2025, 1, 2, 12, tzinfo=UTC), current) == "2 Jan"
    assert chat_date(datetime(2023, 1, 2, 12, tzinfo=UTC), current) == "2 Jan 2023"


async def test_archived_chats_are_listed_when_asked_for_and_tags_are_found() -> None:
    boats, rivers, old = summaries(3)
    chats = [replace(boats, tags=("work",)), replace(rivers, tags=("work", "water"))]
    app = Stage(session=SavedChats([*chats, replace(old, archived=True)]))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        assert screen.choices.rows == chats
        assert screen.note == "2 chats"
        assert f"{rivers.title}  #work #water" in str(screen._draw(chats[1], 120))
        await pilot.press("slash", *"#water")
        await until(pilot, lambda: screen.choices.rows == chats[1:])
        await pilot.press(*["backspace"] * 6, *"archived")
        await until(pilot, lambda: [chat.id for chat in screen.choices.rows] == [old.id])


async def test_filters_of_the_search_ask_the_database_and_words_narrow_further() -> None:
    boats, rivers, lakes = (
        replace(chat, tags=("work",), title=title)
        for chat, title in zip(summaries(3), ("Boats", "Rivers", "Lakes"), strict=True)
    )
    old = replace(lakes, archived=True)
    chats = SavedChats([boats, replace(rivers, tags=()), old])
    app = Stage(session=chats)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("slash", *"tag:")
        await until(pilot, lambda: "has no value" in screen.note)
        assert len(screen.choices.rows) == 2, "what is half typed filters nothing out"
        await pilot.press(*"work")
        await until(pilot, lambda: screen.choices.rows == [boats])
        assert screen.note == "1 of 2 chats"
        await pilot.press(*" is:archived")
        await until(pilot, lambda: screen.choices.rows == [old])
        asked = len(chats.asked)
        assert chats.asked[-1] == Query(tags=("work",), archived=True)
        await pilot.press(*" boat")
        await until(pilot, lambda: screen.note == "0 of 2 chats")
        assert len(chats.asked) == asked, "it is asked once"


async def test_enter_waits_for_the_database_and_an_error_of_it_is_shown() -> None:
    chats = SavedChats([replace(chat, tags=("work",)) for chat in summaries(2)])
    app = Stage(session=chats)
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app)
        chats.may_answer.clear()
        type_fast(app, "slash", *"tag:work", "enter")
        await until(pilot, lambda: chats.asked)
        assert app.results == []
        chats.may_answer.set()
        await until(pilot, lambda: app.results == [chats.saved[0].id])
        screen = await opened(pilot, app)
        chats.saved = None  # type: ignore[assignment]  # so that the next answer fails
        await pilot.press("slash", *"rated:up")
        await until(pilot, lambda: "could not be read" in app.shown())
        assert screen.has_class("-message")
