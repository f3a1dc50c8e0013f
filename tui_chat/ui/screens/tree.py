"""The tree screen (Ctrl+T): all branches of the chat, to find, name, prune or continue one.

The session makes all changes. The result of the screen is the id of the message to go to.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.types import CSSPathType

from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line
from tui_chat.session import ChatSession
from tui_chat.ui.remedies import notify_error
from tui_chat.ui.screens.dialogs import InputScreen
from tui_chat.ui.screens.sheet import CLOSE, ListSheet
from tui_chat.ui.screens.tree_line import most_guides, tree_line
from tui_chat.ui.screens.tree_rows import TreeRow, parent_index, tree_rows
from tui_chat.ui.transcript.message_list import MessageList
from tui_chat.ui.widgets.choice_list import GUTTER, ChoiceList
from tui_chat.ui.widgets.numbers import grouped

LOOK_EVERY_S = 0.5
"""Seconds between two checks whether the chat has changed, for example by a growing reply."""


class TreeScreen(ListSheet[str]):
    """Shows the whole chat as a tree.

    Args:
        session: The session with the chat.
        selected: Id of the message to highlight first; the leaf of the active path if None.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "tree.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Go there", id="tree_go",
                tooltip="Shows the branch of the highlighted message in the chat."),
        Binding("space", "fold_or_unfold", "Fold", id="tree_toggle",
                tooltip="Folds or unfolds what follows the highlighted message."),
        Binding("left,h", "fold", "Fold", show=False,
                tooltip="Folds what follows; on a folded row, goes to where its branch begins."),
        Binding("right,l", "unfold", "Unfold", show=False),
        Binding("n", "next_fork(1)", "Next fork", id="tree_fork",
                tooltip="Goes to the next message with several answers; N goes back."),
        Binding("N,shift+tab", "next_fork(-1)", "Fork before", show=False),
        Binding("tab", "next_fork(1)", "Next fork", show=False),
        Binding("b", "name", "Name", id="tree_name",
                tooltip="Names the branch that begins at the highlighted message."),
        Binding("delete,p", "prune", "Prune", id="tree_prune",
                tooltip="Removes the highlighted message and all below it; z brings it back."),
        Binding("z", "undo", "Undo", id="tree_undo",
                tooltip="Takes back the last change to the chat."),
        Binding("Z", "redo", "Redo", show=False),
        Binding("k", "list_move(-1)", "Up", show=False),
        Binding("j", "list_move(1)", "Down", show=False),
        Binding("home,g", "list_end(0)", "First", show=False),
        Binding("end,G", "list_end(-1)", "Last", show=False),
        Binding("ctrl+t", "close", "Close", show=False),
        CLOSE,
    ]  # fmt: skip

    def __init__(self, session: ChatSession, selected: str | None = None) -> None:
        super().__init__("Tree")
        self._session = session
        self._first = selected
        self._folded: set[str] = set()
        self._version = -1
        self._hidden = 0
        self._deepest = 0

    def compose_body(self) -> ComposeResult:
        """Compose the rows, and a preview of the highlighted message below."""
        yield ChoiceList[TreeRow](self._draw, id="choices")
        yield MessageList(is_framed=False, id="preview")

    def on_mount(self) -> None:
        """Show the tree, and start checking it for changes."""
        super().on_mount()
        self.add_class("-tall-sheet")
        self._show(self._first or self._session.conversation.leaf_id)
        self.choices.focus()
        self.set_interval(LOOK_EVERY_S, self._look)

    # Rows -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Rebuild the rows if the chat has changed."""
        if self._session.conversation.version != self._version:
            self._show(self._highlighted_id())

    def _show(self, highlighted: str | None, near: int = 0) -> None:
        """Rebuild the rows.

        Args:
            highlighted: Id of the message to highlight.
            near: Index of the row to highlight if that message has no row.
        """
        conversation = self._session.conversation
        self._version = conversation.version
        active = [m.id for m in self._session.messages() if not m.is_note]
        rows = tree_rows(conversation.messages(), active, self._folded)
        index = next((i for i, row in enumerate(rows) if row.message.id == highlighted), near)
        self._deepest = max((row.depth for row in rows), default=0)
        self.choices.show_rows(rows, index)
        self.note = _summary(rows, len(active))
        if rows:
            self.unsay()
        elif conversation.undo_label:
            self.say("No message is left.", "z brings the last change back.")
        else:
            self.say("There is no message yet.", "Every message you send, and every version of a "
                     "reply, stands here.")  # fmt: skip
        self.refresh_bindings()

    def _row(self) -> TreeRow | None:
        row: TreeRow | None = self.choices.row
        return row

    def _highlighted_id(self) -> str | None:
        row = self._row()
        return row.message.id if row is not None else None

    def _draw(self, row: TreeRow, width: int) -> Content:
        return tree_line(row, width, self._hidden)

    @on(ChoiceList.Moved)
    def _moved(self, event: ChoiceList.Moved) -> None:
        """Scroll the guides sideways to the highlighted message, and show its preview."""
        row = self._row()
        # Scroll only when the row's depth leaves the visible levels, and then by half their number,
        # so that the tree does not shift with every step.
        most = most_guides(self.choices.scrollable_content_region.width - GUTTER - 1)
        hidden = self._hidden
        if row is None or self._deepest <= most:
            hidden = 0
        elif row.depth > hidden + most - 1:
            hidden = row.depth - most // 2
        elif row.depth <= hidden + 1:
            hidden = max(0, row.depth - most // 2)
        if hidden != self._hidden:
            self._hidden = hidden
            self.choices.redraw()
        preview = self.query_one("#preview", MessageList)
        preview.set_path([row.message] if row is not None else [])
        preview.hold((row.message.id, 0) if row is not None else None)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable the keys that apply to the chat and the highlighted row."""
        conversation, row = self._session.conversation, self._row()
        if action == "undo":
            return bool(conversation.undo_label)
        if action == "redo":
            return bool(conversation.redo_label)
        if action in ("choose", "name", "prune"):
            return row is not None
        if action == "fold_or_unfold":
            return row is not None and row.forks > 0
        if action == "next_fork":
            return any(r.forks > 1 for r in self.choices.rows)
        return True

    # Moving and folding ---------------------------------------------------------------------------

    def action_list_end(self, index: int) -> None:
        """Highlight the first row (0) or the last (-1)."""
        self.choices.action_move_to(index)

    def action_next_fork(self, step: int) -> None:
        """Highlight the next (1) or previous (-1) message with several replies."""
        rows, index = self.choices.rows, self.choices.highlighted + step
        while 0 <= index < len(rows):
            if rows[index].forks > 1:
                self.choices.highlighted = index
                return
            index += step

    def action_fold_or_unfold(self) -> None:
        """Fold or unfold the messages below the highlighted one."""
        row = self._row()
        if row is not None and row.forks:
            self._set_folded(row, not row.is_folded)

    def action_fold(self) -> None:
        """Fold the messages below; if that is done or there are none, go to the fork above."""
        row = self._row()
        if row is None:
            return
        if row.forks and not row.is_folded:
            self._set_folded(row, True)
        else:
            self.choices.highlighted = parent_index(self.choices.rows, self.choices.highlighted)

    def action_unfold(self) -> None:
        """Unfold the messages below; if they are not folded, go to the first of them."""
        row = self._row()
        if row is None:
            return
        if row.is_folded:
            self._set_folded(row, False)
        elif row.forks:
            self.choices.action_move(1)

    def _set_folded(self, row: TreeRow, is_folded: bool) -> None:
        if is_folded:
            self._folded.add(row.message.id)
        else:
            self._folded.discard(row.message.id)
        self._show(row.message.id)

    # What can be done -----------------------------------------------------------------------------

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        """Make the branch of the highlighted message the active one, and close."""
        event.stop()
        row = self._row()
        if row is None:
            return
        if not row.is_active:  # for a message on the active path, the leaf stays where it is
            try:
                self._session.go_to(row.message.id)
            except TuiChatError as error:
                notify_error(self, error)
                return
        self.dismiss(row.message.id)

    def action_name(self) -> None:
        """Ask for a name of the branch that begins at the highlighted message."""
        row = self._row()
        if row is None:
            return
        message_id, before = row.message.id, row.message.marks.branch

        def name(text: str | None) -> None:
            if text is not None and text.strip() != before:
                self._session.name_branch(message_id, text.strip())
                self._show(message_id)

        hint = "Enter keeps it, an empty name takes it away, Esc leaves it as it was."
        self.app.push_screen(InputScreen("Name this branch", before, hint), name)

    def action_prune(self) -> None:
        """Delete the highlighted message and all messages below it."""
        row = self._row()
        if row is None:
            return
        index = self.choices.highlighted
        try:
            self._session.delete(row.message.id)
        except TuiChatError as error:
            notify_error(self, error)
            return
        self._show(None, near=index)
        count = row.below + 1
        what = "One message is" if count == 1 else f"{grouped(count)} messages are"
        self.note = f"{what} removed. z brings {'it' if count == 1 else 'them'} back"

    def action_undo(self) -> None:
        """Undo the last change to the chat."""
        self._step("Undone")

    def action_redo(self) -> None:
        """Redo the change that was undone last."""
        self._step("Done again")

    def _step(self, said: str) -> None:
        session, highlighted = self._session, self._highlighted_id()
        before = {row.message.id for row in self.choices.rows}
        try:
            label = session.undo() if said == "Undone" else session.redo()
        except TuiChatError as error:
            notify_error(self, error)
            return
        self._show(highlighted, near=self.choices.highlighted)
        # If the step has brought messages back, highlight the first of them.
        back = (r.message.id for r in self.choices.rows if r.message.id not in before)
        returned = next(back, None)
        if returned is not None:
            self._show(returned)
        self.note = f"{said}: {safe_line(label, 40)}"


def _summary(rows: list[TreeRow], on_path: int) -> str:
    """Return the number of messages in the tree, and on the active path if that differs."""
    if not rows:
        return ""
    count = len(rows) + sum(row.below for row in rows if row.is_folded)
    said = f"{grouped(count)} message{'s' * (count != 1)}"
    return said if count == on_path else f"{said}, {grouped(on_path)} in the chat now"
