"""All saved chats searched while somebody types: messages with the words in them, best first.

Owns when a search is made and which answer still counts. Opens nothing: the result says which
message of which chat was chosen.
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
"""How long nothing is typed before it is searched for."""
_LEAD = 12
"""Characters before the first match in a row."""
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
    """Find a message in all saved chats.

    Args:
        session: Whose chats are searched.
        text: What is searched for at once.
        clock: The current time, with a zone.
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
        """What the newest search was for."""
        self._answered: str | None = None
        """What the rows are the answer to."""
        self._chosen_for: str | None = None
        """What Enter was pressed for before it was answered."""
        self._timer: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """What is typed; rows, and below them the highlighted one in full."""
        yield Filter("Words, and filters as role:user")
        yield Static(id="search-message", markup=False)
        with Vertical(id="found"):
            yield ChoiceList["Found"](self._draw, id="choices")
            yield Static(id="found-detail", markup=False)

    def on_mount(self) -> None:
        """Begin to type, or with what was asked for."""
        super().on_mount()
        self.add_class("-tall-sheet")
        field = self.query_one(Filter)
        field.value = self._first
        field.cursor_position = len(self._first)
        self.set_focus(field)
        self._search()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter opens what is there."""
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
        """Search for what is typed by now; the answers to anything else are dropped."""
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
        # Whoever has gone to a message while more was searched for stays at it.
        kept: Found | None = self.choices.row if self.choices.highlighted > 0 else None
        places = [(each.chat_id, each.message_id) for each in found]
        at = (kept.chat_id, kept.message_id) if kept is not None else None
        self.choices.show_rows(found, places.index(at) if at in places else 0)
        count = f"{len(found)} message{'s' * (len(found) != 1)}"
        self.note = f"the best {len(found)}" if len(found) >= FOUND_AT_MOST else count
        if self._chosen_for == text:
            self.choices.choose()

    def failed(self, error: BaseException) -> None:
        """Show why nothing can be found; another search can be typed meanwhile."""
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
        """Show a message in the place of the rows."""
        self.note = ""
        told = [Content.styled(safe_line(title), colour)]
        told += [Content(safe_line(line)) for line in lines if line]
        self.query_one("#search-message", Static).update(Content("\n").join(told))
        self._show_rows(False)

    def _welcome(self) -> None:
        """Say what can be typed."""
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
        """Open the highlighted row of what is typed by now, as soon as it is known."""
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
        """Letters belong to the search wherever the focus is."""
        field = self.query_one(Filter)
        if event.character and event.is_printable and not field.has_focus:
            event.stop()
            self.set_focus(field)
            field.insert_text_at_cursor(event.character)


_MUTED = "$text-muted"


def _snippet(found: Found, lead: int | None = None) -> Content:
    """The snippet on one line, its matches in colour.

    Args:
        found: What was found.
        lead: Characters to keep before the first match; None for all.
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
