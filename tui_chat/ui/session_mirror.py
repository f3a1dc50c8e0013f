"""What the session says, brought onto the chat screen, batch by batch.

Owns the way from an event to the widgets that show it. Asks the session for texts and paths rather
than adding up what has passed by, so that what is shown is what is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.content import Content

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import (
    Delta,
    EngineEvent,
    Failed,
    Finished,
    Loading,
    Prefill,
    Ready,
    Unloaded,
)
from tui_chat.chat.memory import format_bytes
from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line
from tui_chat.session import (
    ChatOpened,
    EngineUpdate,
    ParamsChanged,
    RequestFailed,
    Saved,
    SessionEvent,
    StorageNotice,
    TreeChanged,
)
from tui_chat.ui.completion import escaped
from tui_chat.ui.messages import MemoryRead
from tui_chat.ui.prompt_history import draft_of
from tui_chat.ui.safe_text import notify_plain, plain_line
from tui_chat.ui.status_text import LiveSpeed, Status, model_text, status_text

if TYPE_CHECKING:
    from tui_chat.ui.screens.chat import ChatScreen

_STATUS_INTERVAL_S = 0.25
"""Figures that change all the time are shown anew this often, so that they can be read."""
_NARROW_STATUS = 20
"""Cells for the status in the title line, where there is none below."""

MEMORY_INTERVAL_S = 1.0
"""The memory in use is read at most this often, and only when something happens."""


class SessionMirror:
    """Shows a session on a chat screen.

    Args:
        screen: Where.
    """

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self._session = screen.session
        self._speed = LiveSpeed()
        self._prefill: Prefill | None = None
        self._streaming: str | None = None
        self._memory_bytes = 0
        self._memory_read_at = float("-inf")
        self._is_first_load = True
        self._coming_back: tuple[str, str] | None = None
        self._doing: object = None
        self._shown_at = float("-inf")

    async def open(self) -> None:
        """Show the session as it is."""
        await self._open_chat()
        self._screen.show_params()
        self._show_all()

    async def apply(self, events: Iterable[SessionEvent]) -> None:
        """Show what has happened, in order, with one look at the chat for all of it."""
        is_opened = is_changed = False
        grown: set[str] = set()
        failed: list[RequestFailed] = []
        for event in events:
            match event:
                case EngineUpdate(message_id=None, event=engine):
                    self._on_load(engine)
                case EngineUpdate(message_id=str(message_id), event=engine):
                    if self._on_reply(message_id, engine):
                        grown.add(message_id)
                case ChatOpened():
                    is_opened = True
                case TreeChanged():
                    is_changed = True
                case ParamsChanged():
                    self._screen.show_params()
                case RequestFailed():
                    failed.append(event)
                case StorageNotice(notice=notice):
                    notify_plain(self._screen, notice.text, severity="warning", timeout=10)
                case Saved():
                    pass  # the title line shows the state anew below
        if is_opened:
            await self._open_chat()
        elif is_changed:
            await self._screen.transcript.show(self._path())
            self._screen.show_emptiness()
        for message_id in grown:
            self._show_growth(message_id)
        for failure in failed:
            self._take_back(failure)
        if is_opened or is_changed:
            self._screen.budget.recount()
        elif grown:
            self._screen.budget.recount_at_leisure()
        self._show_all()

    # The chat -------------------------------------------------------------------------------------

    async def _open_chat(self) -> None:
        path = self._path()
        self._screen.bar.past.open_chat(escaped(m.text) for m in path if m.role == "user")
        if self._screen.bar.editing is not None:
            self._screen.bar.leave_edit()
        await self._screen.transcript.open(path)
        self._screen.show_emptiness()
        self._screen.budget.recount()

    def _path(self) -> list[Message]:
        """The active path, with the text of the running reply as far as it has arrived."""
        if self._streaming is not None and self._streaming in self._session.conversation:
            self._session.message(self._streaming)
        return self._session.messages()

    def _show_growth(self, message_id: str) -> None:
        if message_id in self._session.conversation:
            self._screen.transcript.show_message(self._session.message(message_id))

    # Replies --------------------------------------------------------------------------------------

    def _on_reply(self, message_id: str, event: EngineEvent) -> bool:
        """Take what the engine says about a reply; True if its text has grown."""
        now = self._screen.clock.monotonic()
        if isinstance(event, Prefill):
            if message_id != self._streaming:
                self._streaming = message_id
                self._speed.begin(now)
            self._prefill = event
            self._screen.transcript.show_prefill(message_id, event)
        elif isinstance(event, Delta):
            self._speed.add(len(event.token_ids), now)
            return bool(event.text)
        elif isinstance(event, Finished | Failed) and message_id == self._streaming:
            self._streaming = None
            self._prefill = None
            self._memory_read_at = float("-inf")
            if isinstance(event, Failed) and message_id in self._session.conversation:
                self._say_broken_off(message_id, event)
        return False

    def _say_broken_off(self, message_id: str, event: Failed) -> None:
        """Say why a reply ended in the middle. Without any text, `RequestFailed` follows."""
        if self._session.message(message_id).text:
            self._screen.notice.say(TuiChatError(event.title, event.detail, event.hint))

    def _take_back(self, failed: RequestFailed) -> None:
        """Give the draft of a message that got no answer back, and say why."""
        failure = failed.failure
        bar = self._screen.bar
        is_retry = False
        if failed.reply_id in self._session.conversation:
            is_retry = self._session.versions(failed.reply_id)[1] > 1
        if is_retry or (not bar.draft and bar.editing is None):
            text = self._session.take_back(failed.reply_id)
            if text:
                bar.give_back(draft_of(escaped(text)))
        if failure.code == "cancelled":
            notify_plain(self._screen, "The message was taken back.")
            return
        if self._session.state == "empty" and self._screen.notice.error is not None:
            return  # it says already why there is no model
        self._screen.notice.say(TuiChatError(failure.title, failure.detail, failure.hint))

    # The model ------------------------------------------------------------------------------------

    def _on_load(self, event: EngineEvent) -> None:
        line = self._screen.loading_line
        if isinstance(event, Loading):
            line.step = event
        elif isinstance(event, Unloaded):
            freed = f"{safe_line(event.model, 40)} in {event.precision} is freed"
            line.freed = f"{freed}: {format_bytes(event.freed_bytes)}."
        elif isinstance(event, Ready):
            self._on_ready(event)
        elif isinstance(event, Failed):
            self._on_load_failed(event)
        self._screen.budget.recount()

    def expect_model(self) -> None:
        """Show that a model is about to be loaded, before there is anything to measure."""
        wanted = self._session.wanted
        self._screen.loading_line.step = Loading(wanted.model, wanted.precision, "start", 0, 0)
        self._show_all()

    def _on_ready(self, event: Ready) -> None:
        line = self._screen.loading_line
        info = event.info
        self._memory_bytes = event.memory_bytes
        is_told = (info.name, info.precision) == self._coming_back
        self._coming_back = None
        if not self._is_first_load and not is_told:
            freed = f" {line.freed}" if line.freed else ""
            notify_plain(
                self._screen, f"{safe_line(info.name, 60)} in {info.precision} is ready.{freed}"
            )
        self._is_first_load = False
        line.step, line.freed = None, ""
        self._screen.show_emptiness()
        for warning in info.warnings:
            notify_plain(self._screen, warning, severity="warning")

    def _on_load_failed(self, event: Failed) -> None:
        line = self._screen.loading_line
        line.step, line.freed = None, ""
        detail = event.detail
        if not self._is_first_load:  # the runner brings back what was there
            before = self._session.wanted
            self._coming_back = (before.model, before.precision)
            kept = f"{safe_line(before.model, 60)} in {before.precision} is used again."
            detail = f"{detail.rstrip('.')}. {kept}" if detail else kept
        hint = event.hint or "Press F3 for another model, or F4 for another precision"
        if event.code == "cancelled":
            notify_plain(self._screen, f"{event.title}. {detail}")
        else:
            self._screen.notice.say(TuiChatError(event.title, detail, hint))

    # Title and status -----------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """What there is to say about the engine."""
        session = self._session
        return Status(
            state=session.state,
            loading=session.loading,
            prefill=self._prefill,
            rate=self._speed.rate,
            first_s=self._speed.first_s,
            last=session.last_stats,
        )

    def _show_all(self) -> None:
        """Show what is not text: at once where something begins or ends, else now and then."""
        now, session = self._screen.clock.monotonic(), self._session
        saving = session.save_state
        is_saving = saving is None or saving.ok
        doing = (
            session.state, session.is_busy, self._streaming, len(session.conversation), is_saving
        )  # fmt: skip
        if doing == self._doing and now - self._shown_at < _STATUS_INTERVAL_S:
            return
        self._shown_at = now
        self.show_title()
        self.show_status()
        if doing != self._doing:
            self._doing = doing
            self._screen.refresh_bindings()
        self._read_memory()

    def show_figures(self) -> None:
        """Show title and status anew, as when there is another room for them."""
        self.show_title()
        self.show_status()

    def show_status(self) -> None:
        """Say what the engine is doing, in the room beside the meter's legend."""
        meter = self._screen.meter
        status = status_text(self.status, meter.status_room)
        meter.status = Content(status).stylize("$text-muted")

    def show_title(self) -> None:
        """Say which model it is, and which chat."""
        screen, session = self._screen, self._session
        wanted = session.wanted.model
        left = model_text(session.info, wanted, self._memory_bytes, screen.is_narrow)
        screen.title_line.left = plain_line(left).stylize("$text-muted")
        if screen.is_narrow:
            screen.title_line.right = Content(status_text(self.status, _NARROW_STATUS))
            return
        saved = session.save_state
        if saved is None:
            mark = Content("not saved").stylize("$text-muted")
        elif not saved.ok:
            mark = plain_line(f"not saved: {saved.detail}", 60).stylize("$error")
        else:
            mark = Content("saved" if len(session.conversation) else "").stylize("$text-muted")
        room = screen.size.width - len(left) - mark.cell_length - 7
        title = plain_line(session.conversation.title or "New chat", max(8, room))
        screen.title_line.right = Content.assemble(title, " · " if mark else "", mark)

    def _read_memory(self) -> None:
        now = self._screen.clock.monotonic()
        if now - self._memory_read_at >= MEMORY_INTERVAL_S and self._session.info is not None:
            self._memory_read_at = now
            self._screen.run_worker(self._post_memory(), group="memory", exit_on_error=False)

    async def _post_memory(self) -> None:
        memory_bytes = await asyncio.to_thread(self._session.memory_bytes)
        self._screen.post_message(MemoryRead(memory_bytes))

    def show_memory(self, memory_bytes: int) -> None:
        """Show the memory in use."""
        self._memory_bytes = memory_bytes
        self.show_title()
