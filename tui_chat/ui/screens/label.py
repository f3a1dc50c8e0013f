"""The label screen, on which a person gives messages Open Assistant's labels, one after the other.

The screen saves the answers of a message when the user moves to another one or closes the screen,
as one step that can be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.types import CSSPathType
from textual.widgets import Static

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line, storable
from tui_chat.session import ChatSession
from tui_chat.ui.remedies import notify_error
from tui_chat.ui.screens.dialogs import InputScreen
from tui_chat.ui.screens.label_fields import Answers, fields_for
from tui_chat.ui.screens.label_form import LabelForm
from tui_chat.ui.screens.message_lines import text_lines
from tui_chat.ui.screens.sheet import CLOSE, Sheet
from tui_chat.ui.widgets.line_view import LineView


def messages_to_label(conversation: Conversation, message: Message) -> list[str]:
    """Return the ids to go through: all versions of the active path's messages of the same role."""
    return [
        version.id
        for on_path in conversation.path()
        if on_path.role == message.role
        for version in conversation.siblings(on_path.id)
    ]


class LabelScreen(Sheet[int]):
    """Labels messages; the result is the number of messages whose labels have changed.

    Args:
        session: The session with the chat.
        message_ids: Ids of the messages to go through, in order.
        first: Id of the message to begin with; one of `message_ids`.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "label.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "next(1)", "Next", id="label_next",
                tooltip="Keeps the labels and goes on to the next message."),
        Binding("tab", "next(1)", "Next", show=False),
        Binding("shift+tab", "next(-1)", "Back", show=False,
                tooltip="Keeps the labels and goes back to the message before."),
        Binding("r", "report", "Report", id="label_report",
                tooltip="Goes to the report at the end of the form."),
        Binding("z", "reset", "As it was", id="label_reset",
                tooltip="Takes back what was changed since this message came up."),
        Binding("pageup", "scroll_text(-1)", "Scroll the text up", show=False, priority=True),
        Binding("pagedown", "scroll_text(1)", "Scroll the text down", show=False, priority=True),
        CLOSE,
    ]  # fmt: skip

    index: reactive[int] = reactive(0, init=False)
    """Index of the message that is shown."""

    def __init__(self, session: ChatSession, message_ids: Sequence[str], first: str) -> None:
        super().__init__("Labels")
        self._session = session
        self._ids = message_ids
        self._before = Answers()
        self._changed: set[str] = set()
        self.set_reactive(LabelScreen.index, message_ids.index(first))

    def compose_body(self) -> ComposeResult:
        """Compose the prompt, the message, the form, and help for the highlighted field."""
        yield Static(id="asked", markup=False)
        yield LineView(id="text")
        yield LabelForm(id="form")
        yield Static(id="field-help", markup=False)

    def on_mount(self) -> None:
        """Show the first message."""
        super().on_mount()
        self.add_class("-tall-sheet")
        self._form.focus()
        self.watch_index()

    @property
    def _form(self) -> LabelForm:
        return self.query_one("#form", LabelForm)

    def _message(self) -> Message:
        return self._session.message(self._ids[self.index])

    def watch_index(self) -> None:
        """Show another message and the labels it has."""
        message = self._message()
        self._before = Answers.of(message.marks)
        self.query_one("#text", LineView).show_lines(text_lines(message))
        self._form.ask(fields_for(message), self._before)
        conversation = self._session.conversation
        asked = conversation[message.parent_id].text if message.parent_id is not None else ""
        line = self.query_one("#asked", Static)
        line.update(Content(safe_line(asked[:1000])))
        line.set_class(not asked.strip(), "-nothing")
        kind = "reply" if message.role == "assistant" else "message"
        number, count = self._session.versions(message.id)
        version = f", version {number} of {count}" if count > 1 else ""
        self.note = f"{kind} {self.index + 1} of {len(self._ids)}{version}"

    @on(LabelForm.Moved)
    def _moved(self) -> None:
        asked = self._form.asked
        self.query_one("#field-help", Static).update(asked.help if asked is not None else "")
        self.refresh_bindings()

    @on(LabelForm.Changed)
    def _answered(self) -> None:
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable reset once an answer has changed, and going back except at the first message."""
        if action == "reset":
            return self._form.answers != self._before
        return not (action == "next" and parameters == (-1,) and self.index == 0)

    # What the keys do -----------------------------------------------------------------------------

    def action_next(self, step: int) -> None:
        """Save the labels and move to the next (1) or previous (-1) message.

        After the last message, close the screen.
        """
        if not self._keep():
            return
        if self.index + step < len(self._ids):
            self.index = max(0, self.index + step)
        else:
            self.dismiss(len(self._changed))

    def action_close(self) -> None:
        """Save the labels and close."""
        if self._keep():
            self.dismiss(len(self._changed))

    def _keep(self) -> bool:
        """Save the answers if they have changed; return False if the session rejects them now."""
        answers = self._form.answers
        if answers == self._before:
            return True
        message = self._message()
        try:
            self._session.set_marks("Labels", {message.id: answers.applied_to(message.marks)})
        except TuiChatError as error:
            notify_error(self, error)
            return False
        self._changed.add(message.id)
        self._before = answers
        return True

    def action_reset(self) -> None:
        """Restore the answers that the message had when it was shown, or was last saved."""
        self._form.answers = self._before

    def action_scroll_text(self, step: int) -> None:
        """Scroll the text by `step` pages, down if positive."""
        view = self.query_one("#text", LineView)
        view.scroll_relative(y=step * max(1, view.size.height - 1), animate=False)

    def action_report(self) -> None:
        """Highlight the report field."""
        self._form.highlighted = len(self._form.fields) - 2  # the last two: report and reason

    @on(LabelForm.ReasonWanted)
    def _ask_reason(self) -> None:
        form = self._form

        def answered(reason: str | None) -> None:
            if reason is not None:
                form.answers = form.answers.with_reason(storable(reason).strip())

        hint = "Enter keeps it, Esc leaves it as it was."
        self.app.push_screen(
            InputScreen("Why do you report this?", form.answers.reason, hint), answered
        )
