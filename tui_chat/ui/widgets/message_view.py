"""One message of the transcript, of the user or of the model.

Owns how a message, its facts and its marks are laid out. Reads nothing; what it shows is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.widgets import Static

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Prefill
from tui_chat.safe_text import safe_line
from tui_chat.ui.message_notes import mark_text, meta_text, side_text, time_text
from tui_chat.ui.safe_text import plain
from tui_chat.ui.widgets.foldable import Foldable
from tui_chat.ui.widgets.found_marks import FoundMarks
from tui_chat.ui.widgets.laid_out_once import LaidOutOnce
from tui_chat.ui.widgets.reply_body import ReplyBody

if TYPE_CHECKING:
    from tui_chat.ui.widgets.reply_markdown import CodeBlock

_LONGEST_USER_TEXT = 64 * 1024


class MessageView(Foldable, LaidOutOnce, Vertical):
    """What user messages and replies have in common.

    Args:
        message: What to show.
        version: Which version of how many it is.
        now: The current time in the user's time zone.
    """

    class Pressed(TextualMessage):
        """The message was clicked."""

        def __init__(self, message_id: str) -> None:
            super().__init__()
            self.message_id = message_id

    def __init__(self, message: Message, version: tuple[int, int], now: datetime) -> None:
        super().__init__(classes=f"message -{message.role}")
        self.message = message
        self._version = version
        self._now = now
        self._filled: dict[str, str] = {}
        self.found = FoundMarks()
        """What is marked in it."""

    @property
    def text_parts(self) -> Iterable[Static]:
        """The widgets that its text is in, first to last."""
        return ()

    def show(self, message: Message, version: tuple[int, int], now: datetime) -> None:
        """Show a newer state of the same message."""
        if (message, version) == (self.message, self._version):
            return
        self.message, self._version, self._now = message, version, now
        if self.is_mounted:
            self._show()

    def show_prefill(self, prefill: Prefill) -> None:
        """Show how far the prompt of a reply has been read; nothing for other messages."""

    def _show(self) -> None:
        """Bring everything up to the message; each kind has its own parts."""

    def _fill(self, selector: str, text: str) -> None:
        """Put a text into one of the parts; one that says the same is not laid out again."""
        if self._filled.get(selector) != text:
            self._filled[selector] = text
            part = self.query_one(selector, Static)
            part.update(Content(text))
            part.set_class(bool(text), "-filled")

    @property
    def code_blocks(self) -> list[CodeBlock]:
        """Its code blocks, first to last."""
        return []

    def mark_code(self, number: int) -> str:
        """Mark one code block, 0 for none; returns its code."""
        code = ""
        for block in self.code_blocks:
            block.set_class(block.number == number, "-selected")
            if block.number == number:
                code = block.code
                block.scroll_visible(animate=False)
        return code

    def on_click(self, event: events.Click) -> None:
        """Ask to be selected, unless text was selected by dragging."""
        if not self.screen.get_selected_text():
            self.post_message(self.Pressed(self.message.id))


class MessageRow(LaidOutOnce, Horizontal):
    """Parts of a message side by side."""


class UserView(MessageView):
    """What the user said: plain text beside a coloured bar."""

    _text_shown: str | None = None

    @property
    def text_parts(self) -> Iterable[Static]:
        return self.query(".message-text").results(Static)

    def compose(self) -> ComposeResult:
        """The text, and who and when at its right."""
        with MessageRow():
            yield Static("", classes="message-text", markup=False)
            yield Static("", classes="message-side", markup=False)

    def on_mount(self) -> None:
        """Show who and when."""
        self._show()

    def _text(self) -> Content:
        text = self.message.text
        if len(text) > _LONGEST_USER_TEXT:
            rest = len(text) - _LONGEST_USER_TEXT
            return plain(f"{text[:_LONGEST_USER_TEXT]}\n… and {rest:,} characters more")
        return plain(text)

    def _show(self) -> None:
        signs = side_text(self.message, self._version)
        who = f"you  {time_text(self.message, self._now)}"
        if self._text_shown != self.message.text:
            self._text_shown = self.message.text
            self.query_one(".message-text", Static).update(self._text())
        self._fill(".message-side", f"{signs}  {who}" if signs else who)


class ReplyView(MessageView):
    """What the model said: Markdown, with its figures below."""

    def __init__(self, message: Message, version: tuple[int, int], now: datetime) -> None:
        super().__init__(message, version, now)
        self._body = ReplyBody(message.text)
        self._prefill: Prefill | None = None

    def compose(self) -> ComposeResult:
        """The text with its version at the right; below it how it ended, and the figures."""
        with MessageRow():
            yield self._body
            yield Static("", classes="message-side", markup=False)
        with MessageRow(classes="message-foot"):
            yield Static("", classes="message-mark", markup=False)
            yield Static("", classes="message-meta -long", markup=False)
            yield Static("", classes="message-meta -brief", markup=False)

    def on_mount(self) -> None:
        """Show the figures."""
        self._show()

    @property
    def text_parts(self) -> Iterable[Static]:
        return self._body.text_parts

    @property
    def body(self) -> ReplyBody:
        """The text as it is laid out."""
        return self._body

    @property
    def code_blocks(self) -> list[CodeBlock]:
        return self._body.code_blocks

    def see(self, top: int, bottom: int) -> None:
        super().see(top, bottom)
        if not self.is_folded:
            self._body.see(top, bottom)

    def show_prefill(self, prefill: Prefill) -> None:
        self._prefill = prefill
        if self.is_mounted:
            self._show_marks()

    def _show(self) -> None:
        self._body.show(self.message.text)
        self._show_marks()

    def _show_marks(self) -> None:
        message = self.message
        self.set_class(message.is_unfinished, "-unfinished")
        self.set_class(message.status == "failed", "-failed")
        self.set_class(bool(message.text), "-has-text")
        self._fill(".message-side", side_text(message, self._version))
        self._fill(".message-mark", safe_line(mark_text(message, self._prefill)))
        self._fill(".message-meta.-long", meta_text(message, self._now))
        self._fill(".message-meta.-brief", meta_text(message, self._now, is_short=True))


def view_of(message: Message, version: tuple[int, int], now: datetime) -> MessageView:
    """The view that suits a message."""
    kind = ReplyView if message.role == "assistant" else UserView
    return kind(message, version, now)
