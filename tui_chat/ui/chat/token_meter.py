"""The token meter: a stacked bar of how the context is used, with a legend.

The widget only draws. The counts of what is sent, reserved and dropped come in as `MeterValues`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.ui.plain_text import plain
from tui_chat.ui.themes import has_few_colours
from tui_chat.ui.widgets.numbers import grouped

NARROW_COLUMNS = 48
"""Below this many columns the meter has no legend."""
SHORT_COLUMNS = 90
"""Below this many columns the legend uses short labels and leaves out the free part."""
_BLINK_S = 0.25
"""Seconds for which the history part changes its colour when more turns are dropped."""
_LEAST_BAR = 4
"""Least width of the bar, in cells; with less room only the total is shown."""


@dataclass(frozen=True, slots=True)
class MeterValues:
    """How the context is used, in tokens; all counts are 0 or more.

    `system`, `history`, `draft`, `reserve` and `free` add up to `context`. If the draft is too
    long, `free` is 0 and the sum is larger.
    """

    context: int
    """Context length of the model."""
    system: int
    """The system message."""
    history: int
    """The turns that are sent."""
    draft: int
    """The message being typed, with its role tags."""
    reserve: int
    """Room kept for the reply."""
    free: int
    """The unused rest of the context."""
    dropped_turns: int = 0
    """Number of older turns that would not be sent with this draft."""
    dropped_tokens: int = 0
    """Number of tokens in the dropped turns."""
    exact: bool = True
    """Whether these counts belong to the present draft; False until a newer draft is counted."""
    too_long: bool = False
    """Whether the draft does not fit even with all earlier turns dropped."""
    pushed_turns: int | None = None
    """How many of the dropped turns would still be sent without this draft; None for all."""
    excess: int = 0
    """Tokens by which the draft is too long; if 0, the meter uses `used - context`."""

    @property
    def used(self) -> int:
        """The sum of all parts but `free`."""
        return self.system + self.history + self.draft + self.reserve

    @property
    def overflow(self) -> bool:
        """Whether sending the draft would push turns out of the context."""
        pushed = self.dropped_turns if self.pushed_turns is None else self.pushed_turns
        return pushed > 0 and not self.too_long

    @property
    def parts(self) -> tuple[int, ...]:
        """The five parts in the order of the bar."""
        return (self.system, self.history, self.draft, self.reserve, self.free)


class _Part(NamedTuple):
    label: str
    short: str
    shade: str
    """The character that draws the part where the terminal has too few colours."""
    style: str


_PARTS = (
    _Part("system", "sys", "█", "$meter-system"),
    _Part("history", "hist", "▓", "$meter-history"),
    _Part("draft", "draft", "▒", "$meter-draft"),
    _Part("reply", "reply", "░", "$meter-reserve"),
    _Part("free", "free", "·", "$meter-free"),
)
_HISTORY = _PARTS[1]
_FREE, _LABEL, _NUMBER = "$meter-free", "$text-muted", "$foreground"
_FILLED, _EMPTY = "━", "─"


def partition(parts: Sequence[int], width: int) -> list[int]:
    """Divide a bar of `width` cells among parts, in their order.

    The cells add up to `width`. Each part that is not zero gets at least one cell if the bar has
    enough of them, and a part that grows at the expense of a later one never loses a cell. Both
    hold because the boundaries between the parts are rounded, not their lengths.

    Args:
        parts: The sizes of the parts, 0 or more.
        width: The length of the bar in cells, 0 or more.

    Returns:
        The number of cells of each part; all zero if every part or the width is 0.
    """
    total = sum(parts)
    if total <= 0 or width <= 0:
        return [0] * len(parts)
    least = [int(part > 0) for part in parts]
    if sum(least) > width:
        least = [0] * len(parts)
    # Forwards, put each boundary at its rounded place or one cell after the one before. That can
    # push boundaries beyond the bar; backwards, pull them in again, leaving room for later parts.
    ends: list[int] = []
    running = end = 0
    for part, smallest in zip(parts, least, strict=True):
        running += part
        rounded = (2 * running * width + total) // (2 * total)
        end = max(rounded, end + smallest) if part else end
        ends.append(end)
    limit = width
    for index in range(len(parts) - 1, -1, -1):
        ends[index] = limit = min(ends[index], limit)
        limit -= least[index]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


class TokenMeter(Widget):
    """The bar with its total, and the legend below; one line without a legend if narrow.

    Set `values` to the use of the context, or to None while no tokenizer is loaded. Set `status`
    to the text at the right of the legend; a warning about the draft replaces it.
    """

    ALLOW_SELECT = False
    values: reactive[MeterValues | None] = reactive(None)
    status: reactive[Content] = reactive(Content(""))
    _blinking: reactive[bool] = reactive(False)

    def __init__(
        self,
        values: MeterValues | None = None,
        *,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - the name Textual uses
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.set_reactive(TokenMeter.values, values)

    def on_mount(self) -> None:
        """Set the first tooltip."""
        self._describe(self.values)

    def on_resize(self, event: events.Resize) -> None:
        """Remove the legend below `NARROW_COLUMNS`."""
        self.set_class(event.size.width < NARROW_COLUMNS, "-narrow")

    def watch_values(self, old: MeterValues | None, new: MeterValues | None) -> None:
        """Update the tooltip, and blink once if the draft now pushes more turns out."""
        self._describe(new)
        before = old.dropped_turns if old is not None else 0
        pushes_more = new is not None and new.overflow and new.dropped_turns > before
        if pushes_more and self.app.animation_level != "none":
            self._blinking = True
            self.set_timer(_BLINK_S, self._stop_blinking)

    def _stop_blinking(self) -> None:
        self._blinking = False

    def _describe(self, values: MeterValues | None) -> None:
        """Put all counts into the tooltip, since the legend may be short or missing."""
        if values is None:
            self.tooltip = plain("What the model will see. Counting when the model is loaded.")
            return
        rows = (
            f"{part.label:8}{grouped(n):>8}" for part, n in zip(_PARTS, values.parts, strict=True)
        )
        dropped = ""
        if values.dropped_turns:
            dropped = f"\n{_turns(values)} not sent ({grouped(values.dropped_tokens)} tokens)"
        self.tooltip = plain("What the model will see, in tokens\n" + "\n".join(rows) + dropped)

    # Drawing --------------------------------------------------------------------------------------

    def render(self) -> Content:
        """Return the bar and, where there is room, the legend."""
        width = self.size.width
        bar = self._bar_line(width)
        if width < NARROW_COLUMNS:
            return bar
        return Content("\n").join([bar, self._legend_line(width)])

    def _bar_line(self, width: int) -> Content:
        values = self.values
        total = self._total(self._short_alert(values) if width < NARROW_COLUMNS else "")
        if total.cell_length > width - _LEAST_BAR:
            total = self._total("")
        bar = width - total.cell_length
        if bar < _LEAST_BAR:
            return total.right_crop(-bar) if bar < 0 else total.pad_left(bar)
        if values is None:
            empty = _PARTS[-1].shade if has_few_colours(self.app) else _EMPTY
            return Content.assemble((empty * bar, _FREE), total)
        cells = partition(values.parts, bar)
        pieces = [
            (self._glyph(part) * count, self._part_style(part, values))
            for part, count in zip(_PARTS, cells, strict=True)
        ]
        return Content.assemble(*pieces, total)

    def _glyph(self, part: _Part) -> str:
        if has_few_colours(self.app):
            return part.shade
        return _EMPTY if part is _PARTS[-1] else _FILLED

    def _part_style(self, part: _Part, values: MeterValues) -> str:
        if values.too_long:
            return "$error" if part.label == "draft" else part.style
        if part is _HISTORY and values.overflow:
            return _FREE if self._blinking else "$warning"
        return part.style

    def _total(self, alert: str) -> Content:
        """Return the used tokens and the context length, with a width that stays constant."""
        values = self.values
        if values is None:
            return Content("")
        context = grouped(values.context)
        used = grouped(values.used).rjust(len(context))
        return Content.assemble(
            (f"  {alert}" if alert else "", self._state_style(values)),
            (" " if values.exact else " ≈", _LABEL),
            (" " if values.exact else "", _LABEL),
            (used, self._state_style(values)),
            (f" / {context}", _LABEL),
        )

    def _state_style(self, values: MeterValues) -> str:
        if values.too_long:
            return "$error"
        return "$warning" if values.overflow else _NUMBER

    @property
    def status_room(self) -> int:
        """Width that `status` can take beside the legend, in cells; 0 if there is no legend."""
        width = self.size.width
        if width < NARROW_COLUMNS or self.values is None:
            return max(0, width - 36) if width >= NARROW_COLUMNS else 0
        legend = self._legend(self.values, width < SHORT_COLUMNS)
        return max(0, width - legend.cell_length - 2)

    def _legend_line(self, width: int) -> Content:
        values = self.values
        if values is None:
            return self._beside(
                Content.assemble(("counting when the model is loaded", _LABEL)), self.status, width
            )
        right = self._alert(values) or self.status
        return self._beside(self._legend(values, width < SHORT_COLUMNS), right, width)

    def _beside(self, left: Content, right: Content, width: int) -> Content:
        """Put two texts at the ends of a line, cutting the left one if both do not fit."""
        right = right.truncate(width, ellipsis=True)
        room = max(0, width - right.cell_length - (2 if right else 0))
        left = left.truncate(room, ellipsis=True)
        gap = width - left.cell_length - right.cell_length
        return Content.assemble(left, " " * gap, right)

    def _legend(self, values: MeterValues, short: bool) -> Content:
        pieces: list[tuple[str, str]] = []
        for part, count in zip(_PARTS, values.parts, strict=True):
            if short and part is _PARTS[-1]:
                continue
            mark = part.shade if has_few_colours(self.app) else "▎"
            shown = grouped(count)
            if part.label == "draft":  # it changes with every key, so pad it to hold the rest still
                shown = f"{'' if values.exact else '≈'}{shown}".ljust(3)
            pieces += [
                ("  " if pieces else "", _LABEL),
                (mark, self._part_style(part, values)),
                (f"{part.short if short else part.label} ", _LABEL),
                (shown, _NUMBER),
            ]
        return Content.assemble(*pieces)

    def _alert(self, values: MeterValues) -> Content | None:
        if values.too_long:
            over = values.excess or max(1, values.used - values.context)
            text = f"{grouped(over)} token{'s' if over != 1 else ''} too long to send"
        elif values.overflow:
            text = f"{_turns(values)} will not be sent"
        else:
            return None
        return Content.assemble((text, self._state_style(values)))

    def _short_alert(self, values: MeterValues | None) -> str:
        if values is None:
            return ""
        if values.too_long:
            return "too long"
        return f"{values.dropped_turns} out" if values.overflow else ""


def _turns(values: MeterValues) -> str:
    return f"{values.dropped_turns} turn{'s' if values.dropped_turns != 1 else ''}"
