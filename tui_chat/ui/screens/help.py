"""The help screen (F1): an introduction to the focused part, and all keys, commands and parameters.

The tables are generated from the declarations of actions and parameters, with the user's own key
bindings, so they always agree with the program. Only the introductions are written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.types import CSSPathType

from tui_chat.actions import ACTIONS, SLASH_COMMANDS, Action, Scope, actions_in
from tui_chat.chat.params import PARAM_SPECS
from tui_chat.ui.keys.names import keys_of
from tui_chat.ui.screens.sheet import CLOSE, Filter, Sheet
from tui_chat.ui.widgets.line_view import LineView, fitted, wrapped

_SCOPES: dict[Scope, str] = {
    "prompt": "The prompt",
    "transcript": "The transcript",
    "parameters": "The parameters panel",
    "app": "Everywhere",
}
_ABOUT: dict[Scope, str] = {
    "prompt": (
        "This is where you type. Enter sends, Ctrl+J makes a new line, and the count at the right "
        "says how many tokens the draft costs before you send it."
    ),
    "transcript": (
        "This is what was said. One message is selected: move with j and k, then copy, edit, "
        "answer again or remove it. Nothing above the forget line is sent any more."
    ),
    "parameters": (
        "These numbers shape how each next token is drawn. Up and Down choose, Left and Right "
        "step; what you change acts from the next token on."
    ),
    "app": (
        "A chat with a model that runs inside this program. The bar at the bottom shows how much "
        "of its context is in use; F3 and F4 change the model and its precision."
    ),
}
_LEFT_CELLS = 24


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table of two columns."""

    title: str
    rows: tuple[tuple[str, str], ...]


class HelpScreen(Sheet[None]):
    """Help that begins with one part of the program.

    Args:
        topic: A scope of `tui_chat.actions`, or the name of a widget, from which `scope_of`
            derives one.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "help.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "close", "Close", show=False),
        Binding("up", "lines('scroll_up')", "Up", show=False),
        Binding("down", "lines('scroll_down')", "Down", show=False),
        Binding("pageup", "lines('page_up')", "Page up", show=False, priority=True),
        Binding("pagedown", "lines('page_down')", "More", priority=True, id="help_more"),
        CLOSE,
    ]

    def __init__(self, topic: str = "app") -> None:
        self._scope = scope_of(topic)
        super().__init__("Help")

    def compose_body(self) -> ComposeResult:
        """Compose the filter and the view of the lines."""
        yield Filter("Type to filter")
        yield LineView(id="lines")

    def on_mount(self) -> None:
        """Show the whole help, and focus the filter."""
        super().on_mount()
        self.add_class("-tall-sheet")
        self.note = _SCOPES[self._scope]
        lines = self.query_one(LineView)
        lines.can_focus = False
        self._show("")
        self.query_one(Filter).focus()

    @on(Filter.Changed)
    def _typing(self, event: Filter.Changed) -> None:
        event.stop()
        self._show(event.value)

    def _show(self, text: str) -> None:
        sections = matching(help_sections(self._scope, lambda a: keys_of(self.app, a)), text)
        about = "" if text.strip() else _ABOUT[self._scope]
        self.query_one(LineView).show_lines(lambda width: help_lines(about, sections, width))

    def action_lines(self, action: str) -> None:
        """Forward a scroll action, such as `page_up`, to the lines; the filter keeps the focus."""
        getattr(self.query_one(LineView), f"action_{action}")()


def scope_of(topic: str) -> Scope:
    """Return the scope of a topic, which is a scope or the name of a widget; `app` if unknown."""
    name = topic.lower()
    words: tuple[tuple[str, Scope], ...] = (
        ("param", "parameters"), ("valueeditor", "parameters"),
        ("transcript", "transcript"), ("message", "transcript"), ("turn", "transcript"),
        ("prompt", "prompt"), ("textarea", "prompt"), ("input", "prompt"),
    )  # fmt: skip
    return next((scope for word, scope in words if word in name), "app")


def help_sections(scope: Scope, keys: Callable[[Action], str]) -> list[Section]:
    """Return all tables of the help, beginning with the keys of one scope.

    Args:
        scope: The scope of the focused widget.
        keys: Returns the keys that the user has bound to an action; empty for none.
    """
    order = [scope, *(other for other in _SCOPES if other != scope)]
    sections = []
    for place in order:
        rows = ((keys(action), action.help) for action in actions_in(place))
        sections.append(Section(_SCOPES[place], tuple(row for row in rows if row[0])))
    commands = sorted(SLASH_COMMANDS.values(), key=lambda action: ACTIONS.index(action))
    sections.append(
        Section("Slash commands, typed into the prompt", tuple((a.slash, a.help) for a in commands))
    )
    parameters = (
        (spec.name, f"{spec.help} {spec.range_text[:1].upper()}{spec.range_text[1:]}.")
        for spec in PARAM_SPECS
    )
    sections.append(Section("Parameters", tuple(parameters)))
    return sections


def matching(sections: Iterable[Section], text: str) -> list[Section]:
    """Return the rows that contain every word of a text, as sections.

    A section whose title contains every word keeps all of its rows.
    """
    words = text.lower().split()
    result = []
    for section in sections:
        rows = section.rows
        if not all(word in section.title.lower() for word in words):
            rows = tuple(
                row for row in rows if all(word in " ".join(row).lower() for word in words)
            )
        if rows:
            result.append(Section(section.title, rows))
    return result


def help_lines(about: str, sections: Sequence[Section], width: int) -> list[Content]:
    """Return the help as lines of at most `width` cells.

    Args:
        about: The introduction; may be empty.
        sections: The tables.
        width: Width of the view in cells; from 60 on, keys and texts stand side by side.
    """
    lines = [Content(line) for line in wrapped(about, width)]
    left = min(_LEFT_CELLS, width // 3) if width >= 60 else 0
    for section in sections:
        lines += [Content("")] if lines else []
        lines.append(Content.styled(fitted(section.title, width), "bold $accent"))
        for key, text in section.rows:
            lines += _row(key, text, left, width)
    return lines or [Content.styled("Nothing matches.", "$text-muted")]


def _row(key: str, text: str, left: int, width: int) -> list[Content]:
    """Return a row: key and text side by side, or below each other if `left` is 0."""
    if not left:
        below = (Content.styled(f"  {line}", "$text-muted") for line in wrapped(text, width - 2))
        return [Content(fitted(key, width)), *below]
    keys, texts = wrapped(key, left - 2), wrapped(text, width - left)
    height = max(len(keys), len(texts))
    keys += [""] * (height - len(keys))
    texts += [""] * (height - len(texts))
    return [
        Content.assemble(fitted(a, left), (b, "$text-muted"))
        for a, b in zip(keys, texts, strict=True)
    ]
