"""What an empty chat shows: three lines that teach enough to begin, or why nobody listens.

Owns the words of the three lines; those of a failure are given to it.
"""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.errors import TuiChatError
from tui_chat.ui.plain_text import plain, plain_line


class EmptyState(Widget):
    """A few lines in the middle of the transcript; gone with the first message."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    EmptyState {
        width: 100%;
        height: 100%;
        content-align: center middle;
        text-align: left;
        color: $text-muted;
    }
    """

    model: reactive[str] = reactive("")
    """The model that will answer."""
    is_builtin: reactive[bool] = reactive(False)
    """Whether it is the small model that knows this program."""
    problem: reactive[TuiChatError | None] = reactive(None)
    """Why there is no model."""

    def render(self) -> Content:
        """Who listens, what to press, what the bar below means; or what failed and what to do."""
        if self.problem is not None:
            return self._failure(self.problem)
        key = "$primary bold"
        name = plain_line(self.model or "the model", 40).stylize("$foreground bold")
        narrow = self.size.width < 60
        if not self.is_builtin:
            first = Content.assemble(name, " listens.")
        elif narrow:
            first = Content.assemble("Ask ", name, " about this program.")
        else:
            first = Content.assemble(name, " knows this program: ask it anything about it.")
        rest = Content.assemble(", ", ("Ctrl+P", key), " finds everything else.")
        second = Content.assemble(
            ("Enter", key), " sends, ", ("Esc", key), " stops, ", ("F1", key), " helps",
            Content(".") if narrow else rest,
        )  # fmt: skip
        third = Content(
            "The bar is what it will see."
            if narrow
            else "The bar below shows what the model will see, counted before you send."
        )
        return Content("\n").join(
            line.truncate(self.size.width, ellipsis=True) for line in (first, second, third)
        )

    def _failure(self, problem: TuiChatError) -> Content:
        parts = (
            (plain_line(problem.title), "$error bold"),
            (plain(problem.detail), "$foreground"),
            (plain(problem.hint), ""),
        )
        return Content("\n").join(
            text.stylize(style) if style else text for text, style in parts if text
        )
