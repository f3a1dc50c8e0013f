"""Modal screens take one answer: a second key, a double click or a late thread change nothing.

Textual pops whatever screen is on top when any screen is dismissed, the chat itself included.
Every modal screen of the program therefore derives from `ClosesOnce`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

R = TypeVar("R")


class ClosesOnce(ModalScreen[R], Generic[R]):
    """A modal screen that can be answered once, while it is on top."""

    _has_answer = False

    @property
    def is_over(self) -> bool:
        """Whether it has been answered, and closes."""
        return self._has_answer

    def dismiss(self, result: R | None = None) -> AwaitComplete:
        """Close with a result; an answer to a screen that closes, or is covered, is dropped."""
        if self._has_answer or self.app.screen is not self:
            return AwaitComplete()
        self._has_answer = True
        return super().dismiss(result)

    async def on_event(self, event: events.Event) -> None:
        """Take no more keys and clicks once it closes; those on their way to it are dropped."""
        if self._has_answer and isinstance(event, events.InputEvent | events.Paste):
            return
        await super().on_event(event)
