"""The sampling parameters: names, ranges, steps, defaults, presets and parsing.

Each parameter is declared once; the parameters panel, the command line and the documentation read
the declaration. The engine turns the values into logits processors.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from tui_chat.errors import ParameterError

Kind = Literal["float", "int", "seed", "stop"]

MAX_CONTEXT = 1_048_576
"""The largest context that can be requested, in tokens; each model's own limit is lower."""


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """The declaration of one parameter."""

    name: str
    kind: Kind
    minimum: float | None
    """Smallest allowed value, inclusive; None if the kind has no range."""
    maximum: float | None
    """Largest allowed value, inclusive; None if the kind has no range."""
    step: float
    """Change per press of Left or Right."""
    big_step: float
    """Change per press of Shift+Left or Shift+Right."""
    default: Any
    off: float | None
    """The value that switches the parameter off; None if there is none."""
    help: str
    """Two short sentences: what it does, and what its extremes mean."""
    label: str = ""
    """Short name for narrow columns; empty to use the full name."""
    aliases: tuple[str, ...] = ()
    is_bounded_by_context: bool = False
    """Whether the model's context is the upper limit; `maximum` is then the limit for any model."""

    @property
    def range_text(self) -> str:
        """The allowed range in words, for help and errors."""
        if self.kind == "seed":
            return "a whole number from 0 to 2^64-1, or unset"
        if self.kind == "stop":
            return "up to 16 literal strings"
        is_open = self.is_bounded_by_context and self.maximum == MAX_CONTEXT
        high = "the context" if is_open else self.format(self.maximum)
        return f"{self.format(self.minimum)} to {high}"

    def within(self, context: int) -> ParamSpec:
        """Return the declaration for a model with a context of `context` tokens, at least 1."""
        if not self.is_bounded_by_context or self.maximum is None:
            return self
        return replace(self, maximum=min(self.maximum, max(1, context)))

    def format(self, value: Any) -> str:
        """Format a value as `parse` reads it; stop strings are formatted for display only."""
        if self.kind == "seed":
            return "random" if value is None else str(value)
        if self.kind == "stop":
            return ", ".join(repr(item) for item in value) if value else "none"
        if self.kind == "int":
            return str(int(value))
        return f"{float(value):.2f}"

    def display(self, value: Any) -> str:
        """Format a value for people: `off` if it switches the parameter off."""
        if self.off is not None and value == self.off:
            return "off"
        return self.format(value)

    def check(self, value: Any) -> Any:
        """Return the value in its canonical type.

        Raises:
            ParameterError: If the type is wrong or the value is out of range.
        """
        if self.kind == "stop":
            return self._check_stop(value)
        if self.kind == "seed" and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(value, "is not a number")
        if not math.isfinite(value):
            raise self._error(value, "is not a finite number")
        if self.kind in ("int", "seed"):
            if value != int(value):
                raise self._error(value, "is not a whole number")
            value = int(value)
        else:
            value = float(value)
        low = 0 if self.kind == "seed" else self.minimum
        high = 2**64 - 1 if self.kind == "seed" else self.maximum
        if self.is_bounded_by_context and high is not None and value > high:
            raise self._error(value, "is more than the context")
        if (low is not None and value < low) or (high is not None and value > high):
            raise self._error(value, "is out of range")
        return value

    def parse(self, text: str) -> Any:
        """Parse a value as typed: a number, `off`, `random`, or a stop string.

        Raises:
            ParameterError: If the text is not a valid value.
        """
        cleaned = text.strip()
        lowered = cleaned.lower()
        if self.kind == "stop":
            return () if lowered in ("", "none", "off") else self._check_stop((text,))
        if self.kind == "seed" and lowered in ("", "random", "unset", "none"):
            return None
        if lowered in ("off", "none") and self.off is not None:
            return self.check(self.off)
        try:
            number: int | float
            if self.kind == "float":
                number = float(cleaned)
            else:
                try:
                    number = int(cleaned)
                except ValueError:
                    number = float(cleaned)
        except ValueError:
            raise self._error(text, "is not a number") from None
        return self.check(number)

    def stepped(self, value: Any, direction: int, big: bool = False) -> Any:
        """Return the value one step down (-1) or up (+1), kept inside the range."""
        if self.kind not in ("float", "int") or self.minimum is None or self.maximum is None:
            return value
        step = self.big_step if big else self.step
        moved = round(float(value) + direction * step, 6)
        moved = min(max(moved, self.minimum), self.maximum)
        return self.check(int(moved) if self.kind == "int" else moved)

    def _check_stop(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = (value,)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise self._error(value, "is not a list of strings")
        if any(not v for v in value):
            raise self._error(value, "holds an empty string")
        if len(value) > 16:
            raise self._error(value, "holds more than 16 strings")
        return tuple(value)

    def _error(self, value: Any, problem: str) -> ParameterError:
        return ParameterError(
            f"{self.name} was not changed", f"{value!r} {problem}", f"Allowed: {self.range_text}"
        )


PARAM_SPECS: tuple[ParamSpec, ...] = (
    ParamSpec(
        "temperature", "float", 0.0, 2.0, 0.05, 0.25, 1.0, None,
        "Divides the logits before the softmax. 0 is greedy, higher is more random.",
    ),
    ParamSpec(
        "top_k", "int", 0, 1000, 1, 10, 50, 0,
        "Keeps only the k most probable tokens. 0 switches it off.",
        aliases=("k",),
    ),
    ParamSpec(
        "top_p", "float", 0.0, 1.0, 0.01, 0.1, 0.95, 1.0,
        "Keeps the smallest set of tokens whose probabilities add up to p. 1 switches it off.",
    ),
    ParamSpec(
        "min_p", "float", 0.0, 1.0, 0.01, 0.1, 0.0, 0.0,
        "Drops tokens less probable than p times the best one. 0 switches it off.",
    ),
    ParamSpec(
        "typical_p", "float", 0.0, 1.0, 0.01, 0.1, 1.0, 1.0,
        "Keeps tokens whose surprise is close to the expected one. 1 switches it off.",
    ),
    ParamSpec(
        "repetition_penalty", "float", 0.5, 3.0, 0.05, 0.25, 1.0, 1.0,
        "Makes tokens that were already used less likely. 1 switches it off.",
        label="repetition",
    ),
    ParamSpec(
        "max_new_tokens", "int", 1, MAX_CONTEXT, 16, 128, 512, None,
        "The longest reply, in tokens. The context is the upper limit.",
        label="max new", aliases=("output_length",), is_bounded_by_context=True,
    ),
    ParamSpec(
        "seed", "seed", None, None, 1, 1, None, None,
        "Starts the random numbers of a reply. Random draws a new one each time and stores it.",
    ),
    ParamSpec(
        "stop", "stop", None, None, 1, 1, (), None,
        "Literal strings that end the reply. The string itself is not shown.",
    ),
    ParamSpec(
        "speculate", "int", 0, 16, 1, 4, 0, 0,
        "Guesses tokens ahead from the text so far, and checks them at once; 0: off.",
    ),
)  # fmt: skip

SPECS: Mapping[str, ParamSpec] = MappingProxyType({spec.name: spec for spec in PARAM_SPECS})
_ALIASES = {alias: spec.name for spec in PARAM_SPECS for alias in spec.aliases}


def find_spec(name: str) -> ParamSpec:
    """Return the declaration of a parameter by its name or an alias.

    Raises:
        ParameterError: If there is none; the hint names similar ones.
    """
    key = name.strip().replace("-", "_")
    key = _ALIASES.get(key, key)
    if key in SPECS:
        return SPECS[key]
    near = _meant(key.lower())
    hint = f"Did you mean {' or '.join(near)}?" if near else "Known: " + ", ".join(SPECS)
    raise ParameterError(f"There is no parameter {name!r}", "", hint)


def _meant(key: str) -> list[str]:
    """Return the parameters that a name abbreviates, or else the most similar one."""
    short = [name for name in SPECS if len(key) > 1 and name.startswith(key)]
    close = difflib.get_close_matches(key, [*SPECS, *_ALIASES], n=1)
    part = [name for name in SPECS if len(key) > 2 and key in name]
    return short or close or part


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """The values that a reply is sampled with, checked against `PARAM_SPECS`."""

    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.95
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()
    speculate: int = 0

    def __post_init__(self) -> None:
        for spec in PARAM_SPECS:
            object.__setattr__(self, spec.name, spec.check(getattr(self, spec.name)))

    @property
    def is_greedy(self) -> bool:
        """Whether decoding always takes the most probable token."""
        return self.temperature == 0.0

    def within(self, context: int) -> SamplingParams:
        """Return the values with `max_new_tokens` limited to a context of `context` tokens."""
        longest = max(1, context)
        return self if self.max_new_tokens <= longest else replace(self, max_new_tokens=longest)

    def with_values(self, values: Mapping[str, Any]) -> SamplingParams:
        """Return a copy with some values replaced; names may be aliases.

        Raises:
            ParameterError: If a name is unknown or a value is out of range.
        """
        return replace(self, **{find_spec(name).name: value for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, in the order of declaration."""
        return {
            f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v
            for f in fields(self)
        }


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parse `name=value` as typed after `--set` or `/set`.

    Raises:
        ParameterError: If there is no `=`, or the name or value is not valid.
    """
    name, separator, value = text.partition("=")
    if not separator:
        raise ParameterError(
            f"{text!r} is not a setting", "It has no '='", "Write name=value, as temperature=0.7"
        )
    spec = find_spec(name)
    return spec.name, spec.parse(value)


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of parameter values; the others are those of `NEUTRAL`."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    """Where the values come from, for help texts."""

    def params(self) -> SamplingParams:
        """Return the complete parameters of the preset."""
        return NEUTRAL.with_values(self.values)

    @property
    def has_own_length(self) -> bool:
        """Whether its author chose its `max_new_tokens`, rather than the program."""
        shipped = BUILTIN_PRESETS.get(self.name)
        usual = NEUTRAL if shipped is None else shipped.params()
        return self.params().max_new_tokens != usual.max_new_tokens

    def check_within(self, context: int) -> None:
        """Check that a user's preset does not ask for replies longer than the context.

        Shipped presets and defaults apply to any model, so they always pass;
        `SamplingParams.within` limits their `max_new_tokens` instead.

        Raises:
            ParameterError: If its `max_new_tokens` is its own and exceeds `context`.
        """
        asked = self.params().max_new_tokens
        if asked > context and self.has_own_length:
            raise ParameterError(
                f"The preset {self.name!r} does not fit",
                f"Its max_new_tokens, {asked}, is more than the context",
                f"Allowed: {SPECS['max_new_tokens'].within(context).range_text}",
            )


NEUTRAL = SamplingParams(top_k=0, top_p=1.0)
"""Plain sampling from the model's distribution, with every filter off."""

_OA = "Open Assistant inference"


def _preset(name: str, source: str, **values: Any) -> Preset:
    return Preset(name, MappingProxyType(values), source)


BUILTIN_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _preset("k50", _OA, top_k=50, top_p=0.95, temperature=0.75, repetition_penalty=1.2,
                    max_new_tokens=1024),
            _preset("k50-creative", _OA, top_k=50, top_p=0.95, temperature=0.85,
                    repetition_penalty=1.2, max_new_tokens=1024),
            _preset("k50-precise", _OA, top_k=50, top_p=0.95, temperature=0.1,
                    repetition_penalty=1.2, max_new_tokens=1024),
            _preset("k50-original", _OA, top_k=50, top_p=0.95, temperature=0.9,
                    repetition_penalty=1.2, max_new_tokens=1024),
            _preset("nucleus9", _OA, top_p=0.9, temperature=0.8, repetition_penalty=1.2,
                    max_new_tokens=1024),
            _preset("typical2", _OA, typical_p=0.2, temperature=0.8, repetition_penalty=1.2,
                    max_new_tokens=1024),
            _preset("typical3", _OA, typical_p=0.3, temperature=0.8, repetition_penalty=1.2,
                    max_new_tokens=1024),
            _preset("greedy", "argmax decoding", temperature=0.0),
            _preset("petals", "Petals Chat", temperature=0.75, top_p=0.9),
        )
    }
)  # fmt: skip
"""The presets that ship with the program, by name."""
