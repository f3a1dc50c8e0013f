"""What an empty chat shows: a three-line introduction, or why no model could be loaded."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui_chat.errors import TuiChatError
from tui_chat.ui.plain_text import plain, plain_line


class EmptyState(Widget):
    """A few lines in the middle of the transcript, shown until the first message."""

    ALLOW_SELECT = False
    model: reactive[str] = reactive("")
    """The model that will answer."""
    is_builtin: reactive[bool] = reactive(False)
    """Whether `model` is the built-in guide, which answers questions about this program."""
    problem: reactive[TuiChatError | None] = reactive(None)
    """Why the model could not be loaded; None if it was or still may be."""

    def render(self) -> Content:
        """Return the introduction: the model, the first keys and the meaning of the meter.

        If loading has failed, return the error instead.
        """
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
