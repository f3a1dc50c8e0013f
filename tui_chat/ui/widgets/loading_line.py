"""The line over the prompt while a model is loaded: stage, bytes, bar and time left.

Owns the estimate of the time left and the drawing. What is loaded and what follows is told to it.
"""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from tui_chat.chat.events import Loading
from tui_chat.chat.memory import format_bytes
from tui_chat.safe_text import safe_line
from tui_chat.ui.themes import has_few_colours

STAGES = {
    "start": "starting",
    "download": "downloading",
    "tokenizer": "tokenizer",
    "weights": "weights",
    "quantise": "quantising",
    "check": "checking",
}
_LEAST_BAR = 8
_SETTLED_S = 1.5
"""Seconds after which the speed so far is worth an estimate."""
_WAITING = "You can type; it is sent when the model is ready."


class LoadingLine(Widget):
    """Two lines, one in low terminals; hidden while nothing loads."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "loading-line--bar",
        "loading-line--rest",
        "loading-line--hint",
    }
    DEFAULT_CSS = """
    LoadingLine {
        height: 2;
        display: none;
        text-wrap: nowrap; text-overflow: clip;
        &.-shown { display: block; }
        .loading-line--bar { color: $primary; }
        .loading-line--rest { color: $meter-free; }
        .loading-line--hint { color: $text-muted; }
    }
    """

    step: reactive[Loading | None] = reactive(None)
    freed: reactive[str] = reactive("")
    """What was freed for it, in words."""

    def watch_step(self, step: Loading | None) -> None:
        """Appear while something loads."""
        self.set_class(step is not None, "-shown")

    def render(self) -> Content:
        """Stage and bytes, a bar in the room that is left, the time left; below it a hint."""
        loading = self.step
        if loading is None:
            return Content("")
        width = self.size.width
        line = self._progress(loading, width)
        hint = f"{self.freed} {_WAITING}" if self.freed else _WAITING
        hint = hint if len(hint) <= width else _WAITING
        below = Content(hint).stylize(self._style("hint"))
        return Content("\n").join([line, below.truncate(width, ellipsis=True)])

    def _progress(self, loading: Loading, width: int) -> Content:
        name = safe_line(loading.model, 40)
        stage = STAGES.get(loading.stage, safe_line(loading.stage, 20))
        size = ""
        if loading.total:
            size = f" {_of(loading.done, loading.total)}"
        left = _time_left(loading)
        precision = "" if loading.precision == "auto" else f" in {loading.precision}"
        wordings = (
            f"Loading {name}{precision}   {stage}{size}",
            f"Loading {name}   {stage}{size}",
            f"{name}  {stage}{size}",
            f"{stage}{size}",
        )
        room = width - (len(left) + 2 if left else 0) - _LEAST_BAR - 3
        words = next((text for text in wordings if len(text) <= room), wordings[-1])
        bar = max(0, width - len(words) - 3 - (len(left) + 2 if left else 0))
        share = loading.done / loading.total if loading.total else 0.0
        return Content.assemble(words, "   ", self._bar(bar, share), f"  {left}" if left else "")

    def _bar(self, width: int, share: float) -> Content:
        filled = min(width, round(width * share))
        done, rest = ("█", "·") if has_few_colours(self.app) else ("━", "─")
        return Content.assemble(
            (done * filled, self._style("bar")), (rest * (width - filled), self._style("rest"))
        )

    def _style(self, name: str) -> Style:
        return self.get_visual_style(f"loading-line--{name}", partial=True)


def _of(done: int, total: int) -> str:
    """`7.9 of 22.1 GiB`: the unit once, and numbers of the same width throughout."""
    whole = format_bytes(total)
    number, unit = whole.split()
    divisor = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}[unit]
    part = f"{done / divisor:.1f}" if "." in number else f"{done / divisor:.0f}"
    return f"{part.rjust(len(number))} of {whole}"


def _time_left(loading: Loading) -> str:
    """How long this stage will still take at the speed so far; empty while that is a guess."""
    if not loading.total or not loading.done or loading.elapsed_s < _SETTLED_S:
        return ""
    left = loading.elapsed_s * (loading.total - loading.done) / loading.done
    if left >= 90:
        return f"{left / 60:3.0f} min left"
    return f"{left:3.0f} s left"
