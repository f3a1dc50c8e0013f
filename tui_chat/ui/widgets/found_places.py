"""What is looked for in a transcript: marked in each message, with the current place in view.

Owns what is looked for and whether the reader is still to be brought to it. Which messages are
mounted is told to it; what matches, `ui.finding` knows.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from textual.containers import ScrollableContainer
from textual.content import Content
from textual.widgets import Static

if TYPE_CHECKING:
    from tui_chat.chat.matching import Occurrence
    from tui_chat.ui.widgets.message_view import MessageView


class FoundPlaces:
    """Marks the matches in the messages of a transcript.

    Args:
        transcript: What scrolls the messages.
    """

    def __init__(self, transcript: ScrollableContainer) -> None:
        self._transcript = transcript
        self._pattern: re.Pattern[str] | None = None
        self._place: Occurrence | None = None
        self._is_place_due = False

    @property
    def is_looking(self) -> bool:
        """Whether anything is looked for."""
        return self._pattern is not None

    def look_for(self, pattern: re.Pattern[str] | None, place: Occurrence | None) -> None:
        """Take what is looked for; `mark` shows it.

        Args:
            pattern: What is looked for; None for nothing.
            place: The place that the reader is at, which is brought into view once.
        """
        self._pattern, self._place = pattern, place
        self._is_place_due = place is not None

    def mark(self, views: Mapping[str, MessageView], late: Container[str]) -> None:
        """Mark every match, or take all marks off where nothing is looked for.

        Args:
            views: The mounted messages, by their ids.
            late: The ids of those that their views do not show yet.
        """
        for message_id, view in views.items():
            if self._pattern is None:
                view.found.clear()
            if self._pattern is None or message_id in late:
                continue
            place = self._place
            is_current = place is not None and place.message_id == message_id
            current = place.ordinal if is_current and place is not None else None
            at = view.found.mark(view.text_parts, self._pattern, current)
            if at is not None and self._is_place_due:
                self._transcript.call_after_refresh(self._reveal, view, *at)

    def _reveal(self, view: MessageView, part: Static, start: int) -> None:
        """Scroll so that a character of a text is in view, if it is not."""
        visual = part.visual
        if not part.is_attached or not isinstance(visual, Content) or not part.size.width:
            return
        self._is_place_due = False
        row = len(visual[: start + 1].wrap(part.content_size.width)) - 1
        # Within its message: what was scrolled since the last frame does not count there.
        y = view.virtual_region.y + part.content_region.y - view.region.y + row
        transcript = self._transcript
        height = transcript.container_size.height
        if not transcript.scroll_y <= y < transcript.scroll_y + height:
            transcript.scroll_to(y=max(0, y - height // 3))
