"""The search screen: full-text search of all saved chats while the user types, best match first.

Searches run in a worker thread, and results for an outdated text are dropped. The screen does not
open a chat; its result is the chosen message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.types import CSSPathType
from textual.widgets import Static

from tui_chat.chat.conversation import now
from tui_chat.chat.query import parse_query
from tui_chat.errors import TuiChatError, UsageError
from tui_chat.safe_text import safe_line, safe_line_parts
from tui_chat.session import ChatSession
from tui_chat.storage.database.reading import FOUND_AT_MOST
from tui_chat.ui.remedies import in_screens
from tui_chat.ui.screens.saved_chats import chat_date
from tui_chat.ui.screens.sheet import CLOSE, Filter, ListSheet
from tui_chat.ui.widgets.choice_list import ChoiceList
from tui_chat.ui.widgets.line_view import fitted

if TYPE_CHECKING:
    from tui_chat.storage.database.search import Found

DELAY_S = 0.06
"""Seconds without a key after which a search starts."""
_LEAD = 12
"""Characters of the snippet that a row shows before the first match."""
_MATCH = "bold $primary"
_WELCOME = (
    ("Words are searched for in every saved message.", ""),
    ('"two words"', "exactly these, one after the other"),
    ("model:guide", "replies of a model"),
    ("role:user", "what you said; role:assistant, what was answered"),
    ("after:2026-03-01", "from this day on; before: until then"),
    ("rated:up", "what you rated; down, any"),
    ("tag:work", "chats with a tag; is:archived"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A message of a saved chat."""

    chat_id: str
    message_id: str


class SearchScreen(ListSheet[Place]):
    """Searches all saved chats; the result is the chosen message.

    Args:
        session: The session whose saved chats are searched.
        text: The text to begin with.
        clock: Returns the current time, with a time zone.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "search.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", id="search_open",
                tooltip="Opens the chat at the highlighted message."),
        CLOSE,
    ]  # fmt: skip

    def __init__(
        self, session: ChatSession, text: str = "", clock: Callable[[], datetime] = now
    ) -> None:
        super().__init__("Search")
        self._session = session
        self._first = text
        self._clock = clock
        self._asked: str | None = None
        """The text of the latest search."""
        self._answered: str | None = None
        """The text that the rows are the results for."""
        self._chosen_for: str | None = None
        """The text for which the user pressed Enter before its results had arrived."""
        self._timer: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Compose the search field, the results, and the full snippet of the highlighted one."""
        yield Filter("Words, and filters as role:user")
        yield Static(id="search-message", markup=False)
        with Vertical(id="found"):
            yield ChoiceList["Found"](self._draw, id="choices")
            yield Static(id="found-detail", markup=False)

    def on_mount(self) -> None:
        """Focus the search field and search for its first text."""
        super().on_mount()
        self.add_class("-tall-sheet")
        field = self.query_one(Filter)
        field.value = self._first
        field.cursor_position = len(self._first)
        self.set_focus(field)
        self._search()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable Enter while there are results, or while a search for new text is due."""
        if action == "choose":
            typed = self.query_one(Filter).value
            return self.query_one("#found").display or bool(typed and typed != self._asked)
        return True

    # Searching ------------------------------------------------------------------------------------

    @on(Filter.Changed)
    def _typing(self, event: Filter.Changed) -> None:
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DELAY_S, self._search)

    def _search(self) -> None:
        """Search for the text in the field, unless it is the text of the latest search."""
        text = self.query_one(Filter).value
        if text == self._asked:
            return
        self._asked = text
        try:
            query = parse_query(text, is_typing=True)
        except UsageError as error:
            self.workers.cancel_group(self, "search")
            self._tell(error.title, error.detail, error.hint, colour="$warning")
            return
        if self._session.save_state is None:
            self._tell("Nothing is saved in this run.", "Start without --no-save to keep chats.")
        elif not query:
            self.workers.cancel_group(self, "search")
            self._welcome()
        else:
            if self._answered is None:
                self.note = "searching…"
            self.read(
                lambda: self._session.search(query),
                lambda found: self._show_found(text, found),
                group="search",
            )

    def _show_found(self, text: str, found: list[Found]) -> None:
        if text != self._asked:
            return
        self._answered = text
        if not found:
            self._tell("No message matches.", "Fewer words or filters find more.")
            return
        self._show_rows(True)
        # If the user has already moved down to a result, keep it highlighted among the new ones.
        kept: Found | None = self.choices.row if self.choices.highlighted > 0 else None
        places = [(each.chat_id, each.message_id) for each in found]
        at = (kept.chat_id, kept.message_id) if kept is not None else None
        self.choices.show_rows(found, places.index(at) if at in places else 0)
        count = f"{len(found)} message{'s' * (len(found) != 1)}"
        self.note = f"the best {len(found)}" if len(found) >= FOUND_AT_MOST else count
        if self._chosen_for == text:
            self.choices.choose()

    def failed(self, error: BaseException) -> None:
        """Show why the search failed; the user can go on typing."""
        self._answered = None
        if isinstance(error, TuiChatError):
            error = in_screens(error, self.app)
            self._tell(error.title, error.detail, error.hint, colour="$error")
        else:
            super().failed(error)

    # What is shown --------------------------------------------------------------------------------

    def _show_rows(self, is_shown: bool) -> None:
        self.query_one("#found").display = is_shown
        self.query_one("#search-message").display = not is_shown
        self.refresh_bindings()

    def _tell(self, title: str, *lines: str, colour: str = "$text-muted") -> None:
        """Show a message in place of the results."""
        self.note = ""
        told = [Content.styled(safe_line(title), colour)]
        told += [Content(safe_line(line)) for line in lines if line]
        self.query_one("#search-message", Static).update(Content("\n").join(told))
        self._show_rows(False)

    def _welcome(self) -> None:
        """Show the search syntax in place of the results."""
        self._tell("")
        (first, _), *rows = _WELCOME
        lines = [Content(first), Content("")]
        lines += [
            Content.assemble((f"{typed:<18}", "$primary"), (means, "$text-muted"))
            for typed, means in rows
        ]
        self.query_one("#search-message", Static).update(Content("\n").join(lines))

    def _draw(self, found: Found, width: int) -> Content:
        tail: list[tuple[str, str]] = []
        if width >= 64:
            tail.append((f"  {fitted(found.title or 'Untitled', min(28, width // 4))}", _MUTED))
        if width >= 40:
            date = chat_date(found.created, self._clock())
            tail.append((fitted(date, 17, "right"), _MUTED))
        room = width - sum(len(text) for text, _ in tail)
        row = _snippet(found, _LEAD).truncate(room, ellipsis=True)
        return Content.assemble(row, " " * (room - row.cell_length), *tail)

    @on(ChoiceList.Moved)
    def _moved(self, event: ChoiceList.Moved) -> None:
        event.stop()
        found: Found | None = self.choices.row
        if found is None:
            return
        who = "you" if found.role == "user" else found.model or found.role
        date = chat_date(found.created, self._clock())
        head = f"{safe_line(found.title, 60) or 'Untitled'} · {safe_line(who, 24)} · {date}"
        shown = Content.assemble((head, _MUTED), "\n", _snippet(found))
        self.query_one("#found-detail", Static).update(shown)

    # Choosing -------------------------------------------------------------------------------------

    def action_choose(self) -> None:
        """Choose the highlighted result; if the text has changed, wait for its results first."""
        typed = self.query_one(Filter).value
        if typed == self._answered:
            super().action_choose()
        else:
            self._chosen_for = typed
            self._search()

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        event.stop()
        found: Found | None = self.choices.row
        if found is not None:
            self.dismiss(Place(found.chat_id, found.message_id))

    def on_key(self, event: events.Key) -> None:
        """Send printable characters to the search field wherever the focus is."""
        field = self.query_one(Filter)
        if event.character and event.is_printable and not field.has_focus:
            event.stop()
            self.set_focus(field)
            field.insert_text_at_cursor(event.character)


_MUTED = "$text-muted"


def _snippet(found: Found, lead: int | None = None) -> Content:
    """Return the snippet of a search result on one line, with its matches coloured.

    Args:
        found: The search result.
        lead: Number of characters to keep before the first match; None for all.
    """
    text, ranges = found.snippet, found.ranges
    if lead is not None and ranges and ranges[0][0] > lead:
        cut = ranges[0][0] - lead
        while text[cut + 1].isspace():
            cut += 1
        text = "…" + text[cut + 1 :]
        ranges = tuple((start - cut, end - cut) for start, end in ranges)
    parts = safe_line_parts(text, ranges)
    return Content.assemble(*((part, _MATCH) if i % 2 else part for i, part in enumerate(parts)))
