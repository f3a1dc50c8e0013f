"""What of the transcript is not sent: dimmed above a line, or struck out by the user.

Owns where the forget line stands and that there is one at most. What is dropped is told to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual.widget import Widget

from tui_chat.chat.budget import ContextView
from tui_chat.chat.conversation import Message
from tui_chat.session.reply import left_out
from tui_chat.ui.message_window import MessageWindow

if TYPE_CHECKING:
    from tui_chat.ui.widgets.forget_line import ForgetLine


class Forgetting:
    """Dims the messages of a transcript that are not sent, and draws the line.

    Args:
        transcript: The parent of the messages.
    """

    def __init__(self, transcript: Widget) -> None:
        self._transcript = transcript
        self._line: ForgetLine | None = None
        self._dropped = ContextView()
        self._is_pushed = False

    def show(self, dropped: ContextView, is_pushed: bool) -> None:
        """Take what would be sent now; `place` shows it.

        Args:
            dropped: What would be sent, and what not.
            is_pushed: Whether it is the draft that pushes turns out.
        """
        self._dropped, self._is_pushed = dropped, is_pushed

    def forget(self) -> None:
        """Take it that everything is sent, until it is told otherwise."""
        self.show(ContextView(), False)

    def place(
        self, path: Sequence[Message], window: MessageWindow, views: Mapping[str, Widget]
    ) -> None:
        """Dim what is dropped, and put the line below it, or away.

        While what is known is of another branch, all that is dimmed stays so: the next count is
        on its way, and most often says the same.

        Args:
            path: All messages.
            window: Which of them are mounted.
            views: The mounted ones, by the id of the message.
        """
        kept = self._first_kept(path)
        excluded = left_out(path)
        pinned = _in_pinned_turns(path[:kept]) if kept else set()
        shown = path[window.first : window.last]
        for index, message in enumerate(shown, window.first):
            if message.id in views:
                views[message.id].set_class(message.id in excluded, "-excluded")
                if kept is not None:
                    is_kept = message.id in pinned or message.is_note
                    views[message.id].set_class(index < kept and not is_kept, "-forgotten")
        if kept is not None:
            if kept and path[kept - 1].is_note:
                kept -= 1  # above the note that stands for all of them
            is_here = window.first < kept <= window.last and bool(shown)
            self._move(views.get(shown[kept - window.first - 1].id) if is_here else None)

    def _first_kept(self, path: Sequence[Message]) -> int | None:
        """The index of the first message that is sent, 0 where nothing is dropped.

        None where it is not in the path, so that the count is of another one.
        """
        if not self._dropped.dropped_turns:
            return 0
        wanted = self._dropped.first_kept_id
        if wanted is None:
            return len(path)
        places = range(len(path) - 1, -1, -1)
        return next((index for index in places if path[index].id == wanted), None)

    def _move(self, view: Widget | None) -> None:
        """Put the line below a message, or away."""
        line, parent = self._line, self._transcript
        if view is None or not view.is_attached:
            if line is not None and line.is_attached:
                line.remove()
                self._line = None
            return
        if line is None:
            line = self._line = _new_line()
        dropped = self._dropped
        line.turns, line.tokens = dropped.dropped_turns, dropped.dropped_tokens
        line.noted, line.pushed = dropped.noted_turns, self._is_pushed
        if not line.is_attached:
            parent.mount(line, after=view)
        elif parent.children.index(line) != parent.children.index(view) + 1:
            parent.move_child(line, after=view)


# What only a chat needs that has outgrown its context, so that no first frame waits for it.


def _new_line() -> ForgetLine:
    from tui_chat.ui.widgets.forget_line import ForgetLine

    return ForgetLine()


def _in_pinned_turns(path: Sequence[Message]) -> set[str]:
    from tui_chat.chat.prompt import in_pinned_turns

    return in_pinned_turns(path)
