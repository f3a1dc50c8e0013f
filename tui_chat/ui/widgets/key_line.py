"""The footer: the keys that work now, on one line, for the chat and for modal screens.

It is one widget and not one per key, so that it can follow every change of focus without being
composed again.
"""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from tui_chat.actions import ACTIONS, Action
from tui_chat.ui.keys.bindings import short_key
from tui_chat.ui.plain_text import plain_line

_FOOTER = {action.id: action for action in ACTIONS if action.footer}
_FIRST = ("stop", "prompt", "transcript", "parameters", "app")
"""The order of the keys: Esc, then the scopes of the focused widgets, then the keys that always
work."""


class KeyLine(Widget):
    """A line such as `Esc Stop   F1 Help   …`; a click on a key presses it.

    Args:
        label_of: Returns the word for an action in the current state; empty leaves it out.
    """

    ALLOW_SELECT = False

    def __init__(self, label_of: Callable[[Action], str]) -> None:
        super().__init__()
        self._label_of = label_of
        self._places: list[tuple[int, int, str]] = []
        self._shown = Content("")

    def on_mount(self) -> None:
        """Redraw the line whenever the screen's bindings change."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _screen: Screen[object]) -> None:
        self.refresh()

    def render(self) -> Content:
        """Draw as many keys as fit, in order; under a dialog, the line stays as it was."""
        if not self.screen.is_current:
            return self._shown
        gap = 3 if self.size.width >= 70 else 2
        pieces: list[Content] = []
        self._places = []
        column = 0
        for key, label in self._keys():
            shown = self._written(key)
            piece = Content.assemble(
                (shown, "$primary bold"), " ", plain_line(label).stylize("$text-muted")
            )
            needed = piece.cell_length + (gap if pieces else 0)
            if column + needed > self.size.width:
                continue
            start = column + (gap if pieces else 0)
            column += needed
            self._places.append((start, column, key))
            pieces.append(piece)
        self._shown = Content(" " * gap).join(pieces)
        return self._shown

    def _written(self, key: str) -> str:
        """Return a key as the footer writes it."""
        return short_key(key)

    def _keys(self) -> list[tuple[str, str]]:
        """Return the keys to show with their words, in order, one for each action."""
        keys: dict[str, str] = {}
        for key, active in self.screen.active_bindings.items():
            action_id = active.binding.id
            if action_id in _FOOTER and active.enabled:
                keys.setdefault(action_id, key)
        ordered = sorted(
            _FOOTER.values(), key=lambda a: _FIRST.index("stop" if a.id == "stop" else a.scope)
        )
        return [
            (keys[action.id], label)
            for action in ordered
            if action.id in keys and (label := self._label_of(action))
        ]

    def on_click(self, event: events.Click) -> None:
        """Press the key under the mouse."""
        for start, end, key in self._places:
            if start <= event.x < end:
                self.app.simulate_key(key)


class SheetKeys(KeyLine):
    """The keys of a modal screen. If there is little room, the last one, Esc, stays."""

    def __init__(self) -> None:
        super().__init__(lambda action: action.label)
        self._displays: dict[str, str] = {}

    def _written(self, key: str) -> str:
        return self._displays.get(key) or short_key(key)

    def _keys(self) -> list[tuple[str, str]]:
        labels: dict[str, tuple[str, str]] = {}
        self._displays = {}
        for key, active in self.screen.active_bindings.items():
            binding = active.binding
            if binding.show and active.enabled and binding.action not in labels:
                labels[binding.action] = (key, binding.description)
                self._displays[key] = binding.key_display or ""
        keys = list(labels.values())
        while len(keys) > 1 and self._key_width(keys) > self.size.width:
            del keys[-2]
        return keys

    def _key_width(self, keys: list[tuple[str, str]]) -> int:
        """Return the width of the line in cells, gaps included."""
        gap = 3 if self.size.width >= 70 else 2
        pieces = [len(self._written(key)) + 1 + len(label) for key, label in keys]
        return sum(pieces) + gap * (len(pieces) - 1)
