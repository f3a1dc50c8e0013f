"""The find bar above the prompt: a field for the text and the count of its matches.

The bar posts what the user types and which way they step; `find.Find` does the search.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from tui_chat.ui.widgets.field import Field


class FindBar(Horizontal):
    """A line such as `find ▏words          ↑ ↓  3/17`."""

    HELP = (
        "Type what to find in this chat. Enter and Down go to the next place, Up to the one before."
    )
    BINDING_GROUP_TITLE = "Find"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "step(1)", "Next", show=False),
        Binding("shift+enter,up", "step(-1)", "Previous", show=False),
    ]

    class Typed(Message):
        """Posted when the text in the field changes."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Stepped(Message):
        """Posted when the user asks for the next match (+1) or the previous one (-1)."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def compose(self) -> ComposeResult:
        """Compose the label, the field and the count."""
        yield Static("find", id="find-mark", markup=False)
        yield Field(placeholder="in this chat", compact=True, select_on_focus=False, id="find-text")
        yield Static("", id="find-count", markup=False)

    @property
    def field(self) -> Field:
        """The field for the search text."""
        return self.query_one("#find-text", Field)

    def show_count(self, text: str, is_none: bool = False) -> None:
        """Show the number of matches.

        Args:
            text: The text to show, such as `3/17`.
            is_none: Whether to style the bar for a search without a match.
        """
        self.query_one("#find-count", Static).update(Content(text))
        self.set_class(is_none, "-none")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    def action_step(self, step: int) -> None:
        """Ask for the next match (+1) or the previous one (-1)."""
        self.post_message(self.Stepped(step))
