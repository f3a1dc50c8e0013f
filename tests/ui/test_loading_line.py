"""The line over the prompt while a model is loaded: it never looks as if nothing happened."""

from __future__ import annotations

import pytest

from tests.ui.chat_app import chat_app, running
from tests.ui.chat_app import until as until_chat
from tests.ui.piece_app import PieceApp, until
from tui_chat.chat.events import Loading
from tui_chat.engine.contract.scripted import GIB, Script
from tui_chat.ui.chat.loading_line import LoadingLine


class Seconds:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def line_app() -> tuple[PieceApp, LoadingLine, Seconds]:
    clock = Seconds()
    line = LoadingLine(clock)
    return PieceApp(line), line, clock


async def test_seconds_pass_and_the_bar_moves_before_anything_can_be_measured() -> None:
    app, line, clock = line_app()
    async with app.run_test(size=(80, 4)) as pilot:
        line.expect("guide", "auto", "libraries")
        await until(pilot, lambda: "importing PyTorch" in app.shown() and " 0 s" in app.shown())
        first = app.lines()[0]
        clock.now += 1
        await until(pilot, lambda: " 1 s" in app.shown())
        await until(pilot, lambda: app.lines()[0].index("━") > first.index("━"))
        assert len(app.lines()[0]) == len(first)
        clock.now += 40
        await until(pilot, lambda: " 41 s" in app.shown())
        assert app.lines()[0].count("━") == first.count("━")


async def test_without_animations_only_the_seconds_move() -> None:
    app, line, clock = line_app()
    app.animation_level = "none"
    async with app.run_test(size=(80, 4)) as pilot:
        line.expect("guide", "auto")
        clock.now += 7
        await until(pilot, lambda: " 7 s" in app.shown())
        assert "━" not in app.shown() and "────" in app.shown()


async def test_the_time_left_grows_while_nothing_arrives() -> None:
    app, line, clock = line_app()
    async with app.run_test(size=(80, 4)) as pilot:
        line.step = Loading("oasst-12b", "8bit", "weights", GIB, 4 * GIB, elapsed_s=10.0)
        await until(pilot, lambda: "30 s left" in app.shown())
        clock.now += 10
        await until(pilot, lambda: "60 s left" in app.shown())
        line.step = None
        await until(pilot, lambda: not line.display)


@pytest.mark.parametrize("width", [20, 37, 44, 60, 80, 120])
async def test_the_line_fits(width: int) -> None:
    app, line, _ = line_app()
    async with app.run_test(size=(width, 4)) as pilot:
        for step in (
            Loading("a-model-with-quite-a-long-name", "8bit", "weights", GIB, 22 * GIB, 61.0),
            Loading("guide", "auto", "libraries", 0, 0),
        ):
            line.step = step
            await pilot.pause()
            shown = line.render().plain.splitlines()[0]
            if width >= 37:
                assert len(shown) == width and shown.rstrip().endswith(("left", "s"))
            else:
                assert shown.strip()


async def test_another_model_is_announced_at_once() -> None:
    app = chat_app(Script(load_s=0.05, free=64 * GIB))
    async with running(app) as pilot:
        await app.run_command("model", "oasst-12b")
        step = app.chat.page.loading_line.step
        assert step is not None and (step.model, step.stage) == ("oasst-12b", "start")
        await until_chat(pilot, lambda: app.session.info and app.session.info.name == "oasst-12b")
        await until_chat(pilot, lambda: app.chat.page.loading_line.step is None)
