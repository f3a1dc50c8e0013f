"""Saving and restoring the draft and the reading position of the chat on screen.

This module decides when to save them and how to put a draft back into the prompt. The session
stores them with the chat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_chat.ui.chat.page import Page
from tui_chat.ui.prompt.prompt_history import draft_of

if TYPE_CHECKING:
    from textual.timer import Timer

DRAFT_S = 1.0
"""Seconds without a change after which the draft is saved."""
PLACE_S = 1.0
"""Seconds without scrolling after which the reading position is saved."""


class DraftSaver:
    """Saves and restores the draft and the reading position of the chat on screen.

    Args:
        page: The page that shows the chat.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._shown_id = ""
        """Id of the chat on the page. The session may already have opened another one."""
        self._draft_timer: Timer | None = None
        self._place_timer: Timer | None = None
        self._brought = ""

    def chat_opened(self) -> None:
        """Record that the page now shows the session's chat, and restore its draft."""
        self._shown_id = self._page.session.conversation.id
        self.bring_draft_back()

    def draft_changed(self) -> None:
        """Save the draft after `DRAFT_S` seconds without a further change."""
        if self._draft_timer is not None:
            self._draft_timer.stop()
        self._draft_timer = self._page.screen.set_timer(DRAFT_S, self.keep_draft)

    def keep_draft(self) -> None:
        """Save the prompt's text as the draft of the chat, unless the user is editing a message."""
        bar = self._page.bar
        if bar.editing is None:
            self._page.session.keep_draft(bar.draft.full)

    def scrolled(self) -> None:
        """Save the reading position after `PLACE_S` seconds without further scrolling."""
        if self._place_timer is None:
            self._place_timer = self._page.screen.set_timer(PLACE_S, self.keep_place)
        else:
            self._place_timer.reset()

    def keep_place(self) -> None:
        """Save the reading position now, if the page still shows the session's chat."""
        if self._place_timer is not None:
            self._place_timer.stop()
            self._place_timer = None
        session = self._page.session
        if self._shown_id == session.conversation.id:
            session.keep_place(self._page.transcript.place)

    def bring_draft_back(self, joins: bool = False) -> None:
        """Put the saved draft back into the prompt, if the prompt is empty.

        Args:
            joins: If the prompt is not empty, put the saved draft before its text, unless both are
                the same. Used when another window of the program has released the chat. A text
                that this method restored earlier, and that nobody has changed since, is replaced.
        """
        bar = self._page.bar
        kept = self._page.session.conversation.working.get("draft")
        if not isinstance(kept, str) or not kept:
            return
        typed = bar.own_draft.full
        if not typed or (joins and typed == self._brought):
            bar.set_own(draft_of(kept))
        elif joins and typed != kept:
            bar.set_own(bar.joined(draft_of(kept), bar.own_draft))
        else:
            return
        self._brought = kept
