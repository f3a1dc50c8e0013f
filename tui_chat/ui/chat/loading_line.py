"""The progress line above the prompt while a model loads: stage, bytes, bar and time left.

The chat screen sets the loading step; the widget counts the seconds in between and estimates the
time that is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.widget import Widget

from tui_chat.chat.events import Loading
from tui_chat.chat.model_size import format_bytes
from tui_chat.safe_text import safe_line
from tui_chat.ui.themes import has_few_colours

STAGES = {
    "libraries": "importing PyTorch",
    "start": "starting",
    "download": "downloading",
    "tokenizer": "tokenizer",
    "weights": "weights",
    "quantise": "quantising",
    "check": "checking",
}
"""The words for each loading stage."""
_LEAST_BAR = 8
"""Least width of the bar, in cells, for which the words are shortened."""
_SETTLED_S = 1.5
"""Seconds after which the speed so far is good enough for an estimate."""
_TICK_S = 0.2
_GLIDE = 8
"""Speed of the indeterminate bar, in cells per second."""
_TIME = 10
"""Width of the time at the end of the line, in cells; fixed, so that the bar keeps its length."""
_WAITING = "You can type; it is sent when the model is ready."


class LoadingLine(Widget):
    """The loading progress, with a hint below; one line in low terminals, hidden when idle.

    Args:
        clock: Returns seconds from a monotonic clock.
    """

    ALLOW_SELECT = False
    step: reactive[Loading | None] = reactive(None)
    freed: reactive[str] = reactive("")
    """A sentence about the previous model that was freed; empty if none was."""
    passed_s: reactive[int] = reactive(0)
    """Whole seconds since loading began."""
    glide: reactive[int] = reactive(0)
    """Distance that the indeterminate bar has moved, in cells."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._began_at = 0.0
        self._told_at = 0.0
        self._timer: Timer | None = None

    def on_mount(self) -> None:
        """Create the timer that updates the line; it runs only while a model loads."""
        self._timer = self.set_interval(_TICK_S, self._tick, pause=self.step is None)

    def expect(self, model: str, precision: str, stage: str = "start") -> None:
        """Show a first step before the engine reports one.

        Args:
            model: The name of the model.
            precision: The requested precision.
            stage: A key of `STAGES`.
        """
        self.step, self.freed = None, ""  # None first, so that `watch_step` restarts the clock
        self.step = Loading(model, precision, stage, 0, 0)

    def watch_step(self, before: Loading | None, step: Loading | None) -> None:
        """Show or hide the line, and restart the seconds when a load begins."""
        self.set_class(step is not None, "-shown")
        self._told_at = self._clock()
        if before is None:
            self._began_at = self._told_at
            self.passed_s = self.glide = 0
        if self._timer is not None:
            (self._timer.pause if step is None else self._timer.resume)()

    def _tick(self) -> None:
        passed = self._clock() - self._began_at
        self.passed_s = int(passed)
        if self.app.animation_level != "none":
            self.glide = int(passed * _GLIDE)

    def render(self) -> Content:
        """Return the progress and, below it, a hint."""
        loading = self.step
        if loading is None:
            return Content("")
        width = self.size.width
        line = self._progress(loading, width)
        hint = f"{self.freed} {_WAITING}" if self.freed else _WAITING
        hint = hint if len(hint) <= width else _WAITING
        below = Content(hint).stylize("$text-muted")
        return Content("\n").join([line, below.truncate(width, ellipsis=True)])

    def _progress(self, loading: Loading, width: int) -> Content:
        name = safe_line(loading.model, 40)
        stage = STAGES.get(loading.stage, safe_line(loading.stage, 20))
        size = ""
        if loading.total:
            size = f" {_of(loading.done, loading.total)}"
        left = _time_left(loading, self._clock() - self._told_at) or f"{self.passed_s} s"
        left = left.rjust(_TIME)
        precision = "" if loading.precision == "auto" else f" in {loading.precision}"
        wordings = (
            f"Loading {name}{precision}   {stage}{size}",
            f"Loading {name}   {stage}{size}",
            f"{name}  {stage}{size}",
            f"{stage}{size}",
        )
        room = width - len(left) - 5
        words = next((text for text in wordings if len(text) <= room - _LEAST_BAR), wordings[-1])
        bar = room - len(words)
        if bar < 3:
            return Content(words + left.strip().rjust(max(0, width - len(words))))
        return Content.assemble(words, "   ", self._bar(bar, loading), f"  {left}")

    def _bar(self, width: int, loading: Loading) -> Content:
        """Return the bar: filled in proportion, or with a moving piece if the size is unknown."""
        start = 0
        if loading.total:
            filled = min(width, round(width * loading.done / loading.total))
        elif self.app.animation_level == "none":
            filled = 0
        else:
            filled = min(width, max(3, width // 6))
            free = max(1, width - filled)
            start = free - abs(free - self.glide % (2 * free))
        done, rest = ("█", "·") if has_few_colours(self.app) else ("━", "─")
        return Content.assemble(
            (rest * start, "$meter-free"),
            (done * filled, "$primary"),
            (rest * (width - start - filled), "$meter-free"),
        )


def _of(done: int, total: int) -> str:
    """Return a text such as `7.9 of 22.1 GiB`, padded to the same width throughout a stage."""
    whole = format_bytes(total)
    number, unit = whole.split()
    divisor = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}[unit]
    part = f"{done / divisor:.1f}" if "." in number else f"{done / divisor:.0f}"
    return f"{part.rjust(len(number))} of {whole}"


def _time_left(loading: Loading, since_s: float = 0.0) -> str:
    """Return the time that the stage still needs at the speed so far; empty if too early to say.

    Args:
        loading: The newest step.
        since_s: Seconds since the engine reported that step.
    """
    elapsed = loading.elapsed_s + since_s
    if not loading.total or not loading.done or elapsed < _SETTLED_S:
        return ""
    left = elapsed * (loading.total - loading.done) / loading.done
    if left >= 90:
        return f"{left / 60:.0f} min left"
    return f"{left:.0f} s left"
