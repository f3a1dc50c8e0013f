"""A crash closes the screen it happened in; the chat goes on with its draft."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from tests.ui.chat_app import chat_app, chat_of, idle, running, say, talk, until
from tui_chat.engine.contract.scripted import Script
from tui_chat.logs import LogFile
from tui_chat.ui.app import TuiChat
from tui_chat.ui.chat.session_view import SessionView
from tui_chat.ui.screens import sheet
from tui_chat.ui.screens.help import HelpScreen
from tui_chat.ui.screens.sheet import CLOSE, Sheet
from tui_chat.ui.textual_fixes.crashes import MOST, ScreensBrokeOff
from tui_chat.ui.widgets.key_line import KeyLine

SECRET = "my secret words"


class Fault(Exception):
    """A mistake of ours."""


def fail(*_: object, **__: object) -> Any:
    typed = SECRET
    raise Fault(f"{len(typed)} characters")


class Faulty(Sheet[str]):
    """A sheet that fails in one way or another."""

    CSS_PATH = str(Path(sheet.__file__).with_name("sheet.tcss"))
    BINDINGS = [("x", "fail", "Fail"), CLOSE]

    def __init__(self, where: str) -> None:
        super().__init__("Faulty")
        self.where = where

    def compose_body(self) -> ComposeResult:
        if self.where == "compose":
            fail()
        yield Static("body", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        if self.where == "mount":
            fail()
        elif self.where == "timer":
            self.set_timer(0.01, fail)
        elif self.where == "interval":
            self.set_interval(0.001, lambda: fail(self))
        elif self.where == "refresh":
            self.call_after_refresh(lambda: fail(self))
        elif self.where == "next":
            self.call_next(fail)
        elif self.where == "worker":
            self.run_worker(self._work())
        elif self.where == "child":
            self.query_one(Static).call_later(fail)

    async def _work(self) -> None:
        fail()

    def action_fail(self) -> None:
        fail()

    def on_key(self, event: events.Key) -> None:
        if self.where == "key":
            fail()


def toasts(app: TuiChat) -> list[str]:
    return [toast.message for toast in app.toasts.present]


@pytest.mark.parametrize(
    "where",
    [
        "compose",
        "mount",
        "timer",
        "interval",
        "refresh",
        "next",
        "worker",
        "child",
        "key",
        "action",
    ],
)
async def test_a_screen_that_crashes_closes(where: str, crashes: list[logging.LogRecord]) -> None:
    app = chat_app(Script(), talk("One", "Two"))
    async with running(app) as pilot:
        app.chat.bar.prompt.insert("a draft")
        answers: list[str | None] = []
        screen = Faulty(where)
        app.push_screen(screen, answers.append)
        if where in ("key", "action"):
            await until(pilot, lambda: app.screen is screen and screen.is_mounted)
            await pilot.press("x")
        await until(pilot, lambda: app.screen is app.chat and not screen.is_attached)
        await until(pilot, lambda: any("window" in text for text in toasts(app)))
        assert answers == [None] and app.chat.bar.draft.full == "a draft"
        assert crashes and crashes[0].exc_info and crashes[0].exc_info[0] is Fault
        crashes.clear()
        assert len(toasts(app)) == 1
        await pilot.press("!")
        await until(pilot, lambda: app.chat.bar.draft.full == "a draft!")
        await pilot.press("enter")
        await idle(pilot)
        assert len(app.session.messages()) == 4


async def test_a_screen_that_cannot_be_made_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, crashes: list[logging.LogRecord]
) -> None:
    app = chat_app()
    async with running(app) as pilot:
        monkeypatch.setattr(HelpScreen, "compose_body", fail)
        await pilot.press("f1")
        await until(pilot, lambda: crashes and app.screen is app.chat)
        await until(pilot, lambda: len(app.screen_stack) == 1)
        crashes.clear()
        monkeypatch.undo()
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and app.screen.is_mounted)


async def test_a_screen_below_another_closes_with_it(crashes: list[logging.LogRecord]) -> None:
    app = chat_app()
    async with running(app) as pilot:
        lower, upper = Faulty("nowhere"), HelpScreen("prompt")
        await app.push_screen(lower)
        await app.push_screen(upper)
        lower.call_later(fail)
        await until(pilot, lambda: app.screen_stack == [app.chat])
        assert len(crashes) == 1
        crashes.clear()


async def test_a_crash_after_closing_is_only_logged() -> None:
    app = chat_app()
    async with running(app) as pilot:
        screen = Faulty("nowhere")
        await app.push_screen(screen)
        screen.dismiss(None)
        screen.call_later(fail)
        await until(pilot, lambda: not screen.is_attached)
        await pilot.pause()
        assert not toasts(app)


def by_a_click_on_the_keys(pilot: Pilot[Any], patch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in the handler of a widget."""
    app = pilot.app
    assert isinstance(app, TuiChat)
    patch.setattr(app, "simulate_key", fail)
    line = chat_of(pilot).query_one(KeyLine)
    line.post_message(events.Click(line, 1, 0, 0, 0, 1, False, False, False))


def by_the_screen_class(pilot: Pilot[Any], _: pytest.MonkeyPatch) -> None:
    """A mistake of Textual, in the loop of the chat screen."""
    chat_of(pilot).call_later(fail)


def by_the_app_class(pilot: Pilot[Any], _: pytest.MonkeyPatch) -> None:
    """A mistake of Textual, in the loop of the app."""
    pilot.app.call_later(fail)


@pytest.mark.parametrize("crash", [by_a_click_on_the_keys, by_the_screen_class, by_the_app_class])
async def test_what_leaves_the_chat_whole_is_survived(
    crash: Callable[[Pilot[Any], pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    crashes: list[logging.LogRecord],
) -> None:
    app = chat_app()
    async with running(app) as pilot:
        app.chat.bar.prompt.insert("a draft")
        for round_ in (1, 2):
            crash(pilot, monkeypatch)
            await until(pilot, lambda n=round_: len(crashes) == n)
        await until(pilot, lambda: any("the chat goes on" in text for text in toasts(app)))
        assert app.chat.bar.draft.full == "a draft"
        crashes.clear()
        await pilot.press("enter")
        await idle(pilot)
        assert len(app.session.messages()) == 2


def logged(record: logging.LogRecord, tmp_path: Any) -> str:
    handler = LogFile(tmp_path / "log")
    handler.close()
    return handler.format(record)


async def test_the_log_has_a_traceback_without_values(
    tmp_path: Any, crashes: list[logging.LogRecord]
) -> None:
    app = chat_app()
    async with running(app) as pilot:
        screen = Faulty("key")
        await app.push_screen(screen)
        await pilot.press("x")
        await until(pilot, lambda: app.screen is app.chat)
        text = logged(crashes.pop(0), tmp_path)
        assert "Traceback" in text and "Fault: 15 characters" in text and SECRET not in text


async def test_a_crash_of_the_chat_itself_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, crashes: list[logging.LogRecord]
) -> None:
    app = chat_app()
    with pytest.raises(ScreensBrokeOff) as raised:
        async with running(app) as pilot:
            monkeypatch.setattr(SessionView, "apply", fail)
            await say(pilot, "go")
            await until(pilot, lambda: crashes)
            await until(pilot, lambda: not app.is_running)
    assert isinstance(raised.value.__cause__, Fault) and app.return_code == 1
    assert len(crashes) == 1 and crashes[0].exc_info
    crashes.clear()


async def test_too_many_crashes_end_the_program(crashes: list[logging.LogRecord]) -> None:
    app = chat_app()
    with pytest.raises(ScreensBrokeOff):
        async with running(app) as pilot:
            for _ in range(MOST + 1):
                app.chat.call_later(fail)
            await until(pilot, lambda: not app.is_running)
    assert app.return_code == 1
    crashes.clear()
