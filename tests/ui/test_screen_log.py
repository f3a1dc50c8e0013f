"""The log: its end, made harmless, followed as it grows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.ui.piece_app import until
from tests.ui.stage import Stage, log_file
from tui_chat.ui.screens import log
from tui_chat.ui.screens.log import LogScreen, log_lines, read_tail
from tui_chat.ui.widgets.line_view import LineView


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_it_shows_the_end_and_follows(tmp_path: Path, size: tuple[int, int]) -> None:
    path = log_file(tmp_path / "chat.log", 500)
    app = Stage()
    async with app.run_test(size=size) as pilot:
        await app.show(LogScreen(path), pilot)
        await until(pilot, lambda: "ERROR engine" in app.shown())
        assert not set("\x1b\x07\u202e") & set(app.shown())
        view = app.screen.query_one(LineView)
        await until(pilot, lambda: view.vertical_scrollbar.position == view.max_scroll_y > 0)
        with path.open("a") as stream:
            stream.write("and one line more\n")
        await until(pilot, lambda: "and one line more" in app.shown())
        await pilot.press("escape")
        await until(pilot, lambda: app.results == [None])


async def test_reading_further_up_is_not_disturbed(tmp_path: Path) -> None:
    path = log_file(tmp_path / "chat.log", 500)
    app = Stage()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = LogScreen(path)
        await app.show(screen, pilot)
        await until(pilot, lambda: "ERROR engine" in app.shown())
        await pilot.press("home")
        await until(pilot, lambda: "step 0 of" in app.shown())
        with path.open("a") as stream:
            stream.write("more\n")
        await until(pilot, lambda: screen.query_one(LineView).lines[-1].plain == "more")
        assert "step 0 of" in app.shown()
        await pilot.press("end")
        await until(pilot, lambda: "more" in app.shown())


async def test_a_missing_log_is_an_empty_one(tmp_path: Path) -> None:
    app = Stage()
    async with app.run_test() as pilot:
        await app.show(LogScreen(tmp_path / "none.log"), pilot)
        await until(pilot, lambda: "Nothing has been logged yet" in app.shown())


async def test_an_unreadable_log_says_so(tmp_path: Path) -> None:
    app = Stage()
    async with app.run_test() as pilot:
        await app.show(LogScreen(tmp_path), pilot)  # a folder
        await until(pilot, lambda: "could not be read" in app.shown())


def test_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = log_file(tmp_path / "chat.log", 5000)
    tail = read_tail(path)
    assert tail is not None and tail.is_cut and len(tail.lines) == log.MOST_LINES
    assert read_tail(path, tail.stamp) is None
    monkeypatch.setattr(log, "MOST_BYTES", 1000)
    small = read_tail(path)
    assert small is not None and small.is_cut
    assert small.lines == tail.lines[-len(small.lines) :]
    os.truncate(path, 0)
    empty = read_tail(path, tail.stamp)
    assert empty is not None and empty.lines == ()


def test_bytes_that_are_no_text_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "chat.log"
    path.write_bytes(b"\xff\xfe\x00\x1b]0;x\x07\n" + b"x" * 5000 + b"\r\nend\n")
    tail = read_tail(path)
    assert tail is not None and tail.lines[-1] == "end" and "\x1b" not in tail.lines[0]
    assert all(line.cell_length <= 40 for line in log_lines(tail, 40))
