"""What is saved with a chat besides its messages: what is typed, and where it is read.

Owns when that is saved and how a draft comes back. Both are of the chat that is on the screen;
what becomes of them on disk, the session knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_chat.ui.prompt.prompt_history import draft_of

if TYPE_CHECKING:
    from textual.timer import Timer

    from tui_chat.ui.chat.screen import ChatScreen
    from tui_chat.ui.chat.session_view import SessionMirror

DRAFT_S = 1.0
"""Without a key, after which a draft is saved."""
PLACE_S = 1.0
"""Without scrolling, after which the place is saved."""


class KeptWork:
    """Keeps the draft and the place of a screen's chat.

    Args:
        screen: Whose.
        mirror: What knows which chat is on the screen.
    """

    def __init__(self, screen: ChatScreen, mirror: SessionMirror) -> None:
        self._screen = screen
        self._mirror = mirror
        self._draft_timer: Timer | None = None
        self._place_timer: Timer | None = None
        self._brought = ""

    def draft_changed(self) -> None:
        """Save the draft when the typing rests."""
        if self._draft_timer is not None:
            self._draft_timer.stop()
        self._draft_timer = self._screen.set_timer(DRAFT_S, self.keep_draft)

    def keep_draft(self) -> None:
        """Save what is typed, with its chat; an edit of a message is none."""
        bar = self._screen.bar
        if bar.editing is None:
            self._screen.session.keep_draft(bar.draft.full)

    def scrolled(self) -> None:
        """Save the place when the scrolling rests."""
        if self._place_timer is None:
            self._place_timer = self._screen.set_timer(PLACE_S, self.keep_place)
        else:
            self._place_timer.reset()

    def keep_place(self) -> None:
        """Save where the chat is read, with it."""
        if self._place_timer is not None:
            self._place_timer.stop()
            self._place_timer = None
        session = self._screen.session
        if self._mirror.shown_id == session.conversation.id:
            session.keep_place(self._screen.transcript.place)

    def bring_draft_back(self, joins: bool = False) -> None:
        """Show what was typed when the chat was left, unless something is typed already.

        Args:
            joins: Show it also then, before what is typed, unless that is the same text; for a
                chat that was left in another window.
        """
        bar = self._screen.bar
        kept = self._screen.session.conversation.working.get("draft")
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
