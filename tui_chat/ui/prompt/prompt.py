"""The text area of the prompt: grows with the draft and folds long pastes to one token.

A folded paste keeps its exact text here. Sending and history are the part of `PromptBar`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult, Location, Selection

from tui_chat.ui.prompt.prompt_history import Draft, draft_of, is_long_paste, paste_label

_JOINERS = ("\u200c", "\u200d")
"""Typed inside Persian words and emoji; Textual takes them for keys without a character."""


class Prompt(TextArea):
    """Where a message is typed.

    A long paste is shown as a label such as `[pasted 212 lines, 1 930 tok]`, over which the cursor
    moves in one step and which is removed as a whole. `draft.full` has its exact text.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"prompt--paste"}
    DEFAULT_CSS = """
    Prompt {
        height: auto;
        max-height: 8;
        border: none;
        padding: 0;
        background: transparent;
        scrollbar-size-vertical: 1;
        &:focus { border: none; }
        .prompt--paste { color: $primary; background: $primary 15%; }
        .text-area--placeholder { color: $text-muted; }
    }
    """

    class Pasted(Message):
        """A paste was folded; its tokens are worth counting."""

        def __init__(self, prompt: Prompt, label: str, text: str) -> None:
            super().__init__()
            self.prompt = prompt
            self.label = label
            self.text = text

        @property
        def control(self) -> Prompt:
            """The prompt."""
            return self.prompt

    class EndPressed(Message):
        """End was pressed where the cursor was at the end of its line already."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - the name Textual uses
        self._pastes: dict[str, str] = {}  # before super(), which moves the cursor
        super().__init__(
            id=id,
            soft_wrap=True,
            tab_behavior="focus",
            show_line_numbers=False,
            highlight_cursor_line=False,
        )
        self.cursor_blink = False
        self.match_cursor_bracket = False

    # The draft ------------------------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        """What is typed, with the pastes that are still in it."""
        text = self.text
        return Draft(text, {label: full for label, full in self._pastes.items() if label in text})

    def load_draft(self, draft: Draft) -> None:
        """Show a draft, with the cursor at its end; can be undone like any edit."""
        self._pastes.update(draft.pastes)
        self.replace(draft.text, (0, 0), self.document.end, maintain_selection_offset=False)
        self.move_cursor(self.document.end)
        self.history.checkpoint()

    def load_full(self, text: str) -> None:
        """Show a text that was not typed."""
        self.load_draft(draft_of(text))

    def fold(self, text: str) -> None:
        """Put a label for a text in the place of the selection."""
        label = paste_label(text, None, self._pastes)
        self._pastes[label] = text
        self._put(label)
        self.post_message(self.Pasted(self, label, text))

    def relabel(self, label: str, tokens: int) -> None:
        """Put the number of tokens into the label of a paste, where it is still there."""
        text = self._pastes.get(label)
        if text is None:
            return
        better = paste_label(text, tokens, self._pastes)
        self._pastes[better] = text
        for row in range(self.document.line_count):
            column = self.document.get_line(row).find(label)
            if column >= 0:
                self.replace(better, (row, column), (row, column + len(label)))

    def action_unfold(self) -> bool:
        """Expand the paste at the cursor; False if there is none."""
        row, column = self.cursor_location
        for start, end, label in self._spans(row):
            if start <= column <= end:
                self.edit(Edit(self._pastes[label], (row, start), (row, end), False))
                return True
        return False

    def on_paste(self, event: events.Paste) -> None:
        """Take a paste, folded where it is long; Textual would put it in as it is."""
        event.prevent_default()
        event.stop()
        if self.read_only:
            return
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        if is_long_paste(text):
            self.fold(text)
        else:
            self._put(text)
        self.focus()

    def _put(self, text: str) -> None:
        """Put a text in the place of the selection, with the cursor behind it."""
        result = self.replace(text, *self.selection, maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def on_key(self, event: events.Key) -> None:
        """Take the joiners like any other character."""
        if event.character in _JOINERS and not self.read_only:
            event.stop()
            event.prevent_default()
            self._put(event.character)

    def action_cursor_line_end(self, select: bool = False) -> None:
        """Go to the end of the line; from there, ask to follow the transcript."""
        if not select and self.cursor_location == self.get_cursor_line_end_location():
            self.post_message(self.EndPressed())
        super().action_cursor_line_end(select)

    def undo(self) -> None:
        """Take the last edit back.

        Textual lays the shorter text out before it moves the cursor, which must not be beyond it.
        """
        if self.history.undo_stack:
            self.move_cursor((0, 0))
        super().undo()

    def redo(self) -> None:
        """Do the last edit again that was taken back."""
        if self.history.redo_stack:
            self.move_cursor((0, 0))
        super().redo()

    @property
    def is_at_first_row(self) -> bool:
        """Whether the cursor is in the first row as it is shown, wrapped."""
        return self.navigator.is_first_wrapped_line(self.cursor_location)

    @property
    def is_at_last_row(self) -> bool:
        """Whether the cursor is in the last row as it is shown, wrapped."""
        return self.navigator.is_last_wrapped_line(self.cursor_location)

    # Labels are one token -------------------------------------------------------------------------

    def _spans(self, row: int) -> Iterator[tuple[int, int, str]]:
        """The labels in a line: start, end and label."""
        if not self._pastes or not 0 <= row < self.document.line_count:
            return
        line = self.document.get_line(row)
        if "[pasted" not in line:
            return
        for label in self._pastes:
            start = line.find(label)
            while start >= 0:
                yield start, start + len(label), label
                start = line.find(label, start + len(label))

    def validate_selection(self, selection: Selection) -> Selection:
        """Keep the cursor out of labels: a step into one leads to its other end."""
        if not self._pastes:
            return selection
        start, end = selection
        before = self.selection.end
        return Selection(self._outside(start, before), self._outside(end, before))

    def _outside(self, location: Location, before: Location) -> Location:
        row, column = location
        for start, end, _label in self._spans(row):
            if start < column < end:
                forward = before[0] == row and before[1] <= start
                return (row, end if forward else start)
        return location

    def edit(self, edit: Edit) -> EditResult:
        """Perform an edit; one that touches a part of a label takes the whole label."""
        top, bottom = sorted((edit.from_location, edit.to_location))
        if top != bottom:
            for start, end, _label in self._spans(top[0]):
                if start < top[1] < end:
                    top = (top[0], start)
            for start, end, _label in self._spans(bottom[0]):
                if start < bottom[1] < end:
                    bottom = (bottom[0], end)
            edit = Edit(edit.text, top, bottom, edit.maintain_selection_offset)
        return super().edit(edit)

    def get_line(self, line_index: int) -> Text:
        """A line with its labels in their own colour."""
        line = super().get_line(line_index)
        for start, end, _label in self._spans(line_index):
            line.stylize(self.get_component_rich_style("prompt--paste"), start, end)
        return line
