"""Keys that arrive at once are taken one after the other, and a slow handler stops none of them."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, TextArea

from tests.ui.chat_app import until
from tui_chat.ui.textual_fixes.key_order import KeyOrder, KeyOrPaste


class SlowBox(Vertical):
    """A parent that may take its time with every key that passes."""

    gate: ClassVar[asyncio.Event | None] = None

    async def on_key(self) -> None:
        if self.gate is not None:
            await self.gate.wait()


class Sheet(Screen[None]):
    """A screen that a key opens, with a field in it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.pop_screen")]

    def compose(self) -> ComposeResult:
        yield Input(id="on-sheet")

    def on_mount(self) -> None:
        self.query_one(Input).focus()


class KeysApp(App[None]):
    """Two fields and a key that opens a sheet, with the keys in order."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "open", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.order = KeyOrder(self, self._dispatch_key)
        self.dispatched: list[str] = []

    def compose(self) -> ComposeResult:
        with SlowBox():
            yield TextArea(id="area")
            yield Input(id="line", select_on_focus=False)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self.order.take(event)
        else:
            await super().on_event(event)

    async def _dispatch_key(self, event: KeyOrPaste) -> None:
        self.dispatched.append(event.key if isinstance(event, events.Key) else "paste")
        await super().on_event(event)

    def action_open(self) -> None:
        self.push_screen(Sheet())


def burst(app: App[Any], *keys: str) -> None:
    """Post keys at once, as one read of the terminal brings them."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


def value(pilot: Pilot[None], field: str) -> str:
    """What is in a field of any screen."""
    for screen in pilot.app.screen_stack:
        for widget in screen.query(f"#{field}"):
            return widget.text if isinstance(widget, TextArea) else widget.value  # type: ignore
    return ""


async def test_editing_keys_act_on_what_was_typed_before_them() -> None:
    async with KeysApp().run_test() as pilot:
        for field in ("area", "line"):
            pilot.app.query_one(f"#{field}").focus()
            await until(pilot, lambda field=field: pilot.app.focused.id == field)  # type: ignore
            burst(pilot.app, *"lost", "ctrl+u", *"zone", "left", "left", "X", "home", "Y")
            await until(pilot, lambda field=field: value(pilot, field) == "YzoXne")


async def test_text_and_a_paste_go_where_the_key_before_them_leads() -> None:
    async with KeysApp().run_test() as pilot:
        burst(pilot.app, "a", "tab", *"bc", "backspace", "f2", "d")
        pilot.app.post_message(events.Paste("pasted"))
        burst(pilot.app, "e", "escape", "f")
        await until(pilot, lambda: value(pilot, "line") == "bf")
        assert value(pilot, "area") == "a"
        assert pilot.app.screen.id == "_default"


async def test_a_slow_handler_holds_the_next_keys_back_for_a_moment_only() -> None:
    async with KeysApp().run_test() as pilot:
        SlowBox.gate = asyncio.Event()
        try:
            began = time.monotonic()
            burst(pilot.app, "a", "left", *"bcd", "f1", "f2")
            await until(pilot, lambda: isinstance(pilot.app.screen, Sheet))
            assert time.monotonic() - began < 5.0  # 0.2 s, on a machine that has other work
            burst(pilot.app, *"now")
            await until(pilot, lambda: value(pilot, "on-sheet") == "now")
            burst(pilot.app, "escape")
            await until(pilot, lambda: not isinstance(pilot.app.screen, Sheet))
            SlowBox.gate.set()
            await until(pilot, lambda: sorted(value(pilot, "area")) == [*"abcd"])
        finally:
            SlowBox.gate = None
        burst(pilot.app, "end", "ctrl+u", *"in", "home", "!")
        await until(pilot, lambda: value(pilot, "area") == "!in")


async def test_a_loop_that_stands_still_costs_no_order() -> None:
    async with KeysApp().run_test() as pilot:
        for _ in range(3):
            burst(pilot.app, *"lost")
            pilot.app.call_later(lambda: time.sleep(0.3))  # the loop, not a test, stands still
            burst(pilot.app, "ctrl+u", *"kept")
        await until(pilot, lambda: value(pilot, "area") == "kept")
        await until(pilot, lambda: len(pilot.app.dispatched) == 27)  # type: ignore[attr-defined]


async def test_thousands_of_keys_pass() -> None:
    async with KeysApp().run_test() as pilot:
        text = "typed without a bracketed paste " * 60
        burst(pilot.app, *text)
        await until(pilot, lambda: value(pilot, "area") == text, limit_s=60)


async def test_an_error_in_an_action_leaves_the_queue_working() -> None:
    taken: list[str] = []

    async def dispatch(event: KeyOrPaste) -> None:
        assert isinstance(event, events.Key)
        taken.append(event.key)
        if event.key == "f3":
            raise ValueError("an action failed")

    async with KeysApp().run_test() as pilot:
        order = KeyOrder(pilot.app, dispatch)
        with pytest.raises(ValueError):
            await order.take(events.Key("f3", None))
        await order.take(events.Key("a", "a"))
        assert taken == ["f3", "a"]
