"""A bare Textual app with the widgets of the chat's first frame, for comparing the first paint.

One of Textual's own widgets for each of the chat's, in the same places and as hidden, and nothing
behind them: no session, no settings, no styles but those of the layout.
"""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.widgets import Footer, ProgressBar, Static, TextArea


class BareApp(App[None]):
    """Title, transcript, prompt, meter and footer."""

    CSS = """
    .hidden { display: none; }
    #body, #page, #reading { height: 1fr; }
    #prompt-bar, #prompt-row { height: auto; }
    #prompt-mark { width: 2; }
    #prompt { width: 1fr; height: auto; border: none; padding: 0; }
    #prompt-count { width: 9; }
    """

    def compose(self) -> ComposeResult:
        yield Static("terminal too small", classes="hidden")
        yield Static("title")
        with Horizontal(id="body"), Vertical(id="page"):
            with Container(id="reading"):
                yield VerticalScroll(classes="hidden")
                yield Static("what to do first")
                yield Static("more below", classes="hidden")
            yield Static("notice", classes="hidden")
            yield Static("loading", classes="hidden")
            with Vertical(id="prompt-bar"):
                yield Static("completions", classes="hidden")
                yield Static("hint", classes="hidden")
                with Horizontal(id="prompt-row"):
                    yield Static("›", id="prompt-mark")
                    yield TextArea(placeholder="Type a message", id="prompt")
                    yield Static("0 tok", id="prompt-count")
        yield ProgressBar()
        yield Footer()


if __name__ == "__main__":
    BareApp().run()
