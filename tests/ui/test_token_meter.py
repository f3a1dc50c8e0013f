"""The bar is exact, the numbers are those given, and every state says what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.color import Color
from textual.content import Content
from textual.pilot import Pilot

from tests.ui.pictures import Picture
from tests.ui.piece_app import PieceApp, until
from tui_chat.ui.chat.token_meter import MeterValues, TokenMeter, partition
from tui_chat.ui.widgets.numbers import grouped

USUAL = MeterValues(context=2048, system=38, history=641, draft=13, reserve=512, free=844)
OVERFLOW = MeterValues(2048, 38, 1200, 298, 512, 0, dropped_turns=3, dropped_tokens=412)
TOO_LONG = MeterValues(2048, 38, 0, 1753, 512, 0, too_long=True)

sizes = st.lists(st.integers(0, 5000), min_size=5, max_size=5)
widths = st.integers(0, 300)


# How tokens become cells ------------------------------------------------------------------------


@given(sizes, widths)
def test_the_cells_add_up_to_the_width(parts: list[int], width: int) -> None:
    cells = partition(parts, width)
    assert len(cells) == len(parts)
    assert sum(cells) == (width if sum(parts) else 0)
    assert all(count >= 0 for count in cells)


@given(sizes, widths)
def test_every_part_that_is_not_zero_can_be_seen(parts: list[int], width: int) -> None:
    cells = partition(parts, width)
    if width >= sum(part > 0 for part in parts):
        assert [count > 0 for count in cells] == [part > 0 for part in parts]
    assert all(count == 0 for part, count in zip(parts, cells, strict=True) if not part)


@given(sizes, widths)
def test_no_part_is_far_from_its_share(parts: list[int], width: int) -> None:
    total = sum(parts)
    for part, count in zip(parts, partition(parts, width), strict=True):
        share = part * width / total if total else 0
        assert abs(count - share) <= len(parts)


@given(
    context=st.integers(5, 4096),
    width=st.integers(5, 300),
    fixed=st.tuples(st.integers(0, 500), st.integers(0, 3000), st.integers(0, 500)),
    drafts=st.tuples(st.integers(0, 4000), st.integers(0, 4000)),
)
def test_a_growing_draft_never_loses_a_cell(
    context: int, width: int, fixed: tuple[int, int, int], drafts: tuple[int, int]
) -> None:
    system, history, reserve = fixed
    room = context - system - history - reserve
    shorter, longer = sorted(min(draft, max(room, 0)) for draft in drafts)
    cells = [
        partition((system, history, draft, reserve, max(room - draft, 0)), width)
        for draft in (shorter, longer)
    ]
    assert cells[0][2] <= cells[1][2]
    assert cells[0][4] >= cells[1][4]


def test_digits_come_in_groups_of_three() -> None:
    assert [grouped(n) for n in (0, 999, 1204, 1048576)] == ["0", "999", "1 204", "1 048 576"]


# What is shown ----------------------------------------------------------------------------------


async def shown(
    values: MeterValues | None,
    width: int,
    holds: Callable[[PieceApp], object],
    status: str = "",
) -> PieceApp:
    app = PieceApp(meter := TokenMeter(values))
    async with app.run_test(size=(width, 4)) as pilot:
        meter.status = Content(status)
        await until(pilot, lambda: holds(app))
    return app


async def bar_cells(pilot: Pilot[None], app: PieceApp, glyph: str) -> int:
    await pilot.pause()
    return app.lines()[0].count(glyph)


async def test_a_wide_meter_shows_every_number() -> None:
    app = PieceApp(TokenMeter(USUAL))
    async with app.run_test(size=(100, 4)) as pilot:
        await until(pilot, lambda: "system 38" in app.shown())
        bar, legend = app.lines()[:2]
        assert bar.rstrip().endswith("1 204 / 2 048")
        assert legend.split("▎")[1:] == [
            "system 38  ", "history 641  ", "draft 13   ", "reply 512  ", f"free 844{' ' * 41}",
        ]  # fmt: skip
        assert bar.count("━") + bar.count("─") == 100 - len("  1 204 / 2 048")


async def test_a_narrower_meter_shortens_its_legend_and_a_narrow_one_drops_it() -> None:
    app = PieceApp(meter := TokenMeter(USUAL))
    async with app.run_test(size=(80, 4)) as pilot:
        await until(pilot, lambda: "sys 38" in app.shown())
        assert "hist 641" in app.shown()
        assert "free" not in app.shown()
        assert meter.size.height == 2
        await pilot.resize_terminal(40, 12)
        await until(pilot, lambda: meter.size.height == 1)
        await until(pilot, lambda: app.shown().strip().endswith("1 204 / 2 048"))
        assert "sys" not in app.shown()


async def test_the_bar_keeps_its_length_while_numbers_change() -> None:
    app = PieceApp(meter := TokenMeter(USUAL))
    async with app.run_test(size=(100, 4)) as pilot:
        length = await bar_cells(pilot, app, "━") + await bar_cells(pilot, app, "─")
        for values in (replace(USUAL, history=0, free=1485), OVERFLOW, TOO_LONG):
            meter.values = values
            await until(pilot, lambda v=values: grouped(v.used) in app.lines()[0])
            assert length == await bar_cells(pilot, app, "━") + await bar_cells(pilot, app, "─")


async def test_turns_that_fall_out_are_announced_in_the_warning_colour() -> None:
    app = PieceApp(meter := TokenMeter(USUAL))
    async with app.run_test(size=(100, 4)) as pilot:
        meter.status = Content("▸ decoding")
        await until(pilot, lambda: "▸ decoding" in app.shown())
        meter.values = OVERFLOW
        await until(pilot, lambda: "3 turns will not be sent" in app.shown())
        assert "▸ decoding" not in app.shown()
        warning = Color.parse(app.theme_variables["warning"]).rich_color
        await until(pilot, lambda: warning in [s.style and s.style.color for s in app.strips()[0]])
        meter.values = replace(OVERFLOW, dropped_turns=1)
        await until(pilot, lambda: "1 turn will not be sent" in app.shown())
        meter.values = replace(OVERFLOW, pushed_turns=0)
        await until(pilot, lambda: "▸ decoding" in app.shown())


async def test_turns_that_fall_out_blink_once_where_animation_is_wanted() -> None:
    app = PieceApp(meter := TokenMeter(USUAL))
    async with app.run_test(size=(100, 4)) as pilot:
        app.animation_level = "none"
        meter.values = OVERFLOW
        assert not meter._blinking
        app.animation_level = "full"
        meter.values = replace(OVERFLOW, dropped_turns=4)
        assert meter._blinking
        await until(pilot, lambda: not meter._blinking)
        meter.values = replace(OVERFLOW, dropped_turns=4, draft=297)
        assert not meter._blinking


async def test_a_message_that_is_too_long_says_by_how_much() -> None:
    await shown(TOO_LONG, 100, lambda app: "255 tokens too long to send" in app.shown())
    await shown(TOO_LONG, 40, lambda app: "too long  2 303 / 2 048" in app.shown())
    await shown(OVERFLOW, 40, lambda app: "3 out  2 048 / 2 048" in app.shown())


async def test_before_there_is_a_tokenizer_it_says_so() -> None:
    app = await shown(
        None, 100, lambda app: "counting when the model is loaded" in app.shown(), "loading"
    )
    assert app is not None


async def test_an_estimate_is_marked() -> None:
    estimate = replace(USUAL, exact=False)
    await shown(estimate, 100, lambda app: "≈1 204 / 2 048" in app.shown())
    await shown(estimate, 100, lambda app: "draft ≈13" in app.shown())


@pytest.mark.parametrize("setting", ["no color", "sixteen colours", "terminal theme"])
async def test_without_colours_each_part_has_its_own_character(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if setting == "no color":
        monkeypatch.setenv("NO_COLOR", "1")
    if setting == "sixteen colours":
        monkeypatch.setenv("COLORTERM", "")
        monkeypatch.setenv("TERM", "xterm")
    app = PieceApp(TokenMeter(USUAL), theme="terminal" if "theme" in setting else "night")
    async with app.run_test(size=(100, 4)) as pilot:
        await until(pilot, lambda: "1 204" in app.shown())
        bar = app.lines()[0]
        assert bar.strip("█▓▒░· 0123456789/") == ""
        order = [bar.index(shade) for shade in "█▓▒░·"]
        assert order == sorted(order)
        assert "▒draft 13" in app.shown()


@pytest.mark.parametrize("width", [1, 5, 12, 20, 49, 50, 89, 90, 300])
@pytest.mark.parametrize("values", [USUAL, OVERFLOW, TOO_LONG, None])
async def test_any_width_is_filled_exactly(values: MeterValues | None, width: int) -> None:
    app = PieceApp(meter := TokenMeter(values))
    async with app.run_test(size=(width, 4)) as pilot:
        await pilot.pause()
        for line in meter.render().plain.split("\n"):
            assert Content(line).cell_length == width


async def test_the_tooltip_holds_what_a_narrow_meter_leaves_out() -> None:
    app = PieceApp(meter := TokenMeter(OVERFLOW))
    async with app.run_test(size=(40, 4)):
        tooltip = str(meter.tooltip)
        assert "history    1 200" in tooltip
        assert "3 turns not sent (412 tokens)" in tooltip


@pytest.mark.parametrize("theme", ["night", "paper"])
def test_the_look_of_the_meter(theme: str, picture: Picture) -> None:
    meters = [TokenMeter(values) for values in (USUAL, OVERFLOW, TOO_LONG, None)]
    meters[0].set_reactive(TokenMeter.status, Content("▸ decoding 38 tok/s · reused 628"))
    app = PieceApp(*meters, theme=theme)
    app.animation_level = "none"
    assert picture(app, (100, 9))
