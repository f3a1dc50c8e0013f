"""The help below the rows of the parameters panel: an explanation or an error, and the keys.

Its height is fixed, so that nothing moves when the text changes.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tui_chat.chat.params import ParamSpec, Preset
from tui_chat.errors import ParameterError
from tui_chat.ui.plain_text import plain

_KEYS = {
    "preset": "← → change   ⌫ resets",
    "seed": "0-9 type   r random",
    "stop": "type, Enter adds   ⌫ removes",
}
_NUMBER_KEYS = "← → step  0-9 type  ⌫ preset"
_EDITING_KEYS = "Enter takes it   Esc cancels"


class ParameterHelp(Vertical):
    """Help for the chosen row, and a line of keys."""

    def __init__(self) -> None:
        super().__init__()
        self._help = Static(id="parameter-help", markup=False)
        self._keys = Static(id="parameter-keys", markup=False)

    def compose(self) -> ComposeResult:
        """Compose the help and the line of keys below it."""
        yield self._help
        yield self._keys

    def show_parameter(self, spec: ParamSpec, maximum: float, editing: bool) -> None:
        """Explain a parameter.

        Args:
            spec: The declaration of the parameter.
            maximum: Its largest value for the loaded model.
            editing: Whether the user is typing a value.
        """
        note = ""
        if spec.kind in ("float", "int"):
            note = f"Range {spec.format(spec.minimum)} to {spec.format(maximum)}"
        elif spec.kind == "stop":
            note = "\\n is a new line, \\\\ a backslash"
        keys = _KEYS.get(spec.kind, _NUMBER_KEYS)
        self._show(spec.help, _EDITING_KEYS if editing else keys, note)

    def show_preset(self, preset: Preset | None) -> None:
        """Explain the row of the preset."""
        source = f" These are from {preset.source}." if preset and preset.source else ""
        self._show(
            f"A named set of values.{source} • marks what you changed since.", _KEYS["preset"]
        )

    def show_error(self, error: ParameterError) -> None:
        """Explain why a typed value is invalid, while the editor stays open."""
        self._show(f"{error.detail}. {error.hint}.", _EDITING_KEYS, is_error=True)

    def _show(self, text: str, keys: str, note: str = "", is_error: bool = False) -> None:
        self._help.set_class(is_error, "-error")
        quiet = plain(f"\n{note}" if note else "").stylize("$text-muted")
        self._help.update(plain(text) + quiet)
        self._keys.update(plain(keys))
