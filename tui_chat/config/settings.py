"""Every setting: its default, what it may be, and what it is for.

One declaration, read by the layers of `config`, by `tui-chat doctor` and by the documentation.
Refuses to know where a value comes from. Whether a model, preset or theme of some name exists is
for others to say.
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
    """Every setting. Scalars can also be set as `TUI_CHAT_` and the name in capitals."""

    model: str | None = None
    """None is the registry's default."""
    precision: str = "auto"
    device: str = "auto"
    template: str | None = None
    """None is the model's own."""
    context: int | None = None
    """None is the model's."""
    reserve: int | None = None
    """None is the model's."""
    preset: str | None = None
    """None is the preset of the model."""
    system: str = ""
    theme: str | None = None
    """None follows the terminal's background."""
    save: bool = True
    data_use: bool = True
    """Whether new chats may leave through an export for training."""
    turbo: bool = True
    """Whether replies are decoded by compiled code where that is possible."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Sampling parameters laid over the preset."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys by action id, in Textual's spelling; no keys switch an action's keys off."""


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """The declaration of a setting with one value."""

    check: Check
    values: str
    """What it may be, in words."""
    default: str
    """What holds without it, in words."""
    help: str
    """What it is for, as one sentence."""


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
"""The settings with one value, in the order of their declaration."""
