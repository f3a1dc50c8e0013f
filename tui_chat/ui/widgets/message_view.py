"""One message of the transcript, of the user or of the model, or a note.

Owns how a message, its facts and its marks are laid out. Reads nothing; what it shows is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from tui_chat.ui.message_notes import (
    mark_text,
    meta_text,
    note_text,
    side_text,
    time_text,
    user_text,
)
from tui_chat.ui.safe_text import plain
from tui_chat.ui.widgets.foldable import Foldable
from tui_chat.ui.widgets.found_marks import FoundMarks
from tui_chat.ui.widgets.laid_out_once import LaidOutOnce
from tui_chat.ui.widgets.reply_body import ReplyBody

if TYPE_CHECKING:
    from tui_chat.ui.widgets.reply_markdown import CodeBlock


class MessageRow(LaidOutOnce, Horizontal):
    """Parts of a message side by side."""


class MessageNote(Static):
    """A short text beside or below a message; what says the same is not laid out again."""

    def __init__(self, kind: str) -> None:
        super().__init__("", classes=kind, markup=False)
        self._said = ""

    def say(self, text: str) -> None:
        """Say something else, or with an empty text nothing."""
        if text != self._said:
            self._said = text
            self.update(Content(text))
            # before it is mounted, it has no styles to bring up to date
            self.set_class(bool(text), "-filled", update=self.is_attached)


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
        self._side = MessageNote("message-side")
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

    async def become(self, message: Message, version: tuple[int, int], now: datetime) -> None:
        """Show another message of the same kind; laid out when this returns.

        A view that shows another text costs a tenth of one that is taken away and made anew.
        """
        self.found.clear()
        self.mark_code(0)
        self.show(message, version, now)

    def show_prefill(self, prefill: Prefill) -> None:
        """Show how far the prompt of a reply has been read; nothing for other messages."""

    def _show(self) -> None:
        """Bring everything up to the message; each kind has its own parts."""

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


class UserView(MessageView):
    """What the user said: plain text beside a coloured bar."""

    def __init__(self, message: Message, version: tuple[int, int], now: datetime) -> None:
        super().__init__(message, version, now)
        self._text_shown = message.text
        self._text_part = Static(
            plain(user_text(message.text)), classes="message-text", markup=False
        )
        self._show()

    @property
    def text_parts(self) -> Iterable[Static]:
        return (self._text_part,)

    def compose(self) -> ComposeResult:
        """The text, and who and when at its right."""
        with MessageRow():
            yield self._text_part
            yield self._side

    def on_mount(self) -> None:
        """Show what has changed since it was made."""
        self._show()

    def _show(self) -> None:
        signs = side_text(self.message, self._version)
        who = f"you  {time_text(self.message, self._now)}"
        if self._text_shown != self.message.text:
            self._text_shown = self.message.text
            self._text_part.update(plain(user_text(self.message.text)))
        self._side.say(f"{signs}  {who}" if signs else who)


class ReplyView(MessageView):
    """What the model said: Markdown, with its figures below."""

    def __init__(self, message: Message, version: tuple[int, int], now: datetime) -> None:
        super().__init__(message, version, now)
        self._body = ReplyBody(message.text)
        self._mark = MessageNote("message-mark")
        self._facts = MessageNote("message-meta -long")
        self._brief_facts = MessageNote("message-meta -brief")
        self._prefill: Prefill | None = None
        self._show_marks()

    def compose(self) -> ComposeResult:
        """The text with its version at the right; below it how it ended, and the figures."""
        with MessageRow():
            yield self._body
            yield self._side
        with MessageRow(classes="message-foot"):
            yield self._mark
            yield self._facts
            yield self._brief_facts

    def on_mount(self) -> None:
        """Show what has changed since it was made."""
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

    async def become(self, message: Message, version: tuple[int, int], now: datetime) -> None:
        self._prefill = None
        await super().become(message, version, now)
        await self._body.become(message.text)

    def show_prefill(self, prefill: Prefill) -> None:
        self._prefill = prefill
        if self.is_mounted:
            self._show_marks()

    def _show(self) -> None:
        self._body.show(self.message.text)
        self._show_marks()

    def _show_marks(self) -> None:
        message = self.message
        self.set_class(message.status == "failed", "-failed", update=self.is_attached)
        self._side.say(side_text(message, self._version))
        self._mark.say(safe_line(mark_text(message, self._prefill)))
        self._facts.say(meta_text(message, self._now))
        self._brief_facts.say(meta_text(message, self._now, is_short=True))


class NoteView(ReplyView):
    """What the model wrote to stand for the turns above: a line that says so, then as a reply."""

    def __init__(self, message: Message, version: tuple[int, int], now: datetime) -> None:
        super().__init__(message, version, now)
        self.add_class("-note")
        self._head = MessageNote("note-head")
        self._head.say(note_text(message))

    def compose(self) -> ComposeResult:
        """What it is, above what replies have."""
        yield self._head
        yield from super().compose()

    def _show(self) -> None:
        self._head.say(note_text(self.message))
        super()._show()


def view_of(message: Message, version: tuple[int, int], now: datetime) -> MessageView:
    """The view that suits a message."""
    return kind_of(message)(message, version, now)


def kind_of(message: Message) -> type[UserView] | type[ReplyView]:
    """The kind of view that suits a message."""
    if message.is_note:
        return NoteView
    return ReplyView if message.role == "assistant" else UserView


def views_by_place(
    views: Sequence[MessageView], shown: Sequence[Message]
) -> dict[str, MessageView]:
    """The views of messages that are gone, for those that stand in their places now.

    Args:
        views: What is mounted, top to bottom.
        shown: What is to be mounted; what is the same is in the same order.

    Returns:
        Views of the right kinds, by the ids of the messages that they can show.
    """
    wanted = {message.id for message in shown}
    kept = {view.message.id for view in views} & wanted
    gone: dict[str, list[MessageView]] = {}
    after = ""
    for view in views:
        if view.message.id in kept:
            after = view.message.id
        else:
            gone.setdefault(after, []).append(view)
    found: dict[str, MessageView] = {}
    after = ""
    for message in shown:
        if message.id in kept:
            after = message.id
        elif gone.get(after):
            view = gone[after].pop(0)
            if type(view) is kind_of(message):
                found[message.id] = view
    return found
