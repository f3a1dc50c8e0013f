"""A text area that stops selecting when it loses the mouse.

Textual's `TextArea` (8.2.8) ends a selection only when the button is released over it. If another
screen takes the mouse in the middle of a drag, every later move of the pointer selects text.
This would be unneeded if it handled `MouseRelease` as Textual's `Input` does.
"""

from __future__ import annotations

from textual import events
from textual.widgets import TextArea as TextualTextArea


class TextArea(TextualTextArea):
    """Textual's text area, which takes the loss of the mouse for a release of the button."""

    def on_mouse_release(self, event: events.MouseRelease) -> None:
        """End the selection where it is."""
        x, y = event.mouse_position
        self.post_message(
            events.MouseUp(self, x, y, 0, 0, 1, False, False, False, screen_x=x, screen_y=y)
        )
