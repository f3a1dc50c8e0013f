"""The container in which nothing moves by itself."""

from __future__ import annotations

from textual.widgets import Static

from tests.ui.piece_app import PieceApp, until
from tui_chat.ui.widgets.steady_scroll import SteadyScroll


def row_of(widget: Static, scroll: SteadyScroll) -> int:
    """The row of the container in which a child begins."""
    return widget.virtual_region.y - round(scroll.scroll_y)


async def test_a_scroll_counts_from_what_is_in_view_whatever_is_mounted_above() -> None:
    lines = [Static(f"line {number}") for number in range(100)]
    app = PieceApp(lambda: SteadyScroll(*lines))
    async with app.run_test(size=(40, 10)) as pilot:
        scroll = app.query_one(SteadyScroll)
        await until(pilot, lambda: scroll.is_following and scroll.max_scroll_y == 90)
        scroll.scroll_to(y=50)
        await until(pilot, lambda: row_of(lines[50], scroll) == 0)
        scroll.scroll_relative(y=-3)
        older = Static("older\n" * 19 + "older")
        await scroll.mount(older, before=0)
        await until(pilot, lambda: older.virtual_region.height == 20)
        await pilot.pause()
        assert row_of(lines[50], scroll) == 3


async def test_the_end_is_followed_until_the_reader_leaves_it() -> None:
    lines = [Static(f"line {number}") for number in range(30)]
    app = PieceApp(lambda: SteadyScroll(*lines))
    async with app.run_test(size=(40, 10)) as pilot:
        scroll = app.query_one(SteadyScroll)
        await until(pilot, lambda: row_of(lines[29], scroll) == 9)
        newer = Static("newer")
        await scroll.mount(newer)
        await until(pilot, lambda: row_of(newer, scroll) == 9)
        scroll.scroll_relative(y=-1)
        await until(pilot, lambda: row_of(lines[29], scroll) == 9)
        newest = Static("newest")
        await scroll.mount(newest)
        await until(pilot, lambda: newest.virtual_region.y > 0)
        assert row_of(lines[29], scroll) == 9 and not scroll.is_following
        scroll.go_to_end()
        await until(pilot, lambda: row_of(newest, scroll) == 9)
