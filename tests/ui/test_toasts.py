"""Toasts: few, never twice the same, and never over what is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual._compositor import Compositor
from textual.geometry import Region, Size
from textual.notifications import Notification
from textual.widget import Widget
from textual.widgets._toast import Toast

from tests.ui.chat_app import chat_app, chat_of, running, talk, until
from tui_chat.engine.scripted import Script
from tui_chat.ui.safe_text import notify_plain
from tui_chat.ui.toasts import MOST, crowded_out

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
        await until(pilot, lambda: chat.loading_line.region.height > 0)
        for text in (LONG, LONG, "A second one", LONG * 2, "The last one"):
            notify_plain(chat, text, severity="warning")

        def shown() -> list[Toast]:
            return [toast for toast in chat.query(Toast) if toast.region.height]

        def last() -> bool:
            return any("The last one" in str(toast.render()) for toast in shown())

        await until(pilot, last)
        await until(pilot, lambda: len(shown()) <= MOST)
        await until(
            pilot, lambda: all(t.region.bottom <= chat.loading_line.region.y for t in shown())
        )
        chat.bar.prompt.insert("a\nb\nc\nd")
        await until(pilot, lambda: chat.bar.prompt.region.height >= 3)
        await until(
            pilot, lambda: all(t.region.bottom <= chat.loading_line.region.y for t in shown())
        )


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
