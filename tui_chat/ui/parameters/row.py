"""One row of the parameters panel, with marks, name, value and bar, and the editor for its value.

The layout of a row and the meaning of a click on its bar are decided here. A row changes no value;
it posts the user's input to the panel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Input

from tui_chat.chat.params import ParamSpec
from tui_chat.safe_text import safe_line
from tui_chat.ui.themes import has_few_colours

_MARKS, _LABEL, _VALUE, _GAP = 2, 11, 8, 1
_BAR_START = _MARKS + _LABEL + _VALUE + _GAP
_LONGEST_BAR = 40
# Useful values of top-k lie far below its maximum, so its bar grows with the square root.
_CURVES = {"top_k": 0.5}
_ARROWS = {"‹": -1, "›": 1}


def share_of(spec: ParamSpec, value: float, maximum: float) -> float:
    """Return the share of the bar that a value fills, 0 to 1.

    Args:
        spec: The declaration of the parameter.
        value: The value.
        maximum: Its largest value for the loaded model.
    """
    low = spec.minimum or 0.0
    share = (value - low) / (maximum - low) if maximum > low else 0.0
    return math.pow(min(max(share, 0.0), 1.0), _CURVES.get(spec.name, 1.0))


def value_at(spec: ParamSpec, share: float, maximum: float) -> float:
    """Return the value that fills a share of the bar, rounded to the parameter's step.

    Args:
        spec: The declaration of the parameter.
        share: The share of the bar; it is clamped to 0 to 1.
        maximum: The largest value for the loaded model.
    """
    low = spec.minimum or 0.0
    linear = math.pow(min(max(share, 0.0), 1.0), 1 / _CURVES.get(spec.name, 1.0))
    exact = (maximum - low) * linear
    stepped = low + round(exact / spec.step) * spec.step
    return round(min(max(stepped, low), maximum), 6)


@dataclass(frozen=True, slots=True)
class RowState:
    """The state that a row shows."""

    text: str
    """The value as text."""
    share: float | None = None
    """How much of the bar is filled, 0 to 1; None for a row without a bar."""
    changed: bool = False
    """Whether the value differs from the preset's."""
    chosen: bool = False
    """Whether the keys act on this row."""
    off: bool = False
    """Whether the value switches the parameter off."""


class ParameterRow(Widget):
    """One parameter, or the preset, on one line."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "parameter-row--mark",
        "parameter-row--label",
        "parameter-row--label-chosen",
        "parameter-row--value",
        "parameter-row--changed",
        "parameter-row--off",
        "parameter-row--bar",
        "parameter-row--bar-chosen",
        "parameter-row--bar-off",
        "parameter-row--track",
        "parameter-row--track-chosen",
    }
    state: reactive[RowState] = reactive(RowState(""))

    class Pressed(Message):
        """Posted when the mouse button is pressed on the row, or moved while held on its bar.

        Args:
            row: The row.
            share: The place on its bar, 0 to 1; None beside the bar.
            direction: -1 or 1 on an arrow, else 0.
        """

        def __init__(self, row: ParameterRow, share: float | None, direction: int = 0) -> None:
            super().__init__()
            self.row = row
            self.share = share
            self.direction = direction

        @property
        def control(self) -> ParameterRow:
            """The row."""
            return self.row

    class Wheel(Message):
        """Posted when the wheel turns over the value or the bar.

        Args:
            row: The row.
            direction: 1 for up, -1 for down.
            big: Whether Shift asks for big steps.
        """

        def __init__(self, row: ParameterRow, direction: int, big: bool) -> None:
            super().__init__()
            self.row = row
            self.direction = direction
            self.big = big

        @property
        def control(self) -> ParameterRow:
            """The row."""
            return self.row

    def __init__(self, key: str, label: str) -> None:
        super().__init__()
        self.key = key
        self.label = label

    def watch_state(self, state: RowState) -> None:
        """Set the class `-chosen` of the chosen row for the stylesheet."""
        self.set_class(state.chosen, "-chosen")

    def render(self) -> Content:
        """Draw the row."""
        state, style = self.state, self._style
        label = "parameter-row--label-chosen" if state.chosen else "parameter-row--label"
        value = "parameter-row--off" if state.off else "parameter-row--value"
        if state.changed:
            value = "parameter-row--changed"
        return Content.assemble(
            ("›" if state.chosen else " ", style("parameter-row--mark")),
            ("•" if state.changed else " ", style("parameter-row--mark")),
            (f"{self.label:{_LABEL}}", style(label)),
            *self._value(style(value)),
        )

    def _style(self, name: str) -> Style:
        return self.get_visual_style(name, partial=True)

    def _value(self, style: Style) -> list[tuple[str, Style]]:
        state = self.state
        text = safe_line(state.text)
        if state.share is not None:
            pieces = [(f"{text:>{_VALUE}}", style), (" " * _GAP, Style())]
            return pieces + self._bar(state.share)
        room = self.size.width - _MARKS - _LABEL - 1
        if len(text) <= _VALUE - 1:
            return [(f"{text:>{_VALUE}}", style)]
        return [(" " + Content(text).truncate(max(1, room), ellipsis=True).plain, style)]

    # The bar --------------------------------------------------------------------------------------

    @property
    def _bar_width(self) -> int:
        return max(0, min(self.size.width - _BAR_START, _LONGEST_BAR))

    def _bar(self, share: float) -> list[tuple[str, Style]]:
        """Draw the bar in half cells, with the same characters as the budget meter.

        Where colours cannot tell the bar from its track, it is drawn as blocks of whole cells.
        """
        cells = self._bar_width
        name = "parameter-row--bar"
        if self.state.off:
            name += "-off"
        elif self.state.chosen:
            name += "-chosen"
        track = self._style(f"parameter-row--track{'-chosen' if self.state.chosen else ''}")
        if has_few_colours(self.app):
            full = round(share * cells)
            return [("█" * full, self._style(name)), ("░" * (cells - full), track)]
        full, half = divmod(round(share * cells * 2), 2)
        bar = "━" * full + "╸" * half
        return [(bar, self._style(name)), ("─" * (cells - len(bar)), track)]

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Choose the row; on the bar also set the value, and follow the mouse from there."""
        # A press on the value's editor, a child of the row, arrives here as well.
        here, _ = self.screen.get_widget_at(*event.screen_offset)
        if event.button != 1 or here is not self:
            return
        share = self._share_at(event.x)
        self.post_message(self.Pressed(self, share, self._arrow_at(event.x)))
        if share is not None:
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse while its button is held on the bar."""
        if self.app.mouse_captured is self:
            self.post_message(self.Pressed(self, self._share_at(event.x, anywhere=True)))

    def on_mouse_up(self) -> None:
        """Stop following the mouse."""
        self.release_mouse()

    def _arrow_at(self, x: int) -> int:
        """Return the direction of the arrow at a column; 0 if there is none."""
        if not self.state.text.startswith("‹"):
            return 0
        line = self.render().plain
        return _ARROWS.get(line[x], 0) if _MARKS + _LABEL <= x < len(line) else 0

    def _share_at(self, x: int, anywhere: bool = False) -> float | None:
        cells = self._bar_width
        if self.state.share is None or cells < 2:
            return None
        if not anywhere and not _BAR_START <= x < _BAR_START + cells:
            return None
        return min(max((x - _BAR_START) / (cells - 1), 0.0), 1.0)

    def _turned(self, event: events.MouseEvent, direction: int) -> None:
        # Over the name, the wheel scrolls the panel as usual.
        if event.x >= _MARKS + _LABEL and self.state.share is not None:
            event.stop()
            event.prevent_default()
            self.post_message(self.Wheel(self, direction, event.shift))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Ask for one step up."""
        self._turned(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Ask for one step down."""
        self._turned(event, -1)


class ValueEditor(Input):
    """The input for a value; Enter posts `Submitted`, Esc posts `Cancelled`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", show=False)]

    class Cancelled(Message):
        """Posted when the value should stay as it was."""

    def __init__(self, spec: ParamSpec, text: str) -> None:
        super().__init__(text, compact=True, select_on_focus=False)
        self.spec = spec
        self.cursor_position = len(text)

    def action_cancel(self) -> None:
        """Post `Cancelled`."""
        self.post_message(self.Cancelled())
