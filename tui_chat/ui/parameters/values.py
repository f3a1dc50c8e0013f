"""The values that the parameters panel shows: against their preset, within the model's context.

Owns what a step, a typed text and a preset make of them. Shows nothing and posts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tui_chat.chat.params import PARAM_SPECS, ParamSpec, Preset, SamplingParams
from tui_chat.errors import ParameterError
from tui_chat.ui.parameters.row import RowState, share_of


@dataclass(frozen=True)
class ParameterValues:
    """Parameters with what they are compared with."""

    params: SamplingParams
    preset: str
    """Name of the preset they started from; empty or unknown for none."""
    presets: Mapping[str, Preset]
    context: int
    """Positions of the model, which bound `max_new_tokens`."""

    @cached_property
    def baseline(self) -> SamplingParams:
        """The values of the preset, which changes are marked against and Backspace returns to."""
        preset = self.presets.get(self.preset)
        return (SamplingParams() if preset is None else preset.params()).within(self.context)

    def of(self, spec: ParamSpec) -> Any:
        """The value of one parameter."""
        return getattr(self.params, spec.name)

    def default(self, spec: ParamSpec) -> Any:
        """The value of one parameter in the preset."""
        return getattr(self.baseline, spec.name)

    def maximum(self, spec: ParamSpec) -> float:
        """The largest value of a parameter for the model at hand."""
        if spec.name == "max_new_tokens":
            return max(1, self.context)
        return spec.maximum or 0.0

    def stepped(self, spec: ParamSpec, direction: int, big: bool) -> Any:
        """The value one step further (1) or back (-1)."""
        value = spec.stepped(self.of(spec), direction, big)
        if spec.kind in ("float", "int"):
            value = spec.check(min(value, self.maximum(spec)))
        return value

    def parsed(self, spec: ParamSpec, text: str) -> Any:
        """The value that a typed text stands for; of the stop strings, with one more.

        Raises:
            ParameterError: If it is no value, or out of range.
        """
        if spec.kind == "stop":
            return self._with_stop(spec, text)
        value = spec.parse(text)
        if spec.name == "max_new_tokens" and value > self.maximum(spec):
            raise ParameterError(
                f"{spec.name} was not changed",
                f"{value} is more than the context",
                f"Allowed: 1 to {self.context}",
            )
        return value

    def _with_stop(self, spec: ParamSpec, text: str) -> tuple[str, ...]:
        """The stop strings and one more; nothing typed adds nothing."""
        pieces = (piece.replace("\\n", "\n").replace("\\t", "\t") for piece in text.split("\\\\"))
        added = "\\".join(pieces)
        if not added or added in self.params.stop:
            return self.params.stop
        return tuple(spec.check((*self.params.stop, added)))

    def next_preset(self, direction: int) -> str:
        """The name of the next preset (1) or the one before (-1), round and round."""
        names = list(self.presets)
        here = names.index(self.preset) if self.preset in names else -max(direction, 0)
        return names[(here + direction) % len(names)]

    def preset_state(self, chosen: bool) -> RowState:
        """What the row of the preset shows; a star says that something was changed since."""
        is_changed = any(self.of(spec) != self.default(spec) for spec in PARAM_SPECS)
        name = f"{self.preset or 'none'}{' *' if is_changed else ''}"
        return RowState(f"‹ {name} ›", chosen=chosen)

    def state(self, spec: ParamSpec, chosen: bool) -> RowState:
        """What the row of a parameter shows.

        Args:
            spec: Which one.
            chosen: Whether the keys act on it.
        """
        value, share = self.of(spec), None
        if spec.kind in ("float", "int"):
            share = share_of(spec, value, self.maximum(spec))
        return RowState(
            spec.display(value),
            share,
            changed=value != self.default(spec),
            chosen=chosen,
            off=spec.off is not None and value == spec.off,
        )
