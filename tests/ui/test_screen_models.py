"""The model picker: what fits is said with numbers, and only what can be loaded is chosen."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.ui.piece_app import until
from tests.ui.stage import HOSTILE, Stage, loaded, session_for_tests, type_fast
from tui_chat.chat.model_size import MemoryEstimate, ModelChoice
from tui_chat.errors import ModelNotFoundError
from tui_chat.session import ChatSession
from tui_chat.ui.screens.models import LoadChoice, ModelScreen, detail, refusal, verdict

GIB = 1024**3


def choice_of(name: str, total: float | None, fits: bool | None, **values: object) -> ModelChoice:
    estimate = None if total is None else MemoryEstimate(int(total * GIB), 0, 0)
    known: dict[str, object] = {
        "source": f"owner/{name}", "description": f"About {name}.", "context": 2048,
        "parameters": 12_000_000_000, "precision": "8bit" if fits else "", **values,
    }  # fmt: skip
    return ModelChoice(name=name, estimate=estimate, fits=fits, **known)  # type: ignore[arg-type]


class Shelf(ChatSession):
    """A session whose models are a list."""

    def __init__(self, rows: list[ModelChoice]) -> None:
        plain = session_for_tests()
        self.__dict__.update(plain.__dict__)
        self.rows = rows
        self.gate = threading.Event()
        self.gate.set()

    def models(self) -> list[ModelChoice]:
        assert self.gate.wait(20)
        return self.rows


ROWS = [
    choice_of("guide", 0.1, True, is_current=True, is_local=True),
    choice_of("oasst-12b", 12.9, True),
    choice_of("giant", 40.0, False),
    choice_of("unknown", None, None, parameters=None),
    choice_of("broken", None, False, is_local=True, problem="There is no tokenizer.json in it"),
]


async def opened(pilot: Pilot[None], app: Stage) -> ModelScreen:
    screen = ModelScreen(app.session)
    await app.show(screen, pilot)
    await until(pilot, lambda: screen.note != "reading…")
    return screen


async def test_each_row_says_whether_it_fits_and_the_current_one_is_highlighted() -> None:
    app = Stage(session=Shelf(ROWS))
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app)
        await until(pilot, lambda: "About guide" in app.shown())
        shown = app.shown()
        assert "› guide" in shown and "loaded" in shown
        assert "fits, 3.1 GiB left ↓" in shown
        assert "does not fit, 24.0 GiB short" in shown
        assert "size not known" in shown and "cannot be loaded" in shown


async def test_enter_loads_the_highlighted_row_in_the_precision_it_names() -> None:
    app = Stage(session=Shelf(ROWS))
    async with app.run_test() as pilot:
        await opened(pilot, app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.results)
        assert app.results == [LoadChoice("oasst-12b", "8bit")]


@pytest.mark.parametrize(("downs", "why"), [(2, "40.0 GiB"), (4, "no tokenizer.json")])
async def test_what_cannot_be_loaded_is_refused_with_the_reason(downs: int, why: str) -> None:
    app = Stage(session=Shelf(ROWS))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press(*["down"] * downs, "enter")
        await until(pilot, lambda: why in app.shown())
        assert app.screen is screen and not app.results


async def test_a_typed_directory_and_a_typed_hub_id_become_rows(tmp_path: Path) -> None:
    app = Stage(session=Shelf(ROWS))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        field = screen.query_one(Input)
        field.value = str(tmp_path)
        await until(pilot, lambda: "load directory" in app.shown())
        field.value = "someone/some-model"
        await until(pilot, lambda: "download someone/some-model" in app.shown())
        await pilot.press("enter")
        await until(pilot, lambda: app.results)
        assert app.results == [LoadChoice("someone/some-model", "auto")]


async def test_typing_filters_by_name_source_and_description() -> None:
    app = Stage(session=Shelf(ROWS))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press(*"about gi")
        await until(pilot, lambda: len(screen.choices.rows) == 1)
        assert screen.choices.row is ROWS[2]
        await pilot.press(*"zzz")
        await until(pilot, lambda: "No model matches" in app.shown())


@pytest.mark.parametrize(
    ("keys", "choice"),
    [(("down", "enter"), LoadChoice("oasst-12b", "8bit")),
     ((*"oass", "enter"), LoadChoice("oasst-12b", "8bit")),
     ((*"/some/where", "enter"), LoadChoice("/some/where", "auto")),
     ((*"some/model", "enter"), LoadChoice("some/model", "auto"))],
)  # fmt: skip
async def test_keys_typed_at_once_are_all_taken(keys: tuple[str, ...], choice: object) -> None:
    app = Stage(session=Shelf(ROWS))
    async with app.run_test() as pilot:
        await opened(pilot, app)
        type_fast(app, *keys)
        await until(pilot, lambda: app.results == [choice])


async def test_keys_do_not_wait_for_the_reading() -> None:
    shelf = Shelf(ROWS)
    shelf.gate.clear()
    app = Stage(session=shelf)
    try:
        async with app.run_test() as pilot:
            await app.show(ModelScreen(shelf), pilot)
            assert "reading…" in app.shown()
            await pilot.press("escape")
            await until(pilot, lambda: app.results == [None])
            shelf.gate.set()
    finally:
        shelf.gate.set()


@pytest.mark.parametrize("typed", ["12b", "oasst", ""])
async def test_what_is_typed_during_the_reading_counts(typed: str) -> None:
    shelf = Shelf(ROWS)
    shelf.gate.clear()
    app = Stage(session=shelf)
    try:
        async with app.run_test() as pilot:
            screen = ModelScreen(shelf)
            await app.show(screen, pilot)
            await pilot.press(*typed, "enter")
            await until(pilot, lambda: screen.query_one(Input).value == typed)
            assert not app.results
            shelf.gate.set()
            chosen = LoadChoice("oasst-12b", "8bit") if typed else None
            await until(pilot, lambda: app.results == [chosen])
    finally:
        shelf.gate.set()


async def test_a_failed_reading_says_what_why_and_what_to_do() -> None:
    class Failing(Shelf):
        def models(self) -> list[ModelChoice]:
            raise ModelNotFoundError("No models", "models.toml is gone", "Install again")

    app = Stage(session=Failing([]))
    async with app.run_test() as pilot:
        await app.show(ModelScreen(app.session), pilot)
        await until(pilot, lambda: "Install again" in app.shown())
        assert "No models" in app.shown() and "models.toml is gone" in app.shown()


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_hostile_names_are_text_and_every_size_works(size: tuple[int, int]) -> None:
    row = choice_of(HOSTILE, 1.0, True, description=HOSTILE, source=HOSTILE, is_local=True)
    app = Stage(session=Shelf([row]))
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        await until(pilot, lambda: "[@click" in app.shown())
        shown = app.shown()
        assert not set("\x1b\x07\u202e\u200b") & set(shown)
        assert "Esc Close" in shown


async def test_a_click_highlights_and_a_second_one_loads() -> None:
    app = Stage(session=Shelf(ROWS))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        await pilot.click("#choices", offset=(5, 1))
        await until(pilot, lambda: screen.choices.highlighted == 1)
        await pilot.click("#choices", offset=(5, 1))
        await until(pilot, lambda: app.results == [LoadChoice("oasst-12b", "8bit")])


async def test_with_the_session_of_the_program() -> None:
    session = session_for_tests()
    app = Stage(session=session)
    async with app.run_test(size=(100, 30)) as pilot:
        await loaded(pilot, session)
        await opened(pilot, app)
        await until(pilot, lambda: "guide · bf16 is loaded" in app.shown())
    session.close()


def test_the_words_of_a_row() -> None:
    far = choice_of("far", 2.0, True)
    assert verdict(far, 3 * GIB) == ("fits, 1.0 GiB left ↓", "good")
    assert verdict(far, None)[0] == "fits ↓"
    assert verdict(choice_of("giant", 40.0, False), 8 * GIB, is_short=True)[0] == "does not fit"
    assert "about 22.4 GiB to download" in detail(far)[1].plain
    assert "24.0 GiB are free" in refusal(choice_of("giant", 40.0, False), 24 * GIB)
