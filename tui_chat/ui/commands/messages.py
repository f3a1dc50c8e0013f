"""The actions on a message of the transcript: copy, edit, retry, continue, rate, delete and more.

An action applies to the selected message or, without a selection, to the last one. This module
finds that message and checks whether the action makes sense for it; the session carries it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_chat.chat.conversation import Message
from tui_chat.errors import ContextError
from tui_chat.safe_text import safe_line
from tui_chat.ui.commands.host import Command, Host

if TYPE_CHECKING:
    from tui_chat.ui.transcript.transcript import Transcript

_MENU = (
    "copy", "code_block", "edit", "retry_message", "continue", "sibling_previous", "sibling_next",
    "rate_good", "rate_bad", "rank", "label", "pin", "exclude", "fork", "delete", "undo", "redo",
)  # fmt: skip
_OF_NOTES = frozenset({
    "message_down", "message_up", "message_first", "message_last", "copy", "code_block", "edit",
    "delete", "undo", "redo", "message_menu",
})  # fmt: skip
"""The actions that apply to a note as well, although it is not a turn of the chat."""
_CONTINUABLE = ("stopped", "interrupted", "failed")


class MessageCommands:
    """The actions of the scope `transcript`.

    Args:
        host: The app to act on.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.table: dict[str, Command] = {
            "message_down": lambda _: self._step(1),
            "message_up": lambda _: self._step(-1),
            "message_first": self._first,
            "message_last": self._last,
            "copy": self._copy,
            "code_block": self._code_block,
            "edit": self._edit,
            "retry_message": self._retry,
            "continue": self._continue,
            "sibling_previous": lambda _: self._flip(-1),
            "sibling_next": lambda _: self._flip(1),
            "delete": self._delete,
            "undo": self._undo,
            "redo": self._redo,
            "rate_good": lambda _: self._rate(1),
            "rate_bad": lambda _: self._rate(-1),
            "pin": self._pin,
            "exclude": self._exclude,
            "fork": self._fork,
            "message_menu": self._menu,
        }

    @property
    def _transcript(self) -> Transcript:
        return self._host.chat.transcript

    def can(self, action_id: str) -> bool:
        """Return whether an action has an effect on the selected (or last) message now."""
        session, message = self._host.session, self._meant()
        if action_id == "undo":
            return bool(session.conversation.undo_label) and not session.is_busy
        if action_id == "redo":
            return bool(session.conversation.redo_label) and not session.is_busy
        if message is None or (message.is_note and action_id not in _OF_NOTES):
            return False
        if action_id == "code_block":
            return bool(self._transcript.codes(message.id))
        if action_id in ("edit", "retry_message", "delete") and session.is_busy:
            return False
        if action_id == "continue":
            is_cut = message.status in _CONTINUABLE or message.finish_reason == "length"
            return is_cut and bool(message.text) and not session.is_busy
        if action_id in ("sibling_previous", "sibling_next"):
            number, count = session.versions(message.id)
            return number > 1 if action_id == "sibling_previous" else number < count
        return True

    def _meant(self) -> Message | None:
        """Return the selected message, else the last one; None if the transcript is empty."""
        transcript = self._transcript
        selected, session = transcript.selected_message, self._host.session
        if selected is not None and session.is_here(selected.id):
            return session.message(selected.id)
        return transcript.path[-1] if transcript.path else None

    def _one(self, takes_notes: bool = False) -> Message:
        message = self._meant()
        if message is None:
            raise ContextError("There is no message yet", "", "Type one and press Enter")
        if message.is_note and not takes_notes:
            raise not_of_notes()
        return message

    async def _step(self, step: int) -> None:
        self._transcript.select_step(step)

    async def _first(self, _: str) -> None:
        self._transcript.select(0)

    async def _last(self, _: str) -> None:
        self._transcript.select(len(self._transcript.path) - 1)

    async def _copy(self, text: str) -> None:
        transcript = self._transcript
        selected = self._host.chat.get_selected_text()
        text = text or selected or transcript.selected_code or self._one(True).text
        self._host.chat.clear_selection()
        self._host.copy_to_clipboard(text)

    async def _code_block(self, _: str) -> None:
        if not self._transcript.select_code_block():
            self._host.tell("This message has no code block.")

    async def _edit(self, _: str) -> None:
        message = self._one(True)
        bar = self._host.chat.bar
        bar.edit(message.id, message.text, message.role != "user", message.is_note)
        self._host.chat.focus_prompt()

    async def _retry(self, _: str) -> None:
        message = self._one()
        self._host.session.regenerate(message.id)
        self._transcript.follow()

    async def _continue(self, _: str) -> None:
        self._host.session.continue_reply(self._one().id)
        self._transcript.follow()

    async def _flip(self, step: int) -> None:
        self._host.session.flip(self._one().id, step)

    async def _delete(self, _: str) -> None:
        message = self._one(True)
        if self._host.session.delete(message.id):
            self._host.tell(f"{_named(message)} is removed. z brings it back.")

    async def _undo(self, _: str) -> None:
        label = self._host.session.undo()
        text = f"Undone: {safe_line(label)}." if label else "There is nothing to undo."
        self._host.tell(text)

    async def _redo(self, _: str) -> None:
        label = self._host.session.redo()
        text = f"Done again: {safe_line(label)}." if label else "There is nothing to do again."
        self._host.tell(text)

    async def _rate(self, value: int) -> None:
        self._host.session.rate(self._one().id, value)

    async def _pin(self, _: str) -> None:
        is_pinned = self._host.session.pin(self._one().id)
        text = "Pinned: it is always sent." if is_pinned else "No longer pinned."
        self._host.tell(text)

    async def _exclude(self, _: str) -> None:
        message = self._one()
        is_excluded = self._host.session.exclude(message.id)
        what = "It and its replies are" if message.role == "user" else "Its turn is"
        text = f"{what} not sent any more." if is_excluded else "It is sent again."
        self._host.tell(text)

    async def _fork(self, _: str) -> None:
        self._host.session.fork(self._one().id)
        self._host.tell("This is a new chat; the other one stays as it was.")

    async def _menu(self, _: str) -> None:
        from tui_chat.ui.screens.dialogs import MessageMenu
        from tui_chat.ui.transcript.message_facts import message_facts

        message = self._one(True)
        title = _named(message).removeprefix("The ").capitalize()
        usable = [action_id for action_id in _MENU if self.can(action_id)]

        async def chosen(action_id: str | None) -> None:
            if action_id is not None:
                await self._host.run_command(action_id)

        self._host.push_screen(MessageMenu(message_facts(message), usable, title), chosen)


def not_of_notes() -> ContextError:
    """Return the error for an action that applies to turns only and was used on a note."""
    return ContextError("That is a note", "It stands for other messages", "Choose one of those")


def _named(message: Message) -> str:
    if message.is_note:
        return "The note"
    return "Your message" if message.role == "user" else "The reply"
