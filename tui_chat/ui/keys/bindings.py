"""Textual bindings for the declared actions, and key names as the footer writes them.

Every binding runs `app.perform(id)`, so a key, the palette, a slash command and a menu all reach
the same dispatch.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual.binding import Binding, BindingType

from tui_chat.actions import Action, Scope, actions_in

_SHORT = {
    "escape": "Esc", "enter": "Enter", "delete": "Del", "greater_than_sign": ">", "left": "←",
    "right": "→", "up": "↑", "down": "↓", "pageup": "PgUp", "pagedown": "PgDn", "end": "End",
    "home": "Home", "tab": "Tab", "backspace": "⌫", "space": "Space", "plus": "+", "minus": "-",
    "slash": "/",
}  # fmt: skip


def bindings_of(scope: Scope, priority: bool = False) -> Iterator[BindingType]:
    """Yield a binding for every action of a scope that has keys.

    Args:
        scope: The scope in which the keys work.
        priority: Whether the keys take precedence over those of the focused widget.
    """
    for action in actions_in(scope):
        if action.keys:
            yield binding_of(action, priority)


def binding_of(action: Action, priority: bool = False) -> Binding:
    """Return the binding of one action."""
    return Binding(
        ",".join(action.keys),
        f"app.perform('{action.id}')",
        action.label,
        show=action.footer,
        priority=priority,
        tooltip=action.help,
        id=action.id,
    )


def short_key(key: str) -> str:
    """Return a key as the footer writes it: `ctrl+o` becomes `^O`, `escape` becomes `Esc`."""
    *modifiers, name = key.split("+")
    shown = _SHORT.get(name, name.upper() if name[:1] == "f" and name[1:].isdigit() else name)
    if modifiers == ["ctrl"] and len(shown) == 1:
        return f"^{shown.upper()}"
    marks = {"ctrl": "^", "alt": "Alt+", "shift": "Shift+"}
    return "".join(marks.get(modifier, f"{modifier}+") for modifier in modifiers) + shown
