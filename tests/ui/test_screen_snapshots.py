"""How the sheets look, at 100 by 30, in a dark and a light theme."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from tests.ui.pictures import Picture
from tests.ui.piece_app import until
from tests.ui.stage import NOW, SavedChats, Stage, loaded, log_file, session_for_tests, summaries
from tui_chat.engine.contract.scripted import GIB, Script
from tui_chat.session import ChatSession
from tui_chat.ui.screens.dialogs import ConfirmScreen, InputScreen, LinkScreen, MessageMenu
from tui_chat.ui.screens.help import HelpScreen
from tui_chat.ui.screens.inspector import InspectorScreen
from tui_chat.ui.screens.log import LogScreen
from tui_chat.ui.screens.models import ModelScreen
from tui_chat.ui.screens.precision import PrecisionScreen
from tui_chat.ui.screens.saved_chats import TranscriptsScreen
from tui_chat.ui.screens.themes import ThemeScreen
from tui_chat.ui.widgets.line_view import LineView

_FACTS = [("state", "stopped by you"), ("model", "guide · bf16"), ("tokens", "41 at 38 a second")]
_ACTIONS = ["copy", "code_block", "edit", "retry_message", "continue", "delete"]

SCREENS: dict[str, tuple[str, str, Callable[[ChatSession], Screen[Any]]]] = {
    "models": ("night", "A script.", ModelScreen),
    "precision": ("paper", "fits, 2.1 GiB left", PrecisionScreen),
    "help": ("paper", "This is where you type.", lambda session: HelpScreen("prompt")),
    "themes": ("paper", "› paper", lambda session: ThemeScreen()),
    "inspector": ("night", "<|prompter|>", InspectorScreen),
    "confirm": ("night", "Undo brings", lambda session: ConfirmScreen(
        "Delete this message?", "Delete", "Keep it", "And 3 below it. Undo brings them back.")),
    "input": ("paper", "Ctrl+J", lambda session: InputScreen(
        "System message", "You are kind.\nAnd short.", "Ctrl+J makes a new line.",
        is_multiline=True)),
    "link": ("night", "imitate", lambda session: LinkScreen("https://ex\u0430mple.com/login")),
    "menu": ("paper", "stopped", lambda session: MessageMenu(_FACTS, _ACTIONS, "Reply")),
}  # fmt: skip


def steady(app: Stage) -> None:
    """Keep the cursor of every field from blinking, and have the page behind drawn again.

    Looking at single lines, as `shown` does, draws a modal screen without what is behind it.
    """
    app.screen.refresh()
    for field in app.screen.query("Input, TextArea"):
        field.cursor_blink = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SCREENS)
def test_sheet(name: str, picture: Picture) -> None:
    theme, text, make = SCREENS[name]
    session = session_for_tests(Script(models=("oasst-12b", "guide"), free=int(15.2 * GIB)))
    app = Stage(theme, session)

    async def open_sheet(pilot: Pilot[None]) -> None:
        if name == "precision":
            session.switch_model("oasst-12b", "4bit")
            await until(pilot, lambda: session.state == "ready")
        else:
            await loaded(pilot, session)
        if name == "inspector":
            session.send("How do I make the answers less random?")
            await until(pilot, lambda: not session.is_busy)
        await app.show(make(session), pilot)
        await until(pilot, lambda: text in app.shown() and "Esc " in app.shown())
        steady(app)
        session.close()

    assert picture(app, (100, 30), open_sheet)


@pytest.mark.parametrize(("theme", "size"), [("night", (100, 30)), ("paper", (130, 36))])
def test_saved_chats(theme: str, size: tuple[int, int], picture: Picture,
                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("tui_chat.ui.screens.saved_chats.chat_date", lambda moment, now: "12 Mar")
    chats = SavedChats(summaries(40))
    app = Stage(theme, chats)

    async def open_sheet(pilot: Pilot[None]) -> None:
        await app.show(TranscriptsScreen(chats, clock=lambda: NOW), pilot)
        await until(pilot, lambda: "Question number 3" in app.shown())
        await pilot.press("down")
        if size[0] > 110:
            await until(pilot, lambda: "Please be short." in app.shown())
        await until(pilot, lambda: "› Question number 1" in app.shown())
        await until(pilot, lambda: "Esc Close" in app.shown())
        steady(app)

    assert picture(app, size, open_sheet)


def test_log(tmp_path: Path, picture: Picture) -> None:
    path = log_file(tmp_path / "chat.log", 50)
    app = Stage("night")

    async def open_sheet(pilot: Pilot[None]) -> None:
        screen = LogScreen(path)
        await app.show(screen, pilot)
        await until(pilot, lambda: "ERROR engine" in app.shown())
        view = screen.query_one(LineView)
        await until(pilot, lambda: 0 < view.max_scroll_y == view.scroll_offset.y)
        screen.note = "chat.log"
        await until(pilot, lambda: "Esc Close" in app.shown())
        steady(app)

    assert picture(app, (100, 30), open_sheet)
