"""The best-of screen: candidate replies side by side while the model writes them, to choose one.

The session stores the candidates and the choice. If the user leaves without a choice, all
candidates stay in the chat as versions of the reply.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.reactive import reactive
from textual.types import CSSPathType
from textual.widgets import Static

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Delta, Prefill
from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line
from tui_chat.session import ChatSession, EngineUpdate, SessionEvent
from tui_chat.ui.chat.event_feed import EventFeed
from tui_chat.ui.chat.messages import EngineBatch
from tui_chat.ui.chat.status_text import LiveSpeed
from tui_chat.ui.remedies import notify_error
from tui_chat.ui.screens.candidate_column import CandidateColumn, sign_of
from tui_chat.ui.screens.sheet import CLOSE, Sheet
from tui_chat.ui.transcript.message_list import MessageList
from tui_chat.ui.transcript.message_notes import rate_text

LEAST_WIDTH = 26
"""Least width of a column in cells; with less room the screen shows fewer columns."""
GAP = 2
"""Cells between two columns."""

Choice = tuple[int, Literal["preferred", "shown"]]
"""The number of the chosen candidate, from 1, and the result of `ChatSession.choose`."""


class BestScreen(Sheet[Choice]):
    """Shows candidates while they grow; the result is the choice.

    Args:
        session: The session that writes the candidates.
        candidates: At least two versions of one reply.
        prompt: Text of the message that they answer.
        clock: Returns the monotonic time in seconds.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "best.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose", id="best_choose",
                tooltip="Keeps the marked reply in the chat, and remembers that it was the best."),
        Binding("1", "pick(1)", "Choose", key_display="1-9", tooltip="Chooses that reply."),
        *(Binding(str(n), f"pick({n})", "Choose", show=False) for n in range(2, 10)),
        Binding("left,h", "move(-1)", "Left", key_display="←", id="best_left",
                tooltip="Marks the reply to the left."),
        Binding("right,l", "move(1)", "Right", key_display="→", id="best_right",
                tooltip="Marks the reply to the right."),
        Binding("s", "stop_one", "Stop this", id="best_stop_one",
                tooltip="Stops the marked reply and keeps its text; the others go on."),
        Binding("up,k", "scroll_text(0, -1)", "Scroll up", show=False),
        Binding("down,j", "scroll_text(0, 1)", "Scroll down", show=False),
        Binding("pageup", "scroll_text(-1)", "Page up", show=False),
        Binding("pagedown,space", "scroll_text(1)", "Page down", show=False),
        Binding("home,g", "scroll_to(False)", "Start", show=False),
        Binding("end,G", "scroll_to(True)", "End", show=False),
        Binding("escape", "stop_all", "Stop all", id="best_stop_all",
                tooltip="Stops all replies and keeps their texts."),
        CLOSE,
    ]  # fmt: skip

    current: reactive[int] = reactive(0, init=False)
    """Index of the marked candidate."""

    def __init__(
        self,
        session: ChatSession,
        candidates: Sequence[Message],
        prompt: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(f"Best of {len(candidates)}")
        self._session = session
        self._prompt = prompt
        self._clock = clock
        self._ids = [message.id for message in candidates]
        self._columns = [CandidateColumn(n + 1, m) for n, m in enumerate(candidates)]
        # kept, since a watcher can still run when the screen has closed and lost its widgets
        self._row = Horizontal(*self._columns, id="candidates")
        self._overview = Static(id="all", markup=False)
        self._speed = LiveSpeed()
        self._feed = EventFeed(lambda batch: self.post_message(EngineBatch(batch)))
        self._unsubscribe: Callable[[], None] = lambda: None
        self._first = 0
        self._is_giving_up = False
        self._unfinished: list[bool] = []

    def compose_body(self) -> ComposeResult:
        """Compose the prompt, the overview line, and the columns."""
        yield Static(Content(safe_line(self._prompt[:1000])), id="asked", markup=False)
        yield self._overview
        yield self._row

    def on_mount(self) -> None:
        """Subscribe to the session's events, and show the candidates as they are."""
        super().on_mount()
        self.add_class("-tall-sheet")
        self._speed.begin(self._clock())
        self._unsubscribe = self._session.subscribe(self._feed.listen)
        self._feed.start()
        self._refresh({})
        self.watch_current()

    def on_unmount(self) -> None:
        """Unsubscribe from the session's events."""
        self._unsubscribe()

    # Session events -------------------------------------------------------------------------------

    @on(EngineBatch)
    def _batch(self, event: EngineBatch) -> None:
        event.stop()
        self._refresh(self._read(event.events))

    def _read(self, said: Iterable[SessionEvent]) -> dict[str, Prefill]:
        """Measure the decode speed; return the prefill progress by candidate."""
        prefills: dict[str, Prefill] = {}
        for event in said:
            if not isinstance(event, EngineUpdate) or event.message_id not in self._ids:
                continue
            if isinstance(event.event, Prefill):
                prefills[event.message_id] = event.event
            elif isinstance(event.event, Delta):
                self._speed.add(len(event.event.token_ids), self._clock())
        return prefills

    @property
    def _candidates(self) -> list[Message]:
        """The candidates as the columns show them."""
        return [column.message for column in self._columns]

    @property
    def is_writing(self) -> bool:
        """Whether any candidate is unfinished."""
        return any(message.is_unfinished for message in self._candidates)

    def _refresh(self, prefills: dict[str, Prefill]) -> None:
        """Update the columns from the session.

        Close the screen if the candidates are not in the open chat any more, or if the user has
        stopped them before they had any text.
        """
        if not all(map(self._session.is_here, self._ids)):
            self.dismiss(None)  # another chat was opened before this screen was mounted
            return
        for column, message_id in zip(self._columns, self._ids, strict=True):
            column.show(self._session.message(message_id), prefills.get(message_id))
        self.note = self._note()
        self._show_all()
        unfinished = [message.is_unfinished for message in self._candidates]
        if unfinished != self._unfinished:
            self._unfinished = unfinished
            self.refresh_bindings()
        has_text = any(message.text for message in self._candidates)
        if self._is_giving_up and not self.is_writing and not has_text:
            self.dismiss(None)  # the user stopped them before they had any text

    def _note(self) -> str:
        states = [message.status for message in self._candidates]
        if "streaming" in states and self._speed.first_s:
            rate = self._speed.rate
            return f"▸ {rate_text(rate):>4} tok/s together" if rate else "▸ writing"
        if "streaming" in states:
            return "▸ reading"
        if "waiting" in states:
            return "waits for the model"
        texts = {message.text for message in self._candidates}
        if texts == {""}:
            return "nothing was written"
        if len(texts) == 1:
            return "all the same; a higher temperature (F2) varies more"
        return "choose one" + "; the others stay beside it" * (self.app.size.width >= 60)

    # What there is room for -----------------------------------------------------------------------

    @property
    def shown_count(self) -> int:
        """Number of columns that fit, at least 1."""
        # Before the first layout, use an estimate: the screen's width less the frame.
        width = self._row.size.width or self.app.size.width - 8
        return max(1, min(len(self._columns), (width + GAP) // (LEAST_WIDTH + GAP)))

    def on_resize(self, event: events.Resize) -> None:
        """Show as many columns as fit the new size."""
        self.call_after_refresh(self.watch_current)

    def watch_current(self) -> None:
        """Mark the current candidate, and show it with as many of its neighbours as fit."""
        count = self.shown_count
        if self.current < self._first:
            self._first = self.current
        self._first = max(self._first, self.current - count + 1)
        self._first = min(self._first, len(self._columns) - count)
        shown = range(self._first, self._first + count)
        for index, column in enumerate(self._columns):
            column.display = index in shown
            column.set_class(index == self.current, "-current")
            column.set_class(index == shown[-1], "-last")
        self._overview.display = count < len(self._columns)
        self._show_all()
        self.refresh_bindings()

    def _show_all(self) -> None:
        """Update the overview line, which is visible if not all columns fit."""
        line = self._overview
        gap = " " if 5 * len(self._columns) <= line.size.width else ""
        pieces: list[Content] = []
        for index, column in enumerate(self._columns):
            piece = Content(f" {column.number}{gap}{sign_of(column.message)} ")
            is_current = index == self.current
            pieces.append(piece.stylize("$accent bold reverse" if is_current else "$text-muted"))
        line.update(Content.assemble(*pieces))

    # What the keys do -----------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable the keys that apply; Esc stops unfinished candidates first, and closes then."""
        if action == "stop_all":
            return self.is_writing
        if action == "close":
            return not self.is_writing
        if action == "stop_one":
            return self._columns[self.current].message.is_unfinished and self.is_writing
        if action == "pick":
            return int(str(parameters[0])) <= len(self._columns)
        return super().check_action(action, parameters)

    def action_move(self, step: int) -> None:
        """Move the mark by `step` candidates, to the right if positive."""
        self.current = max(0, min(len(self._columns) - 1, self.current + step))

    @on(CandidateColumn.Pressed)
    def _pressed(self, event: CandidateColumn.Pressed) -> None:
        event.stop()
        self.current = event.number - 1

    def action_scroll_text(self, pages: float, lines: int = 0) -> None:
        """Scroll the text of the marked candidate.

        Args:
            pages: Pages to scroll, down if positive.
            lines: Lines to scroll in addition.
        """
        page = self._columns[self.current].page
        step = round(pages * max(1, page.size.height - 1)) + lines
        page.scroll_relative(y=step)

    def action_scroll_to(self, end: bool) -> None:
        """Scroll to the start of the marked candidate's text, or to its end and follow it."""
        column = self._columns[self.current]
        column.page.hold(None if end else (column.message.id, 0))

    def action_stop_one(self) -> None:
        """Stop the marked candidate; it keeps its text."""
        self._session.stop_reply(self._ids[self.current])

    def action_stop_all(self) -> None:
        """Stop all unfinished candidates; they keep their texts."""
        self._is_giving_up = True
        for message_id in self._ids:
            self._session.stop_reply(message_id)

    def action_close(self) -> None:
        """Close; if candidates are unfinished, stop them instead."""
        if self.is_writing:
            self.action_stop_all()
        else:
            self.dismiss(None)

    def action_pick(self, number: int) -> None:
        """Choose a candidate by its number, from 1."""
        self.current = number - 1
        self.action_choose()

    def action_choose(self) -> None:
        """Choose the marked candidate; a toast says why if the session rejects it."""
        chosen = self._ids[self.current]
        others = [message_id for message_id in self._ids if message_id != chosen]
        try:
            outcome = self._session.choose(chosen, others)
        except TuiChatError as error:
            notify_error(self, error)
            return
        self.dismiss((self.current + 1, outcome))

    # Clicks in the texts --------------------------------------------------------------------------

    @on(MessageList.Pressed)
    def _text_pressed(self, event: MessageList.Pressed) -> None:
        event.stop()
        self.current = self._ids.index(event.message_id)

    @on(MessageList.CopyClicked)
    def _copy_clicked(self, event: MessageList.CopyClicked) -> None:
        event.stop()
        self.copy_text(event.code)

    @on(MessageList.LinkClicked)
    async def _link_clicked(self, event: MessageList.LinkClicked) -> None:
        """Ask the user before opening a link, as the chat screen does."""
        event.stop()
        await self.app.ask_about_link(event.address)  # type: ignore[attr-defined]
