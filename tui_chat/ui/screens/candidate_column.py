"""One column of the best-of screen: the state of a candidate reply, and its text as it grows."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.widgets import Static

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Prefill
from tui_chat.safe_text import safe_line
from tui_chat.ui.plain_text import plain
from tui_chat.ui.transcript.message_list import MessageList
from tui_chat.ui.widgets.numbers import grouped

_ENDED = {"length": "cut by the length limit", "stop": "ended at a stop string"}


def sign_of(message: Message) -> str:
    """Return a one-cell symbol for the state of a candidate."""
    if message.is_unfinished:
        return "▸" if message.status == "streaming" else "…"
    if message.status == "failed":
        return "✗"
    return "✓" if message.status == "complete" and message.finish_reason != "length" else "■"


def state_of(message: Message, prefill: Prefill | None) -> str:
    """Return the state of a candidate in a few words.

    Args:
        message: The candidate.
        prefill: The progress of its prefill; None if not reported yet.
    """
    if message.status == "waiting":
        return "waits"
    if message.status == "streaming":
        if message.text or prefill is None or not prefill.new:
            return "writing"
        return f"reading {grouped(prefill.done)} / {grouped(prefill.new)} tok"
    if message.status == "complete":
        return _ENDED.get(message.finish_reason, "done")
    return message.status


def tokens_of(message: Message) -> int:
    """Return the number of tokens that a candidate has so far."""
    return int(message.stats.get("completion_tokens", 0) or 0) or len(message.token_ids)


class CandidateColumn(Vertical):
    """A candidate with its number, state and text.

    Args:
        number: The number of the candidate, from 1.
        message: The candidate.
    """

    class Pressed(TextualMessage):
        """Posted when the user clicks the column."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, number: int, message: Message) -> None:
        super().__init__(classes="candidate")
        self.number = number
        self.message = message
        self._prefill: Prefill | None = None
        self.page = MessageList(is_framed=False, classes="candidate-text")
        """The text. It stays at its start while it grows, unless the user scrolls to the end."""
        self.page.set_path([message])
        self.page.hold((message.id, 0))

    def compose(self) -> ComposeResult:
        """Compose the head line, the line for an error, and the text."""
        yield Static(classes="candidate-head", markup=False)
        yield Static(classes="candidate-error", markup=False)
        yield self.page

    def on_mount(self) -> None:
        """Show the first state."""
        self._show_state()

    def show(self, message: Message, prefill: Prefill | None = None) -> None:
        """Show a newer state of the candidate.

        Args:
            message: The candidate as it is now.
            prefill: The progress of its prefill; None to keep the last one.
        """
        self.message = message
        self._prefill = prefill or self._prefill
        self.page.show_message(message)
        if self.is_mounted:
            self._show_state()

    def on_resize(self, event: events.Resize) -> None:
        """Fit the head line to the new width."""
        self._show_state()

    def _show_state(self) -> None:
        message = self.message
        size = tokens_of(message)
        left = f" {self.number} {sign_of(message)} {state_of(message, self._prefill)}"
        right = f"{grouped(size)} tok " if size else ""
        room = self.size.width - len(right) - 1
        head = safe_line(left, max(4, room)).ljust(max(4, room) + 1)
        self.query_one(".candidate-head", Static).update(Content(head + right))
        error = message.error if message.status == "failed" else ""
        self.query_one(".candidate-error", Static).update(plain(error))
        self.set_class(message.status == "failed", "-failed")

    def on_click(self, event: events.Click) -> None:
        """Post `Pressed`, unless the click ended a text selection."""
        if not self.screen.get_selected_text():
            self.post_message(self.Pressed(self.number))
