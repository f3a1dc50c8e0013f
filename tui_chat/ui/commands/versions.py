"""The `tree`, `rank` and `label` actions, which open the screens of the same names.

Each screen starts at the selected message and changes the chat through the session. When the user
leaves the tree with a message, the transcript selects that message.
"""

from __future__ import annotations

from tui_chat.chat.conversation import Message
from tui_chat.errors import ContextError
from tui_chat.ui.commands.host import Command, Host
from tui_chat.ui.commands.messages import not_of_notes


class TreeCommands:
    """The `tree`, `rank` and `label` actions.

    Args:
        host: The app to act on.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.table: dict[str, Command] = {
            "tree": self._tree,
            "rank": self._rank,
            "label": self._label,
        }

    def _one(self) -> Message:
        """Return the selected message, else the last one.

        Raises:
            ContextError: If there is no message, or the message is a note.
        """
        transcript = self._host.chat.transcript
        message = transcript.selected_message or (transcript.path[-1] if transcript.path else None)
        if message is None:
            raise ContextError("There is no message yet", "", "Type one and press Enter")
        if message.is_note:
            raise not_of_notes()
        return self._host.session.message(message.id)

    async def _tree(self, _: str) -> None:
        from tui_chat.ui.screens.tree import TreeScreen

        async def chosen(message_id: str | None) -> None:
            if message_id is not None:
                await self._go_to(message_id)

        self._host.push_screen(TreeScreen(self._host.session, self._selected_id()), chosen)

    def _selected_id(self) -> str | None:
        return self._host.chat.transcript.selected

    async def _go_to(self, message_id: str) -> None:
        """Update the transcript to the active path, and select a message on it."""
        chat = self._host.chat
        path = self._host.session.messages()
        chat.transcript.show(path)
        chat.set_focus(chat.transcript, scroll_visible=False)
        index = next((i for i, m in enumerate(path) if m.id == message_id), len(path) - 1)
        chat.transcript.select(index)

    async def _rank(self, _: str) -> None:
        from tui_chat.ui.screens.rank import RankScreen, ranking_of

        message = self._one()
        ranking = ranking_of(self._host.session.conversation, message)

        def ranked(is_kept: bool | None) -> None:
            if is_kept:
                self._host.tell("The ranking is kept. z takes it back.")

        self._host.push_screen(RankScreen(self._host.session, ranking), ranked)

    async def _label(self, _: str) -> None:
        from tui_chat.ui.screens.label import LabelScreen, messages_to_label

        message = self._one()
        session = self._host.session
        ids = messages_to_label(session.conversation, message)

        def labelled(count: int | None) -> None:
            if count:
                what = "1 message" if count == 1 else f"{count} messages"
                self._host.tell(f"{what} labelled. z takes the last one back.")

        self._host.push_screen(LabelScreen(session, ids, message.id), labelled)
