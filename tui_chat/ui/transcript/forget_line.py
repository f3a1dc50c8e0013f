"""The forget line: which messages of a chat are not sent, and the rule that says so.

The wording of the line and its place in the transcript are decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tui_chat.chat.budget import ContextView
from tui_chat.chat.conversation import Message
from tui_chat.session.reply import left_out
from tui_chat.ui.widgets.numbers import grouped


@dataclass(frozen=True, slots=True)
class ForgetLine:
    """The rule `┄┄ 3 turns above, 412 tokens, not sent ┄┄` across the whole width.

    With a note it reads `┄┄ 3 turns above, 412 tokens, not sent; the note stands for them ┄┄`.
    """

    turns: int
    tokens: int
    noted: int
    """How many of these turns a note stands for."""
    is_pushed: bool
    """Whether it is the draft that pushes turns out of the context."""

    def text(self, width: int) -> str:
        """Return the rule with its words in the middle; narrow terminals get shorter words.

        Args:
            width: Width of the rule in cells.
        """
        turns = f"{self.turns} turn{'s' if self.turns != 1 else ''}"
        wordings = (
            f" {turns} above, {grouped(self.tokens)} tokens, not sent{self._noted_words()} ",
            f" {turns}, {grouped(self.tokens)} tok, not sent{self._noted_words(True)} ",
            f" {turns} not sent{self._noted_words(True)} ",
            f" {turns} not sent ",
        )
        words = next((text for text in wordings if len(text) + 4 <= width), wordings[-1])
        left = max(0, width - len(words)) // 2
        right = max(0, width - len(words) - left)
        return "┄" * left + words + "┄" * right

    def _noted_words(self, is_short: bool = False) -> str:
        """Return the words about the note; empty if there is none."""
        if not self.noted:
            return ""
        is_all = self.noted >= self.turns
        if is_short:
            return ", noted" if is_all else f", {self.noted} noted"
        if is_all:
            return "; the note stands for " + ("it" if self.turns == 1 else "them")
        return f"; the note stands for {self.noted} of them"


class Unsent:
    """Which messages of a path are not sent.

    After the path changes, the last result stays until its count arrives; it usually still holds.
    """

    def __init__(self) -> None:
        self.line: ForgetLine | None = None
        self.line_after = -1
        """Index of the message that the line stands below; -1 for none."""
        self._kept = 0
        self._sent_above: frozenset[str] = frozenset()
        self._excluded: frozenset[str] = frozenset()

    def count(self, path: Sequence[Message], view: ContextView, is_pushed: bool) -> None:
        """Take a new count of the context. The line stays if the count belongs to another path.

        Args:
            path: All messages of the path.
            view: How much of the path fits the context.
            is_pushed: Whether it is the draft that pushes turns out.
        """
        self._excluded = frozenset(left_out(path))
        kept = _first_kept(path, view)
        if kept is None:
            return
        self._kept = kept
        self._sent_above = _sent_above(path[:kept])
        if kept and path[kept - 1].is_note:
            kept -= 1  # put the line above the note that stands for all dropped turns
        self.line_after = kept - 1
        self.line = (
            ForgetLine(view.dropped_turns, view.dropped_tokens, view.noted_turns, is_pushed)
            if kept
            else None
        )

    def is_forgotten(self, index: int, message: Message) -> bool:
        """Return whether a message is above the line and not sent.

        Args:
            index: The index of the message in the path.
            message: The message.
        """
        return index < self._kept and message.id not in self._sent_above

    def is_excluded(self, message: Message) -> bool:
        """Return whether the user has excluded a message, or its question or reply."""
        return message.id in self._excluded


def _first_kept(path: Sequence[Message], view: ContextView) -> int | None:
    """Return the index of the first message that is sent; 0 if nothing is dropped.

    None means that this message is not on the path, so the count belongs to another one.
    """
    if not view.dropped_turns:
        return 0
    if view.first_kept_id is None:
        return len(path)
    places = range(len(path) - 1, -1, -1)
    return next((index for index in places if path[index].id == view.first_kept_id), None)


def _sent_above(above: Sequence[Message]) -> frozenset[str]:
    """Return the ids of messages above the line that are sent anyway: pinned turns and notes."""
    if not above:
        return frozenset()
    from tui_chat.chat.prompt import in_pinned_turns  # only chats that outgrow the context need it

    return frozenset(in_pinned_turns(above)) | {m.id for m in above if m.is_note}
