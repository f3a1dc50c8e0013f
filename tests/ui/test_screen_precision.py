"""The precision picker: each precision with what it needs, and only one that fits is chosen."""

from __future__ import annotations

import dataclasses

import pytest

from tests.ui.piece_app import until
from tests.ui.stage import Stage, loaded, session_for_tests
from tui_chat.chat.model_size import MemoryEstimate, PrecisionChoice
from tui_chat.engine.contract.scripted import GIB, Script
from tui_chat.ui.screens.precision import PrecisionScreen, needs, outcome


def flagship(free: float = 15.2) -> Script:
    return Script(models=("oasst-12b", "guide"), free=int(free * GIB))


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_every_precision_is_listed_with_what_is_left(size: tuple[int, int]) -> None:
    session = session_for_tests(flagship())
    session.switch_model("oasst-12b", "4bit")
    app = Stage(session=session)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: session.state == "ready")
        await app.show(PrecisionScreen(session), pilot)
        await until(pilot, lambda: "fits, 2.1 GiB left" in app.shown())
        shown = app.shown()
        assert "Precision for oasst-12b on cpu" in shown
        assert "› 4bit" in shown and "loaded" in shown
        assert "does not fit, 8.5 GiB short" in shown
        assert "The loaded model is freed first." in shown
        if size[0] >= 80:
            assert "free 15.2 of 15.2 GiB" in shown and "11.5 + 1.6 GiB" in shown
        await pilot.press("up", "enter")
        await until(pilot, lambda: app.results == ["int8"])
    session.close()


async def test_one_that_does_not_fit_is_refused_with_the_numbers() -> None:
    session = session_for_tests(flagship())
    session.switch_model("oasst-12b", "4bit")
    app = Stage(session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: session.state == "ready")
        await app.show(PrecisionScreen(session), pilot)
        await until(pilot, lambda: "loaded" in app.shown())
        await pilot.press("home", "enter")
        await until(pilot, lambda: "fp32 needs 45.7 GiB, 15.2 GiB are free" in app.shown())
        assert not app.results
        await pilot.press("escape")
        await until(pilot, lambda: app.results == [None])
    session.close()


async def test_the_current_one_changes_nothing() -> None:
    session = session_for_tests()
    app = Stage(session=session)
    async with app.run_test() as pilot:
        await loaded(pilot, session)
        await app.show(PrecisionScreen(session), pilot)
        await until(pilot, lambda: "› bf16" in app.shown())
        await pilot.press("enter")
        await until(pilot, lambda: app.results == [None])
    session.close()


def test_the_words_of_a_row() -> None:
    estimate = MemoryEstimate(int(11.5 * GIB), GIB, int(0.4 * GIB))
    row = PrecisionChoice("8bit", estimate, int(15.2 * GIB), True)
    assert needs(row) == "11.5 + 1.4 GiB"
    assert outcome(row)[0] == "fits, 2.3 GiB left"
    assert outcome(dataclasses.replace(row, is_current=True))[0] == "loaded"
    assert outcome(dataclasses.replace(row, reason="no GPU"))[0] == "not available: no GPU"
    assert outcome(dataclasses.replace(row, estimate=None))[0] == "fits if it loads"
    small = dataclasses.replace(row, estimate=MemoryEstimate(12 * 1024**2, 3 * 1024**2, 0))
    assert needs(small) == "12 + 3 MiB"
