"""Updating the widgets of the chat screen from batches of session events.

The view reads texts and paths from the session instead of accumulating the events, so that the
screen always shows what the session stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import (
    Delta,
    EngineEvent,
    Failed,
    Finished,
    Loading,
    Prefill,
    Ready,
    TurboState,
    Unloaded,
)
from tui_chat.chat.model_size import format_bytes
from tui_chat.chat.notes import is_note_id
from tui_chat.errors import BusyError, Remedy, TuiChatError
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
from tui_chat.ui.chat.draft_saver import DraftSaver
from tui_chat.ui.chat.page import Page
from tui_chat.ui.chat.side_panel import SidePanel
from tui_chat.ui.chat.status import StatusView
from tui_chat.ui.chat.status_text import why_not_saved
from tui_chat.ui.chat.token_counter import TokenCounter
from tui_chat.ui.prompt.prompt_history import draft_of
from tui_chat.ui.prompt.slash import escaped
from tui_chat.ui.remedies import in_screens, place_of

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from tui_chat.storage.save_state import SaveState


class SessionView:
    """Applies session events to the widgets of a page.

    Args:
        page: The page to update.
        status: The title line and the status beside the meter.
        panel: The parameter panel.
        drafts: Restores the draft of a chat that is opened.
        counter: Counts the draft again when the chat or the model changes.
        on_settled: Called each time a model is ready or has failed to load.
    """

    def __init__(
        self,
        page: Page,
        status: StatusView,
        panel: SidePanel,
        drafts: DraftSaver,
        counter: TokenCounter,
        on_settled: Callable[[], object],
    ) -> None:
        self._page = page
        self._session = page.session
        self._status = status
        self._panel = panel
        self._drafts = drafts
        self._counter = counter
        self._on_settled = on_settled
        self._streaming: set[str] = set()
        self.failure: TuiChatError | None = None
        """Why no model is loaded, after loading has failed; None otherwise."""
        self._is_first_load = True
        self._is_freed = False
        self._coming_back: tuple[str, str] | None = None
        self._why_not_saved = ""

    async def open(self) -> None:
        """Show the current state of the session."""
        await self._open_chat()
        self._panel.show_params()
        self._status.refresh()

    async def apply(self, events: Iterable[SessionEvent]) -> None:
        """Apply a batch of events, in order.

        Changes of the chat are collected first and shown once for the whole batch.
        """
        is_opened = is_changed = is_free = False
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
                    self._panel.show_params()
                case RequestFailed():
                    failed.append(event)
                case StorageNotice(notice=notice):
                    is_news = notice.kind == "free"
                    is_free = is_free or is_news
                    severity: SeverityLevel = "information" if is_news else "warning"
                    text = notice.worded(place_of(notice.remedy, self._page.screen.app))
                    self._page.tell(text, severity, timeout=10)
                case Saved(state=state):
                    self._on_saving(state)
        if is_opened:
            await self._open_chat()
        elif is_changed:
            self._page.transcript.show(self._path())
            self._show_emptiness()
        if is_free:
            self._drafts.bring_draft_back(joins=True)
            self._drafts.keep_draft()
            if isinstance(self._page.notice.error, BusyError):
                self._page.notice.error = None
        for message_id in grown:
            self._show_growth(message_id)
        for failure in failed:
            self._take_back(failure)
        if is_opened or is_changed:
            self._counter.recount()
        elif grown:
            self._counter.recount_at_leisure()
        self._status.refresh()

    # The chat -------------------------------------------------------------------------------------

    async def _open_chat(self) -> None:
        path = self._path()
        self._page.bar.past.open_chat(escaped(m.text) for m in path if m.role == "user")
        if self._page.bar.editing is not None:
            self._page.bar.leave_edit()
        self._page.transcript.open(path, self._session.place)
        self._show_emptiness()
        self._drafts.chat_opened()
        self._counter.recount()

    def _path(self) -> list[Message]:
        """Return the active path, with the text of unfinished replies up to date."""
        # `message` writes the text that has arrived so far into the conversation.
        for message_id in self._streaming:
            if self._session.is_here(message_id):
                self._session.message(message_id)
        return self._session.messages()

    def _show_growth(self, message_id: str) -> None:
        if self._session.is_here(message_id):
            self._page.transcript.show_message(self._session.message(message_id))

    def _on_saving(self, state: SaveState) -> None:
        """Show a toast when saving works again.

        The title line shows a failure while it lasts, so a short one could go unnoticed.
        """
        if not state.ok:
            self._why_not_saved = why_not_saved(state.detail)
        elif self._why_not_saved:
            text = f"Everything is saved again. It was not for a while: {self._why_not_saved}."
            self._page.tell(text, "warning", timeout=10)
            self._why_not_saved = ""

    # Replies --------------------------------------------------------------------------------------

    def _on_reply(self, message_id: str, event: EngineEvent) -> bool:
        """Apply an engine event of a reply; return whether its text has grown."""
        if isinstance(event, Prefill):
            if not self._streaming:
                self._status.begin()
            self._streaming.add(message_id)
            self._status.read(event)
            self._page.transcript.show_prefill(message_id, event)
        elif isinstance(event, Delta):
            self._status.write(len(event.token_ids))
            return bool(event.text)
        elif isinstance(event, Finished | Failed):
            self._end_reply(message_id, event)
        return False

    def _end_reply(self, message_id: str, event: Finished | Failed) -> None:
        is_note = is_note_id(message_id)
        if message_id in self._streaming:
            self._streaming.remove(message_id)
            if not self._streaming:
                self._status.end()
            is_here = message_id in self._session.conversation
            if isinstance(event, Failed) and not is_note and is_here:
                self._say_broken_off(message_id, event)
        if is_note:
            self._say_how_note_ended(event)

    def _say_how_note_ended(self, event: Finished | Failed) -> None:
        if isinstance(event, Failed):
            detail = f"{event.detail.rstrip('.')}. There is no note" if event.detail else ""
            detail = detail or "There is no note"
            self._page.say(TuiChatError(event.title, detail, event.hint, event.remedy))
        elif event.reason == "cancelled":
            self._page.tell("The note was given up; the chat is as it was.")
        elif event.reason == "length":
            self._page.tell("The note is as long as it may be and ends there; e edits it.")
        else:
            self._page.tell("The note is sent in place of the turns above it.")

    def _say_broken_off(self, message_id: str, event: Failed) -> None:
        """Show why a reply ended early. If it has no text, a `RequestFailed` event shows it."""
        if self._session.message(message_id).text:
            self._page.say(event.error)

    def _take_back(self, failed: RequestFailed) -> None:
        """Take back a request that got no reply, and show why it failed.

        A failed retry loses only its empty version of the reply. A new message goes back into the
        prompt, unless the prompt is in use; then the message stays in the chat.
        """
        failure = failed.failure
        bar = self._page.bar
        is_retry = False
        if failed.reply_id in self._session.conversation:
            is_retry = self._session.versions(failed.reply_id)[1] > 1
        if is_retry or (not bar.draft and bar.editing is None):
            text = self._session.take_back(failed.reply_id)
            if text:
                bar.give_back(draft_of(escaped(text)))
        if failure.code == "cancelled":
            self._page.tell("The message was taken back.")
            return
        if self._session.state == "empty" and self._page.notice.error is not None:
            return  # the notice already says why there is no model
        self._page.say(failure.error)

    # The model ------------------------------------------------------------------------------------

    def _on_load(self, event: EngineEvent) -> None:
        if isinstance(event, TurboState):
            return  # `StatusView` shows it
        line = self._page.loading_line
        if isinstance(event, Loading):
            line.step = event
            self._show_failure(None)
        elif isinstance(event, Unloaded):
            self._is_freed = True
            freed = f"{safe_line(event.model, 40)} in {event.precision} is freed"
            line.freed = f"{freed}: {format_bytes(event.freed_bytes)}."
        elif isinstance(event, Ready):
            self._on_ready(event)
            self._on_settled()
        elif isinstance(event, Failed):
            self._on_load_failed(event)
            self._on_settled()
        self._counter.recount()

    def expect_model(self, model: str | None = None, precision: str | None = None) -> None:
        """Show the loading line before the engine reports its first step.

        Args:
            model: The name of the model; the session's wanted model if None.
            precision: The requested precision; the session's wanted precision if None.
        """
        wanted = self._session.wanted
        is_first = self._is_first_load and self.failure is None
        stage = "libraries" if is_first else "start"
        self._show_failure(None)
        self._page.loading_line.expect(model or wanted.model, precision or wanted.precision, stage)
        self._status.refresh()

    def _on_ready(self, event: Ready) -> None:
        line = self._page.loading_line
        info = event.info
        self._status.show_memory(event.memory_bytes)
        is_told = (info.name, info.precision) == self._coming_back
        self._coming_back = None
        if not self._is_first_load and not is_told:
            freed = f" {line.freed}" if line.freed else ""
            self._page.tell(f"{safe_line(info.name, 60)} in {info.precision} is ready.{freed}")
        self._is_first_load = self._is_freed = False
        line.step, line.freed = None, ""
        self._show_failure(None)
        for warning in info.warnings:
            self._page.tell(warning, "warning")

    def _on_load_failed(self, event: Failed) -> None:
        line = self._page.loading_line
        line.step, line.freed = None, ""
        detail = event.detail
        is_gone = self._is_freed and self._coming_back is not None and self._session.info is None
        is_left_empty = self._is_first_load or is_gone
        if not is_left_empty:  # the engine goes back to the previous model
            before = self._session.wanted
            self._coming_back = (before.model, before.precision)
            kept = f"{safe_line(before.model, 60)} in {before.precision} is used again."
            detail = f"{detail.rstrip('.')}. {kept}" if detail else kept
        error = self._in_screens(TuiChatError(event.title, detail, event.hint, event.remedy))
        if is_left_empty:
            self._show_failure(error)
        if event.code == "cancelled":
            self._page.tell(f"{event.title}. {detail}".strip())
        elif not (is_left_empty and self._page.is_empty):
            self._page.say(error)

    def _in_screens(self, error: TuiChatError) -> TuiChatError:
        """Adapt a loading error to the screens: without a hint, add how to choose another model."""
        app = self._page.screen.app
        if error.hint:
            return in_screens(error, app)
        model = place_of(Remedy.CHOOSE_MODEL, app)
        precision = place_of(Remedy.CHOOSE_PRECISION, app)
        hint = f"Choose another model ({model}), or another precision ({precision})"
        return TuiChatError(error.title, error.detail, hint)

    def _show_failure(self, failure: TuiChatError | None) -> None:
        """Record why no model is loaded (None if one is), and show it in an empty chat."""
        self.failure = failure
        self._status.is_failed = failure is not None
        self._show_emptiness()

    def _show_emptiness(self) -> None:
        """Show the introduction, or the loading failure, while the chat has no messages."""
        page, wanted = self._page, self._session.wanted.model
        page.empty.model = wanted
        page.empty.is_builtin = wanted == "guide"
        page.empty.problem = self.failure
        page.empty.display = page.is_empty
        page.transcript.display = not page.is_empty
