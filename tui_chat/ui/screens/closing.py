"""A base class that makes sure that a modal screen is dismissed only once.

When any screen is dismissed, Textual pops the screen on top of the stack, even if that is the
chat. A second key, a double click or a late worker must therefore not dismiss a screen again, so
every modal screen of the program derives from `ClosesOnce`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

R = TypeVar("R")


class ClosesOnce(ModalScreen[R], Generic[R]):
    """A modal screen that can be dismissed only once, and only while it is on top."""

    _has_answer = False

    @property
    def is_over(self) -> bool:
        """Whether the screen has been dismissed and is closing."""
        return self._has_answer

    def dismiss(self, result: R | None = None) -> AwaitComplete:
        """Close with a result.

        A call is ignored if the screen is closing already or is not on top.
        """
        if self._has_answer or self.app.screen is not self:
            return AwaitComplete()
        self._has_answer = True
        return super().dismiss(result)

    async def on_event(self, event: events.Event) -> None:
        """Drop keys, clicks and pastes that arrive after the screen was dismissed."""
        if self._has_answer and isinstance(event, events.InputEvent | events.Paste):
            return
        await super().on_event(event)
