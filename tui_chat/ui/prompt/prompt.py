"""The text area of the prompt, which grows with the draft and folds a long paste into a label.

The exact text of a folded paste is kept here. `PromptBar` handles sending and history.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets.text_area import Edit, EditResult, Location, Selection

from tui_chat.ui.prompt.prompt_history import Draft, draft_of, is_long_paste, paste_label
from tui_chat.ui.textual_fixes.text_area import TextArea

_JOINERS = ("\u200c", "\u200d")
"""Joiners in Persian words and emoji; Textual takes them for keys without a character."""


class Prompt(TextArea):
    """The text area in which the user types a message.

    It shows a long paste as a label such as `[pasted 212 lines, 1 930 tok]`. The cursor crosses a
    label in one step, and deleting any part removes all of it. `draft.full` has the exact text.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"prompt--paste"}

    class Pasted(Message):
        """Posted when a paste has been folded, so that its tokens can be counted."""

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
        """Posted when End is pressed with the cursor at the end of its line already."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - the name Textual uses
        self._pastes: dict[str, str] = {}  # before `super()`, which already moves the cursor
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
        """The typed text with the pastes whose labels are still in it."""
        text = self.text
        return Draft(text, {label: full for label, full in self._pastes.items() if label in text})

    def load_draft(self, draft: Draft) -> None:
        """Show a draft with the cursor at its end. Undo brings the previous text back."""
        self._pastes.update(draft.pastes)
        self.replace(draft.text, (0, 0), self.document.end, maintain_selection_offset=False)
        self.move_cursor(self.document.end)
        self.history.checkpoint()

    def load_full(self, text: str) -> None:
        """Show a text that was not typed, such as a message to edit."""
        self.load_draft(draft_of(text))

    def fold(self, text: str) -> None:
        """Replace the selection by a label that stands for a text."""
        label = paste_label(text, None, self._pastes)
        self._pastes[label] = text
        self._put(label)
        self.post_message(self.Pasted(self, label, text))

    def relabel(self, label: str, tokens: int) -> None:
        """Add the number of tokens to the label of a paste, if it is still in the text."""
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
        """Expand the paste at the cursor; return False if there is none."""
        row, column = self.cursor_location
        for start, end, label in self._spans(row):
            if start <= column <= end:
                self.edit(Edit(self._pastes[label], (row, start), (row, end), False))
                return True
        return False

    def on_paste(self, event: events.Paste) -> None:
        """Insert a paste, folded if it is long, in place of Textual's own handling."""
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
        """Replace the selection by a text, and move the cursor behind it."""
        result = self.replace(text, *self.selection, maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def on_key(self, event: events.Key) -> None:
        """Insert the joiners like any other character."""
        if event.character in _JOINERS and not self.read_only:
            event.stop()
            event.prevent_default()
            self._put(event.character)

    def action_cursor_line_end(self, select: bool = False) -> None:
        """Move to the end of the line; if the cursor is there already, also post `EndPressed`."""
        if not select and self.cursor_location == self.get_cursor_line_end_location():
            self.post_message(self.EndPressed())
        super().action_cursor_line_end(select)

    def undo(self) -> None:
        """Undo the last edit.

        Textual lays out the restored text before it moves the cursor, so the cursor moves first to
        a place that exists in both texts.
        """
        if self.history.undo_stack:
            self.move_cursor((0, 0))
        super().undo()

    def redo(self) -> None:
        """Redo the last edit that was undone."""
        if self.history.redo_stack:
            self.move_cursor((0, 0))
        super().redo()

    @property
    def is_at_first_row(self) -> bool:
        """Whether the cursor is in the first row, as wrapped on the screen."""
        return self.navigator.is_first_wrapped_line(self.cursor_location)

    @property
    def is_at_last_row(self) -> bool:
        """Whether the cursor is in the last row, as wrapped on the screen."""
        return self.navigator.is_last_wrapped_line(self.cursor_location)

    # Labels are one token -------------------------------------------------------------------------

    def _spans(self, row: int) -> Iterator[tuple[int, int, str]]:
        """Yield the start, the end and the text of each label in a line."""
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
        """Keep the cursor out of labels: a step into a label leads to its other end."""
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
        """Perform an edit, extended to the whole of every label that it touches."""
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
        """Return a line with its labels in their own colour."""
        line = super().get_line(line_index)
        for start, end, _label in self._spans(line_index):
            line.stylize(self.get_component_rich_style("prompt--paste"), start, end)
        return line
