"""What commands may ask of the program; `TuiChat` is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from textual.screen import Screen, ScreenResultCallbackType
from textual.theme import Theme
from textual.widget import Widget

from tui_chat.session import ChatSession

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from tui_chat.ui.chat.screen import ChatScreen

Result = TypeVar("Result")

Command = Callable[[str], Awaitable[None]]
"""Takes what a slash command was given, which a key leaves empty."""


class Host(Protocol):
    """A program that commands act on."""

    session: ChatSession
    chat: ChatScreen
    """The main screen, which other screens may cover."""

    @property
    def is_chat_on_top(self) -> bool:
        """Whether no other screen covers the chat."""

    @property
    def focused(self) -> Widget | None:
        """The widget that gets the keys."""

    @property
    def available_themes(self) -> Mapping[str, Theme]:
        """Every registered theme by name."""

    def register_themes(self) -> None:
        """Register the themes of all files, once."""

    def use_theme(self, name: str) -> None:
        """Show a registered theme, and keep it for the next start."""

    def tell(
        self, text: str, severity: SeverityLevel = "information", timeout: float | None = None
    ) -> None:
        """Show a short notice that goes away by itself, on whatever screen is on top."""

    def push_screen(
        self, screen: Screen[Result], callback: ScreenResultCallbackType[Result] | None = None
    ) -> Any:
        """Show a screen; its result goes to the callback."""

    async def run_command(self, action_id: str, argument: str = "") -> None:
        """Do an action, as its key or its slash command with that argument would."""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy in the background, and say how it was done."""

    def lend_terminal(self) -> AbstractContextManager[None]:
        """Give the terminal to another program meanwhile."""

    def quit(self) -> None:
        """Leave, once everything is saved."""
