"""A small app around one widget, with the program's themes and its last filter."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.filter import LineFilter
from textual.message import Message
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widget import Widget

from tui_chat import ui
from tui_chat.ui.app import TuiChat
from tui_chat.ui.plain_text import TERMINAL_GUARD
from tui_chat.ui.textual_fixes.terminal_colours import take_over
from tui_chat.ui.themes import load_themes, variable_defaults


class PieceApp(App[None]):
    """Shows the widgets it is given; one that needs a running app is given as its maker."""

    CSS_PATH: ClassVar[Any] = [
        Path(ui.__file__).parent / name
        for name in TuiChat.CSS_PATH
        if name not in ("app.tcss", "chat/screen.tcss")  # where widgets stand on the chat screen
    ]
    CSS = "Screen { layout: vertical; }"

    def __init__(self, *pieces: Widget | Callable[[], Widget], theme: str = "night") -> None:
        super().__init__()
        for installed in load_themes().themes:
            self.register_theme(installed)
        self.theme = theme
        self.pieces = pieces
        self.posted: list[Message] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.current_theme)

    def watch_theme(self) -> None:
        take_over(self)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [TERMINAL_GUARD, *super().get_line_filters()]

    def compose(self) -> ComposeResult:
        for piece in self.pieces:
            yield piece if isinstance(piece, Widget) else piece()

    def strips(self) -> list[Strip]:
        """What the terminal shows, line by line, with its styles."""
        return self.screen._compositor.render_strips()

    def lines(self) -> list[str]:
        """What the terminal shows, line by line."""
        return [strip.text for strip in self.strips()]

    def shown(self) -> str:
        """What the terminal shows."""
        return "\n".join(line.rstrip() for line in self.lines())


async def until(pilot: Pilot[None], predicate: Callable[[], object], limit_s: float = 20.0) -> None:
    """Let the app run until something holds; fail if it does not in a generous time."""
    deadline = time.monotonic() + limit_s
    while not predicate():
        assert time.monotonic() < deadline, "the awaited state was not reached"
        await pilot.pause(0.01)
