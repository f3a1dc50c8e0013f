"""The interface through which commands use the app; `ui.app.TuiChat` implements it."""

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
"""Runs an action with the argument of its slash command, which is empty for a key."""


class Host(Protocol):
    """The app, as far as commands use it."""

    session: ChatSession
    chat: ChatScreen
    """The main chat screen. Another screen may be on top of it."""

    @property
    def is_chat_on_top(self) -> bool:
        """Whether the chat screen is the active screen."""

    @property
    def focused(self) -> Widget | None:
        """The widget with the focus."""

    @property
    def available_themes(self) -> Mapping[str, Theme]:
        """Every registered theme by name."""

    def register_themes(self) -> None:
        """Register the themes of all theme files, unless that is done already."""

    def use_theme(self, name: str) -> None:
        """Switch to a registered theme, and save the choice for the next start."""

    def tell(
        self, text: str, severity: SeverityLevel = "information", timeout: float | None = None
    ) -> None:
        """Show a toast on the active screen.

        Args:
            text: The plain text to show.
            severity: The severity of the notification.
            timeout: Seconds until it disappears; Textual's default if None.
        """

    def push_screen(
        self, screen: Screen[Result], callback: ScreenResultCallbackType[Result] | None = None
    ) -> Any:
        """Show a screen, and call the callback with its result when it closes."""

    async def run_command(self, action_id: str, argument: str = "") -> None:
        """Run an action as its key, or its slash command with `argument`, would."""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text in the background, and show a toast that says how it was copied."""

    def lend_terminal(self) -> AbstractContextManager[None]:
        """Return a context manager that leaves the terminal to another program."""

    def quit(self) -> None:
        """Exit the app once everything is saved."""
