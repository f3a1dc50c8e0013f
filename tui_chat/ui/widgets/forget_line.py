"""The forget line: the rule in the transcript above which nothing is sent, but for a note.

Owns its wording and its drawing. Where it stands is up to the transcript.
"""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.ui.widgets.token_meter import grouped


class ForgetLine(Widget):
    """`┄┄ 3 turns above, 412 tokens, not sent ┄┄` over the whole width.

    `┄┄ 3 turns above, 412 tokens, not sent; the note stands for them ┄┄` where one does.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    ForgetLine {
        height: 1;
        margin: 0 0 1 0;
        color: $text-muted;
        text-wrap: nowrap; text-overflow: clip;
        &.-pushed { color: $warning; }
    }
    """

    turns: reactive[int] = reactive(0)
    tokens: reactive[int] = reactive(0)
    noted: reactive[int] = reactive(0)
    """The turns that a note stands for."""
    pushed: reactive[bool] = reactive(False, toggle_class="-pushed")
    """Whether the draft is what pushes turns out."""

    def render(self) -> Content:
        """The words in the middle of the rule; fewer of them in narrow terminals."""
        width = self.size.width
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
        return Content("┄" * left + words + "┄" * right)

    def _noted_words(self, is_short: bool = False) -> str:
        """What is said of the note; nothing where there is none."""
        if not self.noted:
            return ""
        is_all = self.noted >= self.turns
        if is_short:
            return ", noted" if is_all else f", {self.noted} noted"
        if is_all:
            return "; the note stands for " + ("it" if self.turns == 1 else "them")
        return f"; the note stands for {self.noted} of them"
