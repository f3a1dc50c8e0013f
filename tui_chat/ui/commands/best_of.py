"""The `best` action: request several replies to a message and open the screen to choose one.

The message is the draft in the prompt or, if that is empty, the last user message. The session
writes the candidates, and `ui.screens.best.BestScreen` shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events

from tui_chat.chat.conversation import Message
from tui_chat.errors import UsageError
from tui_chat.safe_text import safe_line
from tui_chat.ui.commands.host import Command, Host
from tui_chat.ui.prompt.prompt_history import Draft
from tui_chat.ui.prompt.slash import is_command

if TYPE_CHECKING:
    from tui_chat.ui.screens.best import Choice


class BestCommands:
    """The `best` action.

    Args:
        host: The app to act on.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
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
        # Characters typed before this key may still be in the prompt's message queue. Queueing the
        # callback behind them makes sure that the draft is complete.
        prompt = self._host.chat.bar.prompt
        prompt.post_message(events.Callback(callback=lambda: self._begin(count)))

    def _begin(self, count: int) -> None:
        chat = self._host.chat
        bar = chat.bar
        if bar.editing is not None:
            self._host.tell("Finish the edit first: Enter sends it, Esc leaves it.")
            return
        if is_command(bar.draft.text):
            self._host.tell("This draft is a command. To send it as a message, begin with //")
            return
        draft = bar.take() if bar.draft.full.strip() else Draft()
        if draft:
            bar.past.add(draft)
        chat.outbox.send_for_best(draft, count, self._show)

    def _show(self, candidates: Sequence[Message]) -> None:
        from tui_chat.ui.screens.best import BestScreen

        host = self._host
        count = len(candidates)

        def left(choice: Choice | None) -> None:
            chat = host.chat
            if choice is not None:
                number, outcome = choice
                kept = f"Reply {number} of {count} is kept"
                why = " as the best" if outcome == "preferred" else ""
                host.tell(f"{kept}{why}. z takes it back.")
            elif host.session.versions(candidates[0].id)[1] > 1:
                host.tell("Nothing was chosen; all stay. Left and Right go through them.")
            chat.transcript.follow()
            chat.focus_prompt()

        parent = candidates[0].parent_id
        prompt = host.session.message(parent).text if parent is not None else ""
        screen = BestScreen(host.session, candidates, prompt, host.chat.clock.monotonic)
        host.push_screen(screen, left)
