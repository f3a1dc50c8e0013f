"""The budget meter: one stacked bar of what fills the context, with its numbers.

Owns how token counts become cells and words. Counts nothing itself and decides nothing: what is
sent, reserved and dropped comes in as `MeterValues`.
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
"""Below this width there is no legend."""
SHORT_COLUMNS = 90
"""Below this width the legend is short."""
_BLINK_S = 0.25
_LEAST_BAR = 4


@dataclass(frozen=True, slots=True)
class MeterValues:
    """What fills the context, in tokens, all 0 or more.

    The five parts add up to `context`, unless the draft is too long: then `free` is 0 and they
    add up to more.
    """

    context: int
    """Positions the model has."""
    system: int
    """The system message."""
    history: int
    """The turns that are sent."""
    draft: int
    """The message being typed, with its role tags."""
    reserve: int
    """Room kept for the reply."""
    free: int
    """What is left."""
    dropped_turns: int = 0
    """Older turns that would not be sent with this draft."""
    dropped_tokens: int = 0
    """Their tokens."""
    exact: bool = True
    """Whether the draft was counted by the tokenizer; False while that is under way."""
    too_long: bool = False
    """Whether system message, draft and reserve alone do not fit the context."""
    pushed_turns: int | None = None
    """How many of the dropped turns this draft is to blame for; None counts them all."""
    excess: int = 0
    """By how many tokens the draft is too long; 0 where the parts themselves say it."""

    @property
    def used(self) -> int:
        """Everything but the free room."""
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
    """What draws the part where colours cannot tell the parts apart."""
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

    The cells add up to `width`, each part that is not zero gets at least one cell if there are
    enough of them, and a part that grows at the cost of a later one never loses a cell. Rounding
    the boundaries instead of the lengths is what makes that so.

    Args:
        parts: Sizes, 0 or more.
        width: Cells of the bar, 0 or more.

    Returns:
        Cells of each part; all zero where every part is.
    """
    total = sum(parts)
    if total <= 0 or width <= 0:
        return [0] * len(parts)
    least = [int(part > 0) for part in parts]
    if sum(least) > width:
        least = [0] * len(parts)
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
    """The bar, its total and its legend; two lines high, one in narrow terminals.

    Set `values` to what the context holds, or None while no tokenizer is there to count. Set
    `status` to what stands at the right of the legend; a warning takes its place.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    TokenMeter {
        width: 1fr;
        height: 2;
        text-wrap: nowrap;
        text-overflow: clip;
        &.-narrow { height: 1; }
    }
    """

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
        """Say the first values in words."""
        self._describe(self.values)

    def on_resize(self, event: events.Resize) -> None:
        """Give the legend up where there is no room for it."""
        self.set_class(event.size.width < NARROW_COLUMNS, "-narrow")

    def watch_values(self, old: MeterValues | None, new: MeterValues | None) -> None:
        """Blink once when more turns fall out than before."""
        self._describe(new)
        before = old.dropped_turns if old is not None else 0
        pushes_more = new is not None and new.overflow and new.dropped_turns > before
        if pushes_more and self.app.animation_level != "none":
            self._blinking = True
            self.set_timer(_BLINK_S, self._stop_blinking)

    def _stop_blinking(self) -> None:
        self._blinking = False

    def _describe(self, values: MeterValues | None) -> None:
        """Put the numbers, whose legend may be short or missing, into the tooltip."""
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
        """The bar and, where there is room, the legend."""
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
        """The sum and the context, in a room that stays the same while numbers change."""
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
        """Cells that `status` can have beside the legend; 0 where there is no legend."""
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
        """Two texts at the two ends of a line; the left one gives way."""
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
            if part.label == "draft":  # changes with every key; what follows must not move
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
