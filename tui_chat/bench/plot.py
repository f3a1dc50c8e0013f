"""Draws the figures as SVG: time to the first token over turns, and tokens per second over context.

The SVG is written by hand, since two small line charts do not justify a library. The colours stand
out on light and dark backgrounds, and the background is left to the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tui_chat.bench.figures import BenchRun
from tui_chat.errors import UsageError
from tui_chat.storage.atomic import write_atomically

_COLOURS = ("#2f81d6", "#d9730d")
"""One for each path. Each has a contrast of at least 3 with white and with black."""
_INK = "#737d88"
_WIDTH, _HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 24, 62, 52
_TICKS = 5
"""Approximate number of labels on an axis."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or the dots of single measurements."""

    name: str
    colour: str
    points: tuple[Point, ...]
    is_dots: bool = False
    """Whether to draw single dots instead of a line."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart. Both axes begin at 0."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_ticks: tuple[float, ...] = ()
    """Labels of the horizontal axis, largest last; empty for round numbers."""


def check_plot_file(path: Path) -> None:
    """Raise an error for a file that cannot be written, before anything is measured for it.

    Raises:
        UsageError: If the name does not end in .svg, the folder does not exist, or a folder has
            that name.
    """
    if path.suffix.lower() != ".svg":
        raise UsageError(
            f"{path} cannot be a plot", "Plots are SVG", "Name a file that ends in .svg (--plot)"
        )
    if not path.parent.is_dir() or path.is_dir():
        what = f"{path} is a folder" if path.is_dir() else f"There is no folder {path.parent}"
        raise UsageError("The plot could not be written", what, "Name another file (--plot)")


def plot(runs: Sequence[BenchRun], path: Path) -> None:
    """Draw the runs into a file. An existing file is replaced.

    Args:
        runs: The figures of each path, at least one.
        path: The file to write.

    Raises:
        StoreError: If the file cannot be written.
    """
    first = runs[0]
    title = f"{first.model} {first.precision} on {first.device}"
    write_atomically(path, draw(title, panels(runs)), overwrite=True)


def panels(runs: Sequence[BenchRun]) -> list[Panel]:
    """Return the charts for which the runs have figures."""
    charts = []
    coloured = [(run, _COLOURS[number % len(_COLOURS)]) for number, run in enumerate(runs)]
    if any(run.turns for run in runs):
        lines = []
        for run, colour in coloured:
            points = tuple((n, turn.ttft_s * 1000) for n, turn in enumerate(run.turns, 1))
            lines.append(Series(run.path, colour, points))
            if run.chat is not None:
                dots = tuple((read.turn, read.ttft_s * 1000) for read in run.chat.fresh_reads)
                lines.append(Series(f"{run.path}, prefilling it all", colour, dots, is_dots=True))
        charts.append(Panel("Time to the first token", "turn", "ms", tuple(lines)))
    if any(run.contexts for run in runs):
        speeds = tuple(
            Series(
                run.path, colour, tuple((c.context, c.decode_tokens_per_s) for c in run.contexts)
            )
            for run, colour in coloured
        )
        sizes = tuple(float(one.context) for one in runs[0].contexts)
        charts.append(Panel("Decoding", "context, tokens", "tokens per second", speeds, sizes))
    return charts


def draw(title: str, charts: Sequence[Panel]) -> str:
    """Return the text of an SVG file with the charts one below the other."""
    height = 34 + _HEIGHT * len(charts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13" '
        f'fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<text x="{_LEFT}" y="24" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    for number, chart in enumerate(charts):
        parts.append(f'<g transform="translate(0 {34 + number * _HEIGHT})">')
        parts += _panel(chart)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def _panel(chart: Panel) -> list[str]:
    points = [point for series in chart.series for point in series.points]
    x_ticks = chart.x_ticks or _ticks(max((x for x, _ in points), default=1.0))
    y_ticks = _ticks(max((y for _, y in points), default=1.0))
    right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    x_scale = (right - _LEFT) / x_ticks[-1]
    y_scale = (floor - _TOP) / y_ticks[-1]

    def place(point: Point) -> Point:
        return _LEFT + point[0] * x_scale, floor - point[1] * y_scale

    parts = [f'<text x="{_LEFT}" y="22" font-weight="600">{escape(chart.title)}</text>']
    for tick in y_ticks:
        y = place((0, tick))[1]
        opacity = 0.8 if tick == 0 else 0.25
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" '
            f'stroke="{_INK}" stroke-opacity="{opacity}"/>'
        )
        parts.append(_text(_LEFT - 8, y + 4, f"{tick:g}", "end"))
    for tick in x_ticks:
        parts.append(_text(place((tick, 0))[0], floor + 19, f"{tick:g}", "middle"))
    parts.append(_text((_LEFT + right) / 2, floor + 40, chart.x_label, "middle"))
    middle = (_TOP + floor) / 2
    parts.append(
        f'<text transform="translate(18 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(chart.y_label)}</text>"
    )
    for series in chart.series:
        parts += _line(series, [place(point) for point in series.points])
    return [*parts, *_legend(chart.series)]


def _line(series: Series, places: Sequence[Point]) -> list[str]:
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
    if series.is_dots:
        return [f'<g fill="none" stroke="{series.colour}" stroke-width="1.5">', *dots, "</g>"]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    line = (
        f'<polyline points="{corners}" fill="none" stroke="{series.colour}" stroke-width="1.8" '
        'stroke-linejoin="round"/>'
    )
    few = [f'<g fill="{series.colour}">', *dots, "</g>"] if len(places) <= 20 else []
    return [line, *few]


def _legend(lines: Sequence[Series]) -> list[str]:
    """Draw the names of the series in one row below the title, each after a sample of its line."""
    parts, x = [], float(_LEFT)
    for series in lines:
        if series.is_dots:
            parts += _line(series, [(x + 9, 38)])
        else:
            parts.append(
                f'<line x1="{x:.0f}" y1="38" x2="{x + 18:.0f}" y2="38" '
                f'stroke="{series.colour}" stroke-width="3"/>'
            )
        parts.append(_text(x + 24, 42.5, series.name, "start"))
        x += 24 + 7.2 * len(series.name) + 26
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _ticks(largest: float) -> tuple[float, ...]:
    """Return round numbers from 0 to the first one that is at least the largest value."""
    largest = largest if largest > 0 else 1.0
    magnitude = 10 ** math.floor(math.log10(largest / _TICKS))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude * _TICKS >= largest)
    count = math.ceil(round(largest / step, 9))
    return tuple(round(step * number, 9) for number in range(count + 1))
