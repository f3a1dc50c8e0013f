"""The rank screen: puts the versions of a reply in order, the best first.

Keeping the order writes a rank into the marks of each version, as one step that can be undone.
Closing the screen without keeping it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.types import CSSPathType
from textual.widgets import Static

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.marks import Marks
from tui_chat.errors import ContextError, TuiChatError
from tui_chat.safe_text import safe_line
from tui_chat.session import ChatSession
from tui_chat.ui.remedies import notify_error
from tui_chat.ui.screens.message_lines import first_words, text_lines
from tui_chat.ui.screens.sheet import CLOSE, ListSheet
from tui_chat.ui.transcript.message_notes import short_model
from tui_chat.ui.widgets.choice_list import ChoiceList
from tui_chat.ui.widgets.line_view import LineView, fitted


@dataclass(frozen=True, slots=True)
class Ranking:
    """The versions to rank, in their present order."""

    prompt: str
    """Text of the message that the versions answer; empty for versions of a first message."""
    versions: tuple[Message, ...]
    """The ranked versions, the best first, then the unranked ones, the oldest first."""

    @property
    def is_all_flawed(self) -> bool:
        """Whether all versions are marked as flawed."""
        return all(message.marks.all_flawed for message in self.versions)


def ranking_of(conversation: Conversation, message: Message) -> Ranking:
    """Return what to rank for a message: its versions or, for a prompt, its replies if several.

    Raises:
        ContextError: If there is only one version.
    """
    versions = conversation.siblings(message.id)
    if message.role == "user":
        replies = conversation.children(message.id)
        versions = replies if len(replies) > 1 else versions
    if len(versions) < 2:
        raise ContextError(
            "There is nothing to rank", "It has one version only", "r on a reply writes another one"
        )
    parent_id = versions[0].parent_id
    unranked = len(versions)
    versions.sort(key=lambda m: unranked if m.marks.rank is None else m.marks.rank)
    prompt = conversation[parent_id].text if parent_id is not None else ""
    return Ranking(prompt, tuple(versions))


def ranked_marks(versions: Sequence[Message], is_all_flawed: bool) -> Mapping[str, Marks]:
    """Return the new marks of ranked versions, by message id.

    Args:
        versions: The versions, the best first.
        is_all_flawed: Whether none of them is any good. Then none gets a rank, so that no export
            prefers one to another.
    """
    return {
        message.id: replace(
            message.marks, rank=None if is_all_flawed else rank, all_flawed=is_all_flawed
        )
        for rank, message in enumerate(versions)
    }


class RankScreen(ListSheet[bool]):
    """Puts versions in order; the result is True if the user has kept the order.

    Args:
        session: The session with the chat.
        ranking: The versions to rank.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "rank.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "keep", "Keep", id="rank_keep",
                tooltip="Keeps this order as the ranks of the versions."),
        Binding("shift+up,K", "shift(-1)", "Better", key_display="Shift+↑", id="rank_better",
                tooltip="Moves the highlighted version up."),
        Binding("shift+down,J", "shift(1)", "Worse", key_display="Shift+↓", id="rank_worse",
                tooltip="Moves the highlighted version down."),
        Binding("a", "all_flawed", "All flawed", id="rank_all_flawed",
                tooltip="Says that none of the versions is any good; again takes it back."),
        Binding("k", "list_move(-1)", "Up", show=False),
        Binding("j", "list_move(1)", "Down", show=False),
        Binding("pageup", "scroll_text(-1)", "Scroll the text up", show=False, priority=True),
        Binding("pagedown", "scroll_text(1)", "Scroll the text down", show=False, priority=True),
        CLOSE,
    ]  # fmt: skip

    is_all_flawed: reactive[bool] = reactive(False, init=False)
    """Whether the user has marked all versions as flawed."""

    def __init__(self, session: ChatSession, ranking: Ranking) -> None:
        super().__init__("Rank")
        self._session = session
        self._ranking = ranking
        self._shown = ""
        self.set_reactive(RankScreen.is_all_flawed, ranking.is_all_flawed)

    def compose_body(self) -> ComposeResult:
        """Compose the prompt, the versions, and the text of the highlighted version."""
        prompt = safe_line(self._ranking.prompt[:1000])
        yield Static(Content(prompt), id="asked", markup=False)
        yield ChoiceList[Message](self._draw, list(self._ranking.versions), id="choices")
        yield LineView(id="text")

    def on_mount(self) -> None:
        """Focus the list, with the best version highlighted."""
        super().on_mount()
        self.add_class("-tall-sheet")
        self.query_one("#asked").display = bool(self._ranking.prompt)
        self.choices.focus()
        self.watch_is_all_flawed()

    def watch_is_all_flawed(self) -> None:
        """Update the note, and show ranks or crosses in the rows."""
        count = len(self._ranking.versions)
        self.note = (
            f"all {count} are flawed" if self.is_all_flawed else f"{count} versions, the best first"
        )
        self.choices.redraw()

    def _draw(self, message: Message, width: int) -> Content:
        place = "✗" if self.is_all_flawed else str(self.choices.rows.index(message) + 1)
        colour = "$warning" if self.is_all_flawed else "$accent"
        model = short_model(message.model) if message.model and width >= 60 else ""
        tail = fitted(model, 16, "right") if model else ""
        text = fitted(first_words(message), width - 4 - len(tail))
        return Content.assemble(
            (fitted(place, 2, "right") + "  ", f"{colour} bold"), text, (tail, "$text-muted")
        )

    @on(ChoiceList.Moved)
    def _moved(self, event: ChoiceList.Moved) -> None:
        self._show_text()

    def on_resize(self, event: events.Resize) -> None:
        """Show the first text once the screen has a size."""
        self._show_text()

    def _show_text(self) -> None:
        message: Message | None = self.choices.row
        if message is not None and message.id != self._shown:
            self._shown = message.id
            self.query_one("#text", LineView).show_lines(text_lines(message))

    # What the keys do -----------------------------------------------------------------------------

    def action_scroll_text(self, step: int) -> None:
        """Scroll the text of the highlighted version by a page."""
        view = self.query_one("#text", LineView)
        view.scroll_relative(y=step * max(1, view.size.height - 1), animate=False)

    def action_shift(self, step: int) -> None:
        """Move the highlighted version up (-1) or down (1)."""
        self._place(self.choices.highlighted + step)

    def _place(self, index: int) -> None:
        versions = list(self.choices.rows)
        if not 0 <= index < len(versions):
            return
        versions.insert(index, versions.pop(self.choices.highlighted))
        self.choices.show_rows(versions, index)

    def on_key(self, event: events.Key) -> None:
        """Move the highlighted version to the place of a pressed digit."""
        if event.character is not None and event.character in "123456789":
            event.stop()
            self._place(int(event.character) - 1)

    def action_all_flawed(self) -> None:
        """Mark all versions as flawed, or take that back."""
        self.is_all_flawed = not self.is_all_flawed

    @on(ChoiceList.Chosen)
    def action_keep(self) -> None:
        """Save the order as ranks and close; a toast says why if that is not possible."""
        marks = ranked_marks(self._newest(), self.is_all_flawed)
        try:
            self._session.set_marks("Ranking", marks)
        except TuiChatError as error:
            notify_error(self, error)
            return
        self.dismiss(True)

    def _newest(self) -> list[Message]:
        """Return the versions in order, with the marks they have now."""
        return [self._session.message(message.id) for message in self.choices.rows]
