"""Toasts: few, never twice the same, and never over what is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual._compositor import Compositor
from textual.geometry import Region, Size
from textual.notifications import Notification
from textual.screen import Screen
from textual.widget import Widget

from tests.ui.chat_app import chat_app, chat_of, running, talk, until
from tests.ui.stage import HOSTILE
from tui_chat.engine.contract.scripted import Script
from tui_chat.ui.plain_text import notify_plain
from tui_chat.ui.screens.dialogs import InputScreen
from tui_chat.ui.toasts import MOST, Toast, crowded_out

LONG = "Something happened that takes more than one line of a toast to say, and then some more. "
TALK = talk(*(["Question?", "Answer.\n\n" * 10] * 4))


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["information", "warning"]))))
def test_few_are_left_and_none_says_the_same_twice(said: list[tuple[str, str]]) -> None:
    shown: list[Notification] = []
    for message, severity in said:
        new = Notification(message, severity=severity)  # type: ignore[arg-type]  # one of the two
        gone = crowded_out(shown, new)
        shown = [old for old in shown if old not in gone] + [new]
        assert len(shown) <= MOST
        assert len({(one.message, one.severity) for one in shown}) == len(shown)


def test_what_informs_goes_before_what_warns() -> None:
    warnings = [Notification(str(n), severity="warning") for n in range(MOST - 1)]
    news = Notification("news")
    assert crowded_out([*warnings, news], Notification("new", severity="warning")) == [news]


@pytest.mark.parametrize("size", [(100, 30), (80, 24), (40, 12)])
async def test_toasts_stay_above_the_loading_line_and_the_prompt(size: tuple[int, int]) -> None:
    app = chat_app(Script(load_s=0.5), TALK, is_held=True)
    async with running(app, size, ready=False) as pilot:
        chat = chat_of(pilot)
        await until(pilot, lambda: chat.page.loading_line.region.height > 0)
        for text in (LONG, LONG, "A second one", LONG * 2, "The last one"):
            notify_plain(chat, text, severity="warning")

        def are_above() -> bool:
            places = [toast.region for toast in chat.query(Toast) if toast.region.height]
            return all(place.bottom <= chat.page.loading_line.region.y for place in places)

        await until(pilot, lambda: "The last one" in shown(chat) and len(shown(chat)) <= MOST)
        await until(pilot, are_above)
        chat.bar.prompt.insert("a\nb\nc\nd")
        await until(pilot, lambda: chat.bar.prompt.region.height >= 3)
        await until(pilot, are_above)


async def test_a_toast_is_painted_over_though_its_removal_went_unnoticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Someone asks for a region before the layout of what was removed, after a scroll."""
    painted: list[Region] = []

    def reflow(self: Compositor, parent: Widget, size: Size, of: Any = Compositor.reflow) -> Any:
        self._full_map_invalidated = True
        assert self.full_map  # as `Widget.region` does
        return of(self, parent, size)

    def render(
        self: Compositor, *args: Any, of: Any = Compositor.render_update, **more: Any
    ) -> Any:
        painted.extend(self._dirty_regions)
        return of(self, *args, **more)

    app = chat_app(Script(), TALK)
    async with running(app) as pilot:
        chat = chat_of(pilot)
        await until(pilot, lambda: chat.query("#panel"))  # nothing else comes after that
        notify_plain(chat, "Soon over", timeout=0.5)
        await until(pilot, lambda: any(toast.region.height for toast in chat.query(Toast)))
        (place,) = (toast.region for toast in chat.query(Toast))
        monkeypatch.setattr(Compositor, "reflow", reflow)
        monkeypatch.setattr(Compositor, "render_update", render)
        await until(pilot, lambda: not chat.query(Toast))
        painted.clear()
        await until(pilot, lambda: any(region.contains_region(place) for region in painted))


def shown(screen: Screen[Any]) -> list[str]:
    """The texts of the toasts that are painted on a screen."""
    toasts = [toast for toast in screen.query(Toast) if toast.region.height]
    return [str(toast.render()) for toast in sorted(toasts, key=lambda toast: toast.region.y)]


async def test_a_toast_outlives_the_sheet_that_gave_it_and_goes_over_the_next_one() -> None:
    app = chat_app(Script(), TALK)
    async with running(app) as pilot:
        chat = chat_of(pilot)
        await app.push_screen(sheet := InputScreen("Name"))
        notify_plain(sheet, "Said by the sheet", timeout=60)
        await until(pilot, lambda: shown(sheet) == ["Said by the sheet"])
        notify_plain(sheet, "And this", timeout=60)
        sheet.dismiss(None)
        await until(pilot, lambda: shown(chat) == ["Said by the sheet", "And this"])
        await pilot.press("f1")
        await until(pilot, lambda: app.screen is not chat and len(shown(app.screen)) == 2)
        await until(pilot, lambda: not shown(chat))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is chat and len(shown(chat)) == 2)


async def test_a_toast_goes_by_a_click_and_by_its_time() -> None:
    app = chat_app(Script(), TALK)
    async with running(app) as pilot:
        chat = chat_of(pilot)
        notify_plain(chat, "Clicked", timeout=60)
        await until(pilot, lambda: shown(chat) == ["Clicked"])
        await pilot.click(Toast)
        await until(pilot, lambda: not chat.query(Toast) and not app.toasts.present)
        notify_plain(chat, "Brief", timeout=0.05)
        await until(pilot, lambda: app.toasts.present)
        await until(pilot, lambda: not chat.query(Toast) and not app.toasts.present)


async def test_a_toast_whose_time_was_over_before_the_loop_came_to_it_goes() -> None:
    app = chat_app()
    async with running(app) as pilot:
        app.toasts.add(Notification("late", timeout=-1.0))
        assert app.toasts.present
        await until(pilot, lambda: not app.toasts.present)


async def test_what_a_toast_says_is_never_markup() -> None:
    app = chat_app(Script(), TALK)
    async with running(app) as pilot:
        app.notify(f"[b]bold[/b] [/foo] {HOSTILE}", title="[i]title", timeout=60)
        await until(pilot, lambda: shown(app.chat))
        (text,) = shown(app.chat)
        assert text.startswith("[i]title\n[b]bold[/b] [/foo] [@click=app.quit]x[/]")
        assert not set("\x1b\x07\u202e") & set(text)


async def test_only_one_toast_where_the_screen_is_low() -> None:
    app = chat_app(Script(), TALK)
    async with running(app, (60, 12)) as pilot:
        for text in ("One", "Two", "Three"):
            notify_plain(app, text, severity="warning", timeout=60)
        await until(pilot, lambda: shown(app.chat) == ["Three"])
