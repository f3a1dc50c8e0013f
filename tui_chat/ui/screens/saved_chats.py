"""The list of saved chats (Ctrl+O): filter, preview, rename, delete, and undo of the last two.

The screen itself matches words against titles, models and tags. For filters such as `rated:up` it
asks the database which chats match. It does not open a chat; its result is the id of the chosen
one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.types import CSSPathType
from textual.widgets import Static

from tui_chat.chat.conversation import Conversation, now
from tui_chat.chat.query import Query, parse_query
from tui_chat.errors import BusyError, UsageError
from tui_chat.safe_text import safe_line, safe_text
from tui_chat.session import ChatSession
from tui_chat.ui.remedies import in_screens
from tui_chat.ui.screens.dialogs import InputScreen
from tui_chat.ui.screens.sheet import CLOSE, WIDE, Filter, ListSheet
from tui_chat.ui.widgets.choice_list import ChoiceList
from tui_chat.ui.widgets.line_view import fitted

if TYPE_CHECKING:
    from tui_chat.storage.database.records import ChatSummary

PREVIEW_DELAY_S = 0.08
"""Seconds for which a chat is highlighted before its preview is read."""
_PREVIEW_MESSAGES = 6
_PREVIEW_CHARACTERS = 600
_KEPT_PREVIEWS = 50


@dataclass(frozen=True, slots=True)
class _Undo:
    """A deletion or renaming that can be undone."""

    chat: ChatSummary
    """The chat before the change."""
    index: int
    """Position of the chat in the unfiltered list."""
    is_deletion: bool


class TranscriptsScreen(ListSheet[str]):
    """A list of saved chats to pick from; the result is the id of the chat.

    Args:
        session: The session whose saved chats are listed.
        clock: Returns the current time, with a time zone.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "saved_chats.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", id="transcripts_open",
                tooltip="Opens the highlighted chat; the present one stays saved."),
        Binding("r", "rename", "Rename", id="transcripts_rename",
                tooltip="Gives the highlighted chat another title."),
        Binding("delete", "delete", "Delete", id="transcripts_delete",
                tooltip="Deletes the highlighted chat; z brings it back."),
        Binding("z", "undo", "Undo", id="transcripts_undo",
                tooltip="Takes the last deletion or renaming back."),
        Binding("slash", "filter", "Filter", id="transcripts_filter",
                tooltip="Narrows the list; any other letter does that too."),
        CLOSE,
    ]  # fmt: skip

    undoable: reactive[tuple[_Undo, ...]] = reactive((), bindings=True)
    """The changes made on this screen, the latest last."""

    def __init__(self, session: ChatSession, clock: Callable[[], datetime] = now) -> None:
        super().__init__("Chats")
        self._session = session
        self._clock = clock
        self._chats: list[ChatSummary] = []
        self._previews: dict[str, Content] = {}
        self._preview_timer: Timer | None = None
        self._filtered = ""
        self._answered: str | None = None
        """The text that the rows are the results for."""
        self._filters = Query()
        """The filters in the typed text, without its words."""
        self._meant: Mapping[Query, frozenset[str]] = {}
        """Ids of the matching chats by filters, for filters the database has answered."""
        self._chosen_for: str | None = None
        """The text for which the user pressed Enter before the database had answered."""

    def compose_body(self) -> ComposeResult:
        """Compose the filter, the list, and the preview of the highlighted chat beside it."""
        yield Filter("Words of the title, #tag, or filters as rated:up")
        with Horizontal(id="chats"):
            yield ChoiceList["ChatSummary"](self._draw, id="choices")
            yield Static(id="preview", markup=False)

    def on_mount(self) -> None:
        """Start reading the list."""
        super().on_mount()
        self.add_class("-tall-sheet")
        self.say("reading…")
        self.read(self._session.chats, self._show_chats)

    def _show_chats(self, chats: list[ChatSummary]) -> None:
        self._chats = chats
        if not chats:
            if self._session.save_state is None:
                self.say("Nothing is saved in this run.", "Start without --no-save to keep chats.")
                return
            self.say("No chat is saved yet.", "Every chat is saved as it happens, from the first "
                     "message on. You find it here again.")  # fmt: skip
            return
        self.unsay()
        self._filter(self.query_one(Filter).value)
        self.choices.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable the keys that apply; letter keys are off while the filter has the focus."""
        if self.has_class("-message"):
            return action in ("close",) or (action == "undo" and bool(self.undoable))
        if action in ("rename", "delete", "undo", "filter") and self.query_one(Filter).has_focus:
            return False
        if action == "undo":
            return bool(self.undoable)
        if action in ("rename", "delete", "choose"):
            return bool(self._chats)
        return True

    # Rows -----------------------------------------------------------------------------------------

    def _filter(self, text: str, highlighted: int = 0) -> None:
        """Show the chats that match the typed text.

        While the last filter is incomplete, the part before it counts. While the database answers,
        the previous rows stay.

        Args:
            text: The text in the filter.
            highlighted: Index of the row to highlight.
        """
        self._filtered = text
        query, problem = _query_of(text)
        self._filters = replace(query, terms=())
        if self._filters and self._filters not in self._meant:
            self._ask(self._filters, highlighted)
            return
        words = [term.text.lower() for term in query.terms]
        rows = [chat for chat in self._chats if _is_listed(chat, self._filters, words)]
        total = sum(not chat.archived for chat in self._chats)
        if self._filters:
            rows = [chat for chat in rows if chat.id in self._meant[self._filters]]
        rows = [chat for chat in rows if _has_words(chat, words)]
        self.choices.show_rows(rows, highlighted)
        count = f"{total:,} chat{'s' * (total != 1)}".replace(",", " ")
        self.note = problem or (f"{len(rows)} of {count}" if query else count)
        self._answered = text

    def _ask(self, filters: Query, highlighted: int) -> None:
        """Ask the database, in a worker thread, which chats match; then filter again."""

        def show(meant: frozenset[str]) -> None:
            self._meant = {**self._meant, filters: meant}
            if filters != self._filters:
                return
            self._filter(self._filtered, highlighted)
            if self._chosen_for == self._answered:
                self.choices.choose()

        self.read(lambda: self._session.chats_with(filters), show, group="filter")

    def _draw(self, chat: ChatSummary, width: int) -> Content:
        date = chat_date(chat.updated, self._clock())
        turns = f"{chat.turns} turn{'s' * (chat.turns != 1)}"
        is_open = chat.id == self._session.conversation.id
        muted = "$accent" if is_open else "$text-muted"
        tail: list[tuple[str, str]] = []
        if width >= 56:
            tail.append((f"  {fitted(chat.model, 12)}", muted))
        if width >= 44:
            tail.append((fitted(turns, 10, "right"), muted))
        if width >= 30:
            tail.append((fitted("open now" if is_open else date, 17, "right"), muted))
        used = sum(len(text) for text, _ in tail)
        tags = " ".join(f"#{tag}" for tag in chat.tags)
        title = safe_line(chat.title or "Untitled", 200)
        room = width - used - cell_len(title) - 2
        if tags and cell_len(tags) <= room:
            return Content.assemble(title, (f"  {fitted(tags, room)}", "$text-muted"), *tail)
        return Content.assemble(fitted(title, width - used), *tail)

    @on(Filter.Changed)
    def _typing(self, event: Filter.Changed) -> None:
        event.stop()
        self._filter(event.value)

    def action_choose(self) -> None:
        """Choose the highlighted chat; if the text has changed, wait for its results first."""
        typed = self.query_one(Filter).value
        if typed != self._filtered:
            self._filter(typed)
        if typed == self._answered:
            super().action_choose()
        else:
            self._chosen_for = typed

    def action_filter(self) -> None:
        """Focus the filter."""
        self.set_focus(self.query_one(Filter))

    def on_key(self, event: events.Key) -> None:
        """Send a printable character that is no key binding to the filter."""
        field = self.query_one(Filter)
        typed = event.character
        if not typed or not event.is_printable or self.has_class("-message"):
            return
        if not field.has_focus:
            if event.key in self.active_bindings:
                return
            self.set_focus(field)
        # With fast typing, a key sent to the list can arrive after the filter has got the focus.
        event.stop()
        field.insert_text_at_cursor(typed)

    def action_list_move(self, step: int) -> None:
        """Focus the list and move the highlight; moving up from the first row changes no row."""
        self.set_focus(self.choices)
        if self.choices.highlighted + step >= 0:
            self.choices.action_move(step)

    # Preview --------------------------------------------------------------------------------------

    @on(ChoiceList.Moved)
    def _moved(self, event: ChoiceList.Moved) -> None:
        event.stop()
        self._preview()

    def on_resize(self) -> None:
        """Read the preview if the new size has room for it."""
        if self._chats:
            self._preview()

    def _preview(self) -> None:
        if self._preview_timer is not None:
            self._preview_timer.stop()
        chat: ChatSummary | None = self.choices.row
        if chat is None:
            self._show_preview("", Content.styled("No chat matches.", "$text-muted"))
        elif chat.id in self._previews:
            self._show_preview(chat.id, self._previews[chat.id])
        elif self.size.width >= WIDE:
            self._preview_timer = self.set_timer(
                PREVIEW_DELAY_S, lambda: self._read_preview(chat.id)
            )

    def _read_preview(self, chat_id: str) -> None:
        def work() -> Content:
            try:
                return preview(self._session.load_chat(chat_id))
            except Exception as error:
                return Content.styled(safe_text(str(error)), "$error")

        self.read(work, lambda content: self._show_preview(chat_id, content), group="preview")

    def _show_preview(self, chat_id: str, content: Content) -> None:
        if chat_id:
            while len(self._previews) >= _KEPT_PREVIEWS:
                del self._previews[next(iter(self._previews))]
            self._previews[chat_id] = content
        self.query_one("#preview", Static).update(content)

    # What can be done -----------------------------------------------------------------------------

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        event.stop()
        chat: ChatSummary | None = self.choices.row
        if chat is not None:
            self.dismiss(chat.id)

    def action_rename(self) -> None:
        """Ask for a new title of the highlighted chat."""
        chat: ChatSummary | None = self.choices.row
        if chat is None:
            return

        def rename(title: str | None) -> None:
            wanted = (title or "").strip()
            if wanted and wanted != chat.title and self._rename(chat, wanted):
                index = self._chats.index(next(c for c in self._chats if c.id == chat.id))
                self.undoable = (*self.undoable, _Undo(chat, index, False))

        self.app.push_screen(
            InputScreen("Rename the chat", chat.title, "Enter keeps it, Esc leaves it as it was."),
            rename,
        )

    def _rename(self, chat: ChatSummary, title: str) -> bool:
        try:
            self._session.rename_chat(chat.id, title)
        except BusyError as error:
            self.note = in_screens(error, self.app).one_line
            return False
        self._chats = [replace(c, title=title) if c.id == chat.id else c for c in self._chats]
        self._refresh_rows(chat.id)
        return True

    def action_delete(self) -> None:
        """Delete the highlighted chat."""
        chat: ChatSummary | None = self.choices.row
        if chat is None:
            return
        try:
            self._session.delete_chat(chat.id)
        except BusyError as error:
            self.note = in_screens(error, self.app).one_line
            return
        position = self.choices.highlighted
        index = self._chats.index(chat)
        self._chats = [c for c in self._chats if c.id != chat.id]
        self.undoable = (*self.undoable, _Undo(chat, index, True))
        if self._chats:
            self._filter(self.query_one(Filter).value, position)
            self.note = f"Deleted “{safe_line(chat.title or 'Untitled', 30)}”. z brings it back"
        else:
            self.note = ""
            self.say("No chat is left.", "z brings the last one back.")

    def action_undo(self) -> None:
        """Undo the last deletion or renaming."""
        if not self.undoable:
            return
        *earlier, last = self.undoable
        self.undoable = tuple(earlier)
        if last.is_deletion:
            self._session.undelete_chat(last.chat.id)
            self._chats = [*self._chats[: last.index], last.chat, *self._chats[last.index :]]
            self.unsay()
            self._refresh_rows(last.chat.id)
            self.choices.focus()
        else:
            self._rename(last.chat, last.chat.title)

    def _refresh_rows(self, chat_id: str) -> None:
        """Filter again, and highlight a chat."""
        self._filter(self.query_one(Filter).value)
        rows = self.choices.rows
        self.choices.highlighted = next((i for i, c in enumerate(rows) if c.id == chat_id), 0)


def _query_of(text: str) -> tuple[Query, str]:
    """Parse the typed text; return the query, and what is wrong with the text, if anything.

    If only the last word is invalid, the query is that of the words before it.
    """
    try:
        return parse_query(text), ""
    except UsageError as error:
        problem = error.title
    with suppress(UsageError):
        return parse_query(text.rstrip().rpartition(" ")[0]), problem
    return Query(), problem


def _is_listed(chat: ChatSummary, filters: Query, words: list[str]) -> bool:
    """Return whether to list a chat: archived chats only if the filters or words ask for them."""
    is_asked_for = filters.archived or any(
        "archived".startswith(word) for word in words if len(word) > 3
    )
    return bool(is_asked_for) or not chat.archived


def _has_words(chat: ChatSummary, words: list[str]) -> bool:
    """Return whether every word occurs in the chat's title, model or tags.

    For an archived chat, the word `archived` matches too.
    """
    tags = " ".join(f"#{tag}" for tag in chat.tags)
    text = f"{chat.title} {chat.model} {tags} {'archived' if chat.archived else ''}".lower()
    return all(word in text for word in words)


def chat_date(moment: datetime, current: datetime) -> str:
    """Return a date as `today 14:05`, `yesterday 09:30`, `3 Mar` or `3 Mar 2025`, in local time.

    Args:
        moment: The date to show, with a time zone.
        current: The current time, with a time zone.
    """
    local, today = moment.astimezone(), current.astimezone()
    if local.date() == today.date():
        return f"today {local:%H:%M}"
    if local.date() == today.date() - timedelta(days=1):
        return f"yesterday {local:%H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b}"
    return f"{local.day} {local:%b %Y}"


def preview(conversation: Conversation) -> Content:
    """Return the beginning of a chat's first messages, as plain text."""
    parts: list[Content] = []
    for message in conversation.path()[:_PREVIEW_MESSAGES]:
        name = "you" if message.role == "user" else message.model or message.role
        text = safe_text(message.text[:_PREVIEW_CHARACTERS]).strip()
        text = "\n".join(line for line in text.splitlines() if line.strip())
        parts.append(Content.assemble((f"{safe_line(name, 40)}\n", "$text-muted"), text or "…"))
    return Content("\n\n").join(parts) if parts else Content.styled("No messages.", "$text-muted")
