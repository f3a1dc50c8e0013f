"""The picture of `bench --plot`: valid SVG that stands alone, with what was measured in it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tui_chat.bench import (
    BenchRun,
    ChatFigures,
    ContextFigures,
    FreshRead,
    Turn,
    check_plot_file,
    plot,
)
from tui_chat.bench.plot import _ticks
from tui_chat.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"
CONTEXTS = tuple(
    ContextFigures(context, 10, 0.1, 100.0, speed)
    for context, speed in ((512, 40.0), (1024, 35.0), (2048, 30.0))
)
READS = (FreshRead(20, 100, 0.9), FreshRead(40, 100, 1.2))
CHAT = ChatFigures(20, 0.1, 0.9, 0.111, 40, 1, 0.1, 0.8, 1.2, 0.083, 0.667, READS)


def run(path: str, turns: int = 0) -> BenchRun:
    """Made-up figures."""
    return BenchRun(
        path, "a <model>", "bf16", "cpu", 2048, 10, 1.0, 0.1, 100.0, 30.0, 10**9, 10**9, 0.5,
        10**9, 2e10, contexts=CONTEXTS,
        turns=tuple(Turn(100, 30, 70, 0.1 + n % 8 / 10) for n in range(turns)),
        chat=CHAT if turns else None,
    )  # fmt: skip


def texts(file: Path) -> list[str]:
    """The words of a picture; it has to be well-formed."""
    return [node.text or "" for node in ElementTree.parse(file).iter(f"{SVG}text")]


def test_speeds_and_turns_have_a_panel_each_with_units(tmp_path: Path):
    file = tmp_path / "a.svg"
    plot([run("eager", 50), run("turbo", 50)], file)
    words = texts(file)
    for word in ("a <model> bf16 on cpu", "Time to the first token", "turn", "ms", "Decoding",
                 "context, tokens", "tokens per second", "eager", "turbo",
                 "turbo, prefilling it all", "512", "2048"):  # fmt: skip
        assert word in words
    lines = list(ElementTree.parse(file).iter(f"{SVG}polyline"))
    assert [len(line.attrib["points"].split()) for line in lines] == [50, 50, 3, 3]


def test_without_a_chat_there_is_no_panel_of_turns(tmp_path: Path):
    file = tmp_path / "a.svg"
    plot([run("eager")], file)
    assert "Decoding" in texts(file) and "Time to the first token" not in texts(file)


def test_it_needs_nothing_from_outside_and_stays_inside(tmp_path: Path):
    file = tmp_path / "a.svg"
    plot([run("eager", 200)], file)
    text = file.read_text()
    assert not re.search(r"href|url\(|<script|<image|@import", text)
    root = ElementTree.parse(file).getroot()
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for node in root.iter(f"{SVG}polyline"):
        for corner in node.attrib["points"].split():
            x, y = map(float, corner.split(","))
            assert 0 <= x <= width and 0 <= y <= height


def test_a_file_that_is_there_is_replaced(tmp_path: Path):
    file = tmp_path / "a.svg"
    file.write_text("before")
    plot([run("eager")], file)
    assert texts(file)


@pytest.mark.parametrize(
    ("name", "part"),
    [("a.png", "Plots are SVG"), ("a", "Plots are SVG"), ("no/a.svg", "There is no folder")],
)
def test_a_file_that_cannot_be_a_plot_is_refused(tmp_path: Path, name: str, part: str):
    with pytest.raises(UsageError, match=part):
        check_plot_file(tmp_path / name)


@pytest.mark.parametrize("largest", [0.0, 0.004, 0.9, 1.0, 7.0, 99.0, 100.0, 101.0, 3847.0])
def test_an_axis_has_few_round_numbers_and_holds_everything(largest: float):
    ticks = _ticks(largest)
    assert ticks[0] == 0 and ticks[-1] >= largest and 2 <= len(ticks) <= 6
    assert ticks[-1] <= 2.5 * (largest or 1)
