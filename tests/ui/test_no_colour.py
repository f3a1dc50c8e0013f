"""With NO_COLOR the terminal is sent attributes and nothing else."""

from __future__ import annotations

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from tests.ui.chat_app import chat_app, running, talk, until
from tui_chat.ui.app import TuiChat
from tui_chat.ui.no_colour import WithoutColour

PAGE = Color.parse("#14161b")


def styles(app: TuiChat) -> list[Style]:
    """Every style on the screen, as it is sent."""
    strips = app.screen._compositor.render_strips()
    return [segment.style for strip in strips for segment in strip if segment.style is not None]


@pytest.mark.parametrize("theme", ["night", "paper", "terminal"])
async def test_nothing_on_the_screen_has_a_colour(
    theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = chat_app(conversation=talk("Question", "```python\nprint(1)\n```"), theme=theme)
    async with running(app, (80, 24)) as pilot:
        for keys in (["escape", "u"], ["enter"], ["escape", "f2"], ["escape", "f3"]):
            await pilot.press(*keys)
            await until(pilot, lambda: styles(app))
            assert not [s for s in styles(app) if s.color is not None or s.bgcolor is not None]
        await until(pilot, lambda: any(style.reverse for style in styles(app)))  # the cursor


def test_what_stood_out_by_its_background_is_reversed() -> None:
    segments = [
        Segment("cursor", Style.parse("#14161b on #d8dce4")),
        Segment("surface", Style.parse("bold #d8dce4 on #1a1d24")),
        Segment("selection", Style.parse("reverse #d8dce4 on #1a1d24")),
        Segment("own colour", Style.parse("on blue")),
        Segment("track", Style.parse("on bright_black")),
        Segment("none", None),
    ]
    sent = WithoutColour(lambda: PAGE).apply(segments, PAGE)
    reversed_ones = [s.text for s in sent if s.style is not None and s.style.reverse]
    assert reversed_ones == ["cursor", "selection", "own colour"]
    assert sent[1].style is not None and sent[1].style.bold
    assert [s.text for s in sent] == [s.text for s in segments]


@pytest.mark.parametrize("no_colour", [False, True])
async def test_the_cursor_of_a_field_is_seen_with_the_colours_of_the_terminal(
    no_colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    app = chat_app(theme="terminal")
    async with running(app, (80, 24)) as pilot:
        await pilot.press("f3")
        await until(pilot, lambda: app.screen is not app.chat)

        def cursor() -> bool:
            strips = app.screen._compositor.render_strips()
            return any(
                segment.text == "T" and segment.style is not None and segment.style.reverse
                and (segment.style.bgcolor is None or segment.style.bgcolor.is_default)
                for strip in strips
                for segment in strip
            )  # fmt: skip

        await until(pilot, cursor)
