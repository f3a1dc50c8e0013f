"""A bare Textual app with the same kinds of widgets as the chat, for comparing the first paint."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Footer, ProgressBar, Static, TextArea


class BareApp(App[None]):
    """Title, transcript, prompt, meter, status and footer, and nothing behind them."""

    def compose(self) -> ComposeResult:
        yield Static("title")
        with VerticalScroll():
            yield Static("Type a message")
        yield TextArea()
        yield ProgressBar()
        yield Static("status")
        yield Footer()


if __name__ == "__main__":
    BareApp().run()
