"""Values for the parameters panel: steps, typed text and presets, within the model's context.

This is computation without widgets.
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
    """Sampling parameters, with the preset that they are compared with."""

    params: SamplingParams
    preset: str
    """Name of the preset they are compared with; empty or unknown for none."""
    presets: Mapping[str, Preset]
    context: int
    """Context length of the model in tokens, the upper limit of `max_new_tokens`."""

    @cached_property
    def baseline(self) -> SamplingParams:
        """The preset's values, which decide what counts as changed and what Backspace restores."""
        preset = self.presets.get(self.preset)
        return (SamplingParams() if preset is None else preset.params()).within(self.context)

    def of(self, spec: ParamSpec) -> Any:
        """Return the value of a parameter."""
        return getattr(self.params, spec.name)

    def default(self, spec: ParamSpec) -> Any:
        """Return the preset's value of a parameter."""
        return getattr(self.baseline, spec.name)

    def maximum(self, spec: ParamSpec) -> float:
        """Return the largest value of a parameter for the loaded model."""
        if spec.name == "max_new_tokens":
            return max(1, self.context)
        return spec.maximum or 0.0

    def stepped(self, spec: ParamSpec, direction: int, big: bool) -> Any:
        """Return the value one step up (1) or down (-1).

        Args:
            spec: The declaration of the parameter.
            direction: 1 or -1.
            big: Whether to take a big step.
        """
        value = spec.stepped(self.of(spec), direction, big)
        if spec.kind in ("float", "int"):
            value = spec.check(min(value, self.maximum(spec)))
        return value

    def parsed(self, spec: ParamSpec, text: str) -> Any:
        """Return the value of a typed text; for the stop strings, the old ones and the typed one.

        Raises:
            ParameterError: If it is not a value of the parameter, or out of range.
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
        """Return the stop strings with the typed one added; an empty one adds nothing."""
        pieces = (piece.replace("\\n", "\n").replace("\\t", "\t") for piece in text.split("\\\\"))
        added = "\\".join(pieces)
        if not added or added in self.params.stop:
            return self.params.stop
        return tuple(spec.check((*self.params.stop, added)))

    def next_preset(self, direction: int) -> str:
        """Return the name of the next preset (1) or the previous one (-1), wrapping around."""
        names = list(self.presets)
        here = names.index(self.preset) if self.preset in names else -max(direction, 0)
        return names[(here + direction) % len(names)]

    def preset_state(self, chosen: bool) -> RowState:
        """Return the state of the preset's row; a star means that values differ from the preset."""
        is_changed = any(self.of(spec) != self.default(spec) for spec in PARAM_SPECS)
        name = f"{self.preset or 'none'}{' *' if is_changed else ''}"
        return RowState(f"‹ {name} ›", chosen=chosen)

    def state(self, spec: ParamSpec, chosen: bool) -> RowState:
        """Return the state of a parameter's row.

        Args:
            spec: The declaration of the parameter.
            chosen: Whether the keys act on this row.
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
