"""The prompt bar: the prompt with its mark, token count, history, edit mode and slash completion.

The bar holds the draft until Enter. It then posts `Submitted`, and the screen sends the draft or
gives it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static, TextArea

from tui_chat.ui.keys.bindings import bindings_of
from tui_chat.ui.prompt.completion_list import CompletionList
from tui_chat.ui.prompt.prompt import Prompt
from tui_chat.ui.prompt.prompt_history import Draft, PromptHistory
from tui_chat.ui.prompt.slash import Completion, Values, completions
from tui_chat.ui.widgets.numbers import grouped

PLACEHOLDER = "Type a message. Enter sends, Ctrl+J makes a line."
SHORT_PLACEHOLDER = "Type a message."


class PromptBar(Vertical):
    """The bar in which the user writes a message, from the first letter to Enter."""

    HELP = "Type a message and press Enter. A slash at the beginning starts a command."
    BINDING_GROUP_TITLE = "Prompt"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of("prompt", priority=True),
        Binding("tab", "complete", "Complete", show=False, priority=True),
    ]

    tokens: reactive[int | None] = reactive(None)
    """Tokens of the draft; None until a tokenizer can count them."""
    too_long: reactive[bool] = reactive(False)
    """Whether the draft is too long to be sent."""
    editing: reactive[str | None] = reactive(None)
    """Id of the message being edited; None for a new message."""

    class Submitted(Message):
        """Posted when Enter is pressed on a draft that is not empty."""

        def __init__(self, draft: Draft, editing: str | None) -> None:
            super().__init__()
            self.draft = draft
            self.editing = editing

    class DraftChanged(Message):
        """Posted when the draft has changed."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - the name Textual uses
        super().__init__(id=id)
        self.past = PromptHistory()
        self.values: Mapping[str, Values] = {}
        """Sources of the known values for the arguments of slash commands, by command."""
        self._prompt = Prompt(id="prompt")
        self._completions = CompletionList()
        self._dismissed = ""
        self._own = Draft()
        self.is_editing_reply = False
        """Whether Enter only keeps the text, without asking the model to answer it."""

    def compose(self) -> ComposeResult:
        """Compose the completions, the edit hint, and the prompt between its mark and its count."""
        yield self._completions
        yield Static("", id="edit-hint", markup=False)
        with Horizontal(id="prompt-row"):
            yield Static("›", id="prompt-mark", markup=False)
            yield self._prompt
            yield Static("", id="prompt-count", markup=False)

    def on_mount(self) -> None:
        """Show the placeholder and the count."""
        self._prompt.placeholder = Content(PLACEHOLDER)
        self._show_count()

    # The draft ------------------------------------------------------------------------------------

    @property
    def prompt(self) -> Prompt:
        """The text area."""
        return self._prompt

    @property
    def draft(self) -> Draft:
        """The typed text with its pastes."""
        return self._prompt.draft

    @property
    def is_completing(self) -> bool:
        """Whether the list of completions is open."""
        return self._completions.is_open

    def take(self) -> Draft:
        """Leave the edit mode or empty the prompt; return the draft that was in it."""
        draft = self.draft
        if self.editing is not None:
            self.leave_edit()
        else:
            self._prompt.load_draft(Draft())
        return draft

    def give_back(self, draft: Draft) -> None:
        """Put back a draft that could not be sent, in front of the text typed since."""
        self._prompt.load_draft(self.joined(draft, self.draft))

    @staticmethod
    def joined(draft: Draft, typed: Draft) -> Draft:
        """Return a draft followed by the text that was typed since."""
        text = f"{draft.text}\n{typed.text}" if typed.text else draft.text
        return Draft(text, {**draft.pastes, **typed.pastes})

    @property
    def own_draft(self) -> Draft:
        """The draft of a new message, which waits while the user edits another message."""
        return self.draft if self.editing is None else self._own

    def set_own(self, draft: Draft) -> None:
        """Replace the draft of the new message."""
        if self.editing is None:
            self._prompt.load_draft(draft)
        else:
            self._own = draft

    def clear(self) -> None:
        """Empty the prompt; undo brings the draft back."""
        self._prompt.load_draft(Draft())
        self.past.rest()

    @on(TextArea.Changed)
    def _changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.complete()
        self.post_message(self.DraftChanged(self.draft))

    # Edit mode ------------------------------------------------------------------------------------

    def edit(self, message_id: str, text: str, is_reply: bool, is_note: bool = False) -> None:
        """Load a message into the prompt for editing; the draft of the new message waits.

        Args:
            message_id: The id of the message.
            text: Its text.
            is_reply: Whether it is a reply, so that the model does not answer it.
            is_note: Whether it is a note, which has no versions.
        """
        if self.editing is None:
            self._own = self.draft
        self.editing, self.is_editing_reply = message_id, is_reply
        hint = (
            "Editing the note. Enter keeps it, Esc goes back; undo brings the old one back."
            if is_note
            else "Editing the reply. Enter keeps it beside the old one, Esc goes back."
            if is_reply
            else "Editing your message. Enter sends it as a new version, Esc goes back."
        )
        self.query_one("#edit-hint", Static).update(Content(hint))
        self._prompt.load_full(text)

    def leave_edit(self) -> None:
        """Leave the edit mode, and restore the draft of the new message."""
        self.editing, self.is_editing_reply = None, False
        own, self._own = self._own, Draft()
        self._prompt.load_draft(own)

    def watch_editing(self, editing: str | None) -> None:
        """Show the hint of the edit mode while it is on."""
        self.set_class(editing is not None, "-editing")

    # Keys of the scope `prompt`, run through the one dispatch -------------------------------------

    def can(self, action_id: str) -> bool:
        """Return whether an action of the prompt can do anything now."""
        if action_id == "history_previous":
            return self.is_completing or self._prompt.is_at_first_row
        if action_id == "history_next":
            return self.is_completing or self._prompt.is_at_last_row
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable Tab completion only while the text area has the focus."""
        return action != "complete" or self._prompt.has_focus

    def send(self) -> None:
        """Accept the marked completion or submit the draft, once the text area has all typed keys.

        This action runs at once, while letters pressed before it may still wait in the queue of the
        text area. So the work is posted to the end of that queue.
        """
        self._prompt.post_message(events.Callback(callback=self._send_now))

    def _send_now(self) -> None:
        self.complete()  # the list may not have seen the last letters yet
        row = self._completions.current
        if row is not None and row.text.strip() != self._prompt.text.strip():
            self._accept(row)
            if row.needs_more:
                return
        if self.draft.full.strip():
            self.close_completions()
            editing = self.editing
            # Take the draft at once, because keys behind this one belong to the next draft.
            self.post_message(self.Submitted(self.take(), editing))

    def newline(self) -> None:
        """Insert a line break at the cursor, behind all keys typed before."""
        self._prompt.post_message(events.Callback(callback=self._newline_now))

    def _newline_now(self) -> None:
        if not self._prompt.text:
            return
        self._prompt.replace("\n", *self._prompt.selection, maintain_selection_offset=False)

    def history_previous(self) -> None:
        """Show the previous prompt of the history, or mark the completion above."""
        if self.is_completing:
            self._completions.move(-1)
            return
        draft = self.past.previous(self.draft)
        if draft is not None:
            self._prompt.load_draft(draft)
            row_end = len(self._prompt.document.get_line(0))
            self._prompt.move_cursor((0, row_end))

    def history_next(self) -> None:
        """Show the next prompt of the history, or mark the completion below."""
        if self.is_completing:
            self._completions.move(1)
            return
        draft = self.past.next()
        if draft is not None:
            self._prompt.load_draft(draft)

    # Completion -----------------------------------------------------------------------------------

    def complete(self) -> None:
        """Update the list of completions for the draft."""
        text = self._prompt.text
        if text != self._dismissed:
            self._dismissed = ""
        show = self._prompt.has_focus and not self._dismissed and not self.past.is_browsing
        rows: Iterable[Completion] = completions(text, self.values) if show else ()
        self._completions.rows = tuple(rows)

    def close_completions(self) -> None:
        """Close the list of completions until the draft changes."""
        self._dismissed = self._prompt.text
        self._completions.rows = ()

    def action_complete(self) -> None:
        """Accept the marked completion without running it, once all typed keys are in the draft."""
        self._prompt.post_message(events.Callback(callback=self._complete_now))

    def _complete_now(self) -> None:
        self.complete()  # the list may not have seen the last letters yet
        if self._completions.current is not None:
            self._accept(self._completions.current)
        else:
            self.screen.focus_next()

    @on(CompletionList.Taken)
    def _taken(self, event: CompletionList.Taken) -> None:
        event.stop()
        self._accept(event.completion)
        self._prompt.focus()

    def _accept(self, row: Completion) -> None:
        self._prompt.load_draft(Draft(row.text))

    # The count ------------------------------------------------------------------------------------

    def watch_tokens(self) -> None:
        """Show the new token count."""
        self._show_count()

    def watch_too_long(self, too_long: bool) -> None:
        """Colour a draft that is too long to be sent."""
        self.set_class(too_long, "-too-long")

    def _show_count(self) -> None:
        text = "" if self.tokens is None else f"{grouped(self.tokens)} tok"
        for count in self.query("#prompt-count").results(Static):
            count.update(Content(text))

    def set_compact(self, compact: bool) -> None:
        """Use the short placeholder if there is little room."""
        self._prompt.placeholder = Content(SHORT_PLACEHOLDER if compact else PLACEHOLDER)
