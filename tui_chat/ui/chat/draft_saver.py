"""What is saved with a chat besides its messages: what is typed, and where it is read.

Owns when that is saved and how a draft comes back. Both are of the chat that is on the screen;
what becomes of them on disk, the session knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_chat.ui.chat.page import Page
from tui_chat.ui.prompt.prompt_history import draft_of

if TYPE_CHECKING:
    from textual.timer import Timer

DRAFT_S = 1.0
"""Without a key, after which a draft is saved."""
PLACE_S = 1.0
"""Without scrolling, after which the place is saved."""


class DraftSaver:
    """Keeps the draft and the place of the chat that is shown.

    Args:
        page: Where it is shown.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._shown_id = ""
        """The chat that is on the page, which may not be the session's any more."""
        self._draft_timer: Timer | None = None
        self._place_timer: Timer | None = None
        self._brought = ""

    def chat_opened(self) -> None:
        """Take note that the session's chat is on the page now, and show what was typed in it."""
        self._shown_id = self._page.session.conversation.id
        self.bring_draft_back()

    def draft_changed(self) -> None:
        """Save the draft when the typing rests."""
        if self._draft_timer is not None:
            self._draft_timer.stop()
        self._draft_timer = self._page.screen.set_timer(DRAFT_S, self.keep_draft)

    def keep_draft(self) -> None:
        """Save what is typed, with its chat; an edit of a message is none."""
        bar = self._page.bar
        if bar.editing is None:
            self._page.session.keep_draft(bar.draft.full)

    def scrolled(self) -> None:
        """Save the place when the scrolling rests."""
        if self._place_timer is None:
            self._place_timer = self._page.screen.set_timer(PLACE_S, self.keep_place)
        else:
            self._place_timer.reset()

    def keep_place(self) -> None:
        """Save where the chat is read, with it."""
        if self._place_timer is not None:
            self._place_timer.stop()
            self._place_timer = None
        session = self._page.session
        if self._shown_id == session.conversation.id:
            session.keep_place(self._page.transcript.place)

    def bring_draft_back(self, joins: bool = False) -> None:
        """Show what was typed when the chat was left, unless something is typed already.

        Args:
            joins: Show it also then, before what is typed, unless that is the same text; for a
                chat that was left in another window.
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
