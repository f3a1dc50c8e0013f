"""The declaration of every setting: its default, its allowed values and its purpose.

The layers of `config`, `tui-chat doctor` and the documentation read it. The checks do not cover
whether a model, preset or theme of that name exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tui_chat.chat.known_names import PRECISION_NAMES, TEMPLATE_NAMES
from tui_chat.chat.params import MAX_CONTEXT
from tui_chat.config.strict_values import Check, one_of, text, truth, whole

LOG_LEVEL_VARIABLE = "TUI_CHAT_LOG"
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Settings:
    """The values of all settings.

    Each scalar also has an environment variable: `TUI_CHAT_` and its name in capitals.
    """

    model: str | None = None
    """None for the registry's default."""
    precision: str = "auto"
    device: str = "auto"
    template: str | None = None
    """None for the model's own."""
    context: int | None = None
    """None for the model's own."""
    reserve: int | None = None
    """None for the model's own."""
    preset: str | None = None
    """None for the model's own."""
    system: str = ""
    theme: str | None = None
    """None to follow the terminal's background."""
    save: bool = True
    data_use: bool = True
    """Whether new chats may be exported for training."""
    turbo: bool = True
    """Whether compiled code decodes replies where possible."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Sampling parameters that override the preset."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys by action id, in Textual's spelling; an empty tuple removes an action's keys."""


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """The declaration of a setting with a single value."""

    check: Check
    values: str
    """The allowed values, in words."""
    default: str
    """The value if it is not set, in words."""
    help: str
    """Its purpose, as one sentence."""


def _device(value: Any) -> str:
    name: str = text()(value)
    try:
        return str(text(pattern="^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")(name))
    except ValueError:
        raise ValueError("known are auto, cpu, mps, cuda and cuda:N") from None


SETTING_SPECS: Mapping[str, SettingSpec] = MappingProxyType(
    {
        "model": SettingSpec(
            text(1, 4096), "a name of models.toml, a directory, or a hub id",
            "`default` of models.toml", "The model to load.",
        ),
        "precision": SettingSpec(
            one_of("precision", PRECISION_NAMES), ", ".join(PRECISION_NAMES), "auto",
            "How the weights are kept in memory.",
        ),
        "device": SettingSpec(
            _device, "auto, cpu, cuda, cuda:N, mps", "auto", "Where the model runs.",
        ),
        "template": SettingSpec(
            one_of("template", TEMPLATE_NAMES), ", ".join(TEMPLATE_NAMES), "the model's",
            "How turns are written for the model.",
        ),
        "context": SettingSpec(
            whole(16, MAX_CONTEXT), "a whole number from 16", "the model's",
            "Most tokens of prompt and reply together; never more than the model was trained for.",
        ),
        "reserve": SettingSpec(
            whole(1, MAX_CONTEXT), "a whole number below the context", "the model's",
            "Tokens of the context that are kept free for the reply.",
        ),
        "preset": SettingSpec(
            text(1, 64), "the name of a preset", "the model's",
            "The sampling parameters to start from.",
        ),
        "system": SettingSpec(
            text(most=1_000_000), "a text", "none", "The system message of new chats.",
        ),
        "theme": SettingSpec(
            text(1, 64), "the name of a theme", "by the terminal's background", "The colours.",
        ),
        "save": SettingSpec(truth, "true, false", "true", "Whether chats are saved."),
        "data_use": SettingSpec(
            truth, "true, false", "true",
            "Whether new chats may be exported for training; `/datause` says it for one chat.",
        ),
        "turbo": SettingSpec(
            truth, "true, false", "true",
            "Whether replies are written by code compiled for the model, in the background.",
        ),
    }
)  # fmt: skip
"""The settings with a single value, in the order of their declaration."""
