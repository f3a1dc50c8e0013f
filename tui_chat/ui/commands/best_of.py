"""What begins the best of several, and what is said when it is over.

Owns which message is answered: the draft, else the last one of the user. The session writes the
candidates, and the screen shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events

from tui_chat.chat.conversation import Message
from tui_chat.errors import UsageError
from tui_chat.safe_text import safe_line
from tui_chat.ui.plain_text import notify_plain
from tui_chat.ui.prompt.prompt_history import Draft
from tui_chat.ui.prompt.slash import is_command

if TYPE_CHECKING:
    from tui_chat.ui.app import TuiChat
    from tui_chat.ui.commands.messages import Command
    from tui_chat.ui.screens.best import Choice


class BestCommands:
    """The action `best`.

    Args:
        app: Whose chat it is.
    """

    def __init__(self, app: TuiChat) -> None:
        self._app = app
        self.table: dict[str, Command] = {"best": self._best}

    async def _best(self, argument: str) -> None:
        from tui_chat.session.choosing import USUAL

        if argument and not argument.isdecimal():
            raise UsageError(
                "/best takes a number",
                f"not {safe_line(argument, 20)!r}",
                "Type the message, then press F6",
            )
        count = int(argument[:6] or USUAL)
        # Letters that were typed before the key may still be on their way to the prompt.
        prompt = self._app.chat.bar.prompt
        prompt.post_message(events.Callback(callback=lambda: self._begin(count)))

    def _begin(self, count: int) -> None:
        chat = self._app.chat
        bar = chat.bar
        if bar.editing is not None:
            notify_plain(chat, "Finish the edit first: Enter sends it, Esc leaves it.")
            return
        if is_command(bar.draft.text):
            notify_plain(chat, "This draft is a command. To send it as a message, begin with //")
            return
        draft = bar.take() if bar.draft.full.strip() else Draft()
        if draft:
            bar.past.add(draft)
        chat.outbox.send_for_best(draft, count, self._show)

    def _show(self, candidates: Sequence[Message]) -> None:
        from tui_chat.ui.screens.best import BestScreen

        app = self._app
        count = len(candidates)

        def left(choice: Choice | None) -> None:
            chat = app.chat
            if choice is not None:
                number, outcome = choice
                kept = f"Reply {number} of {count} is kept"
                why = " as the best" if outcome == "preferred" else ""
                notify_plain(chat, f"{kept}{why}. z takes it back.")
            elif app.session.versions(candidates[0].id)[1] > 1:
                notify_plain(chat, "Nothing was chosen; all stay. Left and Right go through them.")
            chat.transcript.follow()
            chat.focus_prompt()

        parent = candidates[0].parent_id
        prompt = app.session.message(parent).text if parent is not None else ""
        screen = BestScreen(app.session, candidates, prompt, app.chat.clock.monotonic)
        app.push_screen(screen, left)
