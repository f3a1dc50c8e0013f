"""The main chat screen: it composes the parts, lays them out and routes their messages.

Look here for the layout at each terminal size, for focus handling and for the Textual message
handlers. `ui.commands` implements what each key does, and `session_view` updates the widgets from
session events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static

from tui_chat.actions import Action
from tui_chat.errors import TuiChatError
from tui_chat.session import ChatSession
from tui_chat.ui.chat.draft_saver import DraftSaver
from tui_chat.ui.chat.find import Find
from tui_chat.ui.chat.follow_strip import FollowStrip
from tui_chat.ui.chat.messages import ContextCounted, EngineBatch
from tui_chat.ui.chat.outbox import Outbox
from tui_chat.ui.chat.page import NARROW, Clock, Page
from tui_chat.ui.chat.session_view import SessionView
from tui_chat.ui.chat.side_panel import SidePanel
from tui_chat.ui.chat.status import StatusView
from tui_chat.ui.chat.token_counter import TokenCounter
from tui_chat.ui.chat.token_meter import MeterValues
from tui_chat.ui.prompt.prompt import Prompt
from tui_chat.ui.prompt.prompt_bar import PromptBar
from tui_chat.ui.prompt.prompt_history import Draft
from tui_chat.ui.prompt.slash import is_command, literal, parse
from tui_chat.ui.remedies import notify_error
from tui_chat.ui.toasts import ReadingRoom, ToastList, keep_toasts_in
from tui_chat.ui.transcript.message_list import MessageList
from tui_chat.ui.transcript.transcript import Transcript
from tui_chat.ui.widgets.key_line import KeyLine

if TYPE_CHECKING:
    from tui_chat.ui.chat.find_bar import FindBar
    from tui_chat.ui.parameters.panel import ParameterPanel

COMPACT, LOW = 80, 16
"""Below this many columns and rows the screen hides the less important widgets."""
LEAST_WIDTH, LEAST_HEIGHT = 20, 5
"""Below this many columns or rows the screen shows "terminal too small" and nothing else."""


class ScreenHost(Protocol):
    """The part of the app's interface that the screen calls."""

    def label_of(self, action: Action) -> str:
        """Return the footer label of an action in the current state; empty to leave it out."""

    async def run_command(self, action_id: str, argument: str = "") -> None:
        """Run an action as its key, or its slash command with `argument`, would."""

    async def ask_about_link(self, url: str) -> None:
        """Ask the user before opening a link from a reply."""

    def prepare_rest(self) -> None:
        """Begin idle-time preparation.

        The screen calls this once, when the first model is ready or has failed to load.
        """


class ChatScreen(Screen[None]):
    """The screen with the open chat.

    Args:
        session: The session to show and to drive.
        host: The app, which runs actions and opens links.
        clock: The clocks to use; the system's if None.
    """

    AUTO_FOCUS = "#prompt"
    TITLE = "tui-chat"

    def __init__(self, session: ChatSession, host: ScreenHost, clock: Clock | None = None) -> None:
        super().__init__()
        self.session = session
        self._host = host
        self.clock = clock or Clock()
        self.counted: ContextCounted | None = None
        """The latest token count of a draft; None before the first."""
        page = self.page = Page(self, session, self.clock)
        self.transcript, self.bar = page.transcript, page.bar
        self.notice, self.meter = page.notice, page.meter
        self.counter = TokenCounter(session, self.post_message)
        self.panel = SidePanel(page, self.counter)
        self.drafts = DraftSaver(page)
        self.outbox = Outbox(page)
        self.find = Find(page)
        self._status = StatusView(page)
        self._view = SessionView(
            page, self._status, self.panel, self.drafts, self.counter, self._settle
        )
        self._strip = FollowStrip()
        self._key_line = KeyLine(host.label_of)
        self._sought: tuple[str, bool] | None = None
        self._is_settled = False

    def compose(self) -> ComposeResult:
        """Compose everything but the parameter panel and the find bar, which are mounted later."""
        yield Static("terminal too small", id="too-small", markup=False)
        yield self.page.title_line
        with Horizontal(id="body"), Vertical(id="page"):
            with ReadingRoom(id="reading"):
                yield self.transcript
                yield self.page.empty
                yield self._strip
            yield self.notice
            yield self.page.loading_line
            yield self.bar
        yield self.meter
        yield self._key_line
        yield ToastList()

    async def on_mount(self) -> None:
        """Show the current state of the session."""
        await self._view.open()

    def on_unmount(self) -> None:
        """Stop the token counter."""
        self.counter.stop()

    def _settle(self) -> None:
        """Let the host begin idle-time preparation, the first time a load ends."""
        if not self._is_settled:
            self._is_settled = True
            self._host.prepare_rest()

    # Size -----------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Set the classes and detail levels for the new size; the session is unaffected."""
        width, height = event.size
        self.set_class(width < LEAST_WIDTH or height < LEAST_HEIGHT, "-tiny")
        self.set_class(width < COMPACT, "-compact")
        self.set_class(width < NARROW, "-narrow")
        self.set_class(height < LOW, "-low")
        self.bar.set_compact(width < COMPACT)
        self.transcript.set_detail(
            "narrow" if width < NARROW else "brief" if width < COMPACT else "full"
        )
        self.panel.lay_out(width)
        self.call_after_refresh(self._status.show)

    @on(ReadingRoom.Resized)
    def _keep_toasts_in(self, event: ReadingRoom.Resized) -> None:
        event.stop()
        keep_toasts_in(self, event.region)

    # The panel ------------------------------------------------------------------------------------

    # Textual finds these handlers by name. With @on they would need the panel's class, which is
    # imported only when the panel is first mounted.

    def on_parameter_panel_changed(self, event: ParameterPanel.Changed) -> None:
        """Set a parameter; decoding uses the new value from the next token on."""
        event.stop()
        self.panel.take(event.name, event.value)

    def on_parameter_panel_preset_chosen(self, event: ParameterPanel.PresetChosen) -> None:
        """Apply a preset."""
        event.stop()
        self.panel.take_preset(event.name)

    def on_parameter_panel_closed(self, event: ParameterPanel.Closed) -> None:
        """Hide the panel and return the focus to the prompt."""
        event.stop()
        self.panel.set_open(False)

    # Session events -------------------------------------------------------------------------------

    @on(EngineBatch)
    async def _batch(self, event: EngineBatch) -> None:
        event.stop()
        await self._view.apply(event.events)
        await self._go_to_sought()
        self.find.chat_changed()

    def expect_model(self, model: str | None = None, precision: str | None = None) -> None:
        """Show that the session is about to load a model.

        Args:
            model: The name of the model; the session's wanted model if None.
            precision: The requested precision; the session's wanted precision if None.
        """
        self._view.expect_model(model, precision)

    # The budget -----------------------------------------------------------------------------------

    @on(ContextCounted)
    def _counted(self, event: ContextCounted) -> None:
        event.stop()
        self.counted = event
        view = event.view
        is_current = event.draft == self._counted_text(self.bar.draft)
        self.meter.values = (
            MeterValues(
                view.context, view.system, view.history, view.draft, view.reserve, view.free,
                view.dropped_turns, view.dropped_tokens, is_current, view.is_too_long,
                event.pushed_turns, max(0, view.draft - view.longest_draft),
            )
            if view.is_exact
            else None
        )  # fmt: skip
        self.bar.tokens = view.draft_text_tokens if view.is_exact else None
        self.bar.too_long = view.is_too_long and bool(event.draft)
        self.transcript.show_dropped(view, bool(event.pushed_turns))

    @on(PromptBar.DraftChanged)
    def _draft_changed(self, event: PromptBar.DraftChanged) -> None:
        event.stop()
        self.counter.count(self._counted_text(event.draft))
        self.refresh_bindings()
        self.drafts.draft_changed()

    @on(Transcript.Scrolled)
    def _scrolled(self, event: Transcript.Scrolled) -> None:
        event.stop()
        self.drafts.scrolled()

    def _counted_text(self, draft: Draft) -> str:
        """Return the text of a draft that would be sent: nothing for a slash command."""
        text = draft.full
        if self.bar.editing is not None:
            return text
        return "" if is_command(text) else literal(text)

    @on(Prompt.Pasted)
    async def _pasted(self, event: Prompt.Pasted) -> None:
        event.stop()
        self.run_worker(self._count_paste(event), group="paste")

    async def _count_paste(self, event: Prompt.Pasted) -> None:
        view = await self.counter.view_of(event.text)
        if view.is_exact:
            event.prompt.relabel(event.label, view.draft_text_tokens)

    # The prompt -----------------------------------------------------------------------------------

    @on(PromptBar.Submitted)
    async def _submitted(self, event: PromptBar.Submitted) -> None:
        event.stop()
        draft = event.draft
        if event.editing is not None:
            self.outbox.send_edit(draft, event.editing)
        elif is_command(draft.text):
            await self._run_slash(draft)
        else:
            self.outbox.send(draft, self.counted)

    async def _run_slash(self, draft: Draft) -> None:
        try:
            command = parse(draft.text)
        except TuiChatError as error:
            self.bar.give_back(draft)
            notify_error(self, error)
            return
        self.bar.past.add(draft)
        await self._host.run_command(command.action.id, command.argument)

    # Finding --------------------------------------------------------------------------------------

    # Textual finds these handlers by name too: the bar is imported when it is first opened.

    def on_find_bar_typed(self, event: FindBar.Typed) -> None:
        """Search for the new text."""
        event.stop()
        self.find.typed(event.text)

    async def on_find_bar_stepped(self, event: FindBar.Stepped) -> None:
        """Move to another match."""
        event.stop()
        await self.find.step(event.step)

    async def go_to(self, message_id: str, takes_focus: bool = True) -> None:
        """Go to a message on the active path, once the transcript shows that path.

        Args:
            message_id: The message to go to.
            takes_focus: Whether to select the message and focus the transcript; if False, the
                transcript only scrolls it into view.
        """
        self._sought = message_id, takes_focus
        await self._go_to_sought()

    async def _go_to_sought(self) -> None:
        if self._sought is None:
            return
        path = self.session.messages()
        if [m.id for m in path] != [m.id for m in self.transcript.path]:
            return  # `_batch` tries again when the event with the new path arrives
        (message_id, takes_focus), self._sought = self._sought, None
        if not takes_focus:
            self.transcript.bring_into_view(message_id)
        elif self.transcript.select_message(message_id):
            self.set_focus(self.transcript, scroll_visible=False)

    # Focus and selection --------------------------------------------------------------------------

    def focus_prompt(self) -> None:
        """Focus the prompt and clear the selection in the transcript."""
        self.page.focus_prompt()

    def focus_transcript(self) -> None:
        """Focus the transcript, and select the last message if none is selected."""
        if self.transcript.path:
            self.set_focus(self.transcript, scroll_visible=False)
            if self.transcript.selected is None:
                self.transcript.select_step(0)

    @on(Transcript.SelectionMoved)
    def _selection_moved(self, event: Transcript.SelectionMoved) -> None:
        event.stop()
        self.refresh_bindings()

    @on(Transcript.UnseenChanged)
    def _unseen_changed(self, event: Transcript.UnseenChanged) -> None:
        event.stop()
        self._strip.lines = self.transcript.unseen_lines

    def on_key(self, event: events.Key) -> None:
        """Send a typed character to the prompt when no widget has the focus.

        A click outside the focusable widgets, for example, removes the focus.
        """
        if self.focused is None and event.is_printable and event.character is not None:
            event.stop()
            self.focus_prompt()
            self.bar.prompt.insert(event.character)

    @on(Transcript.Typed)
    def _typed(self, event: Transcript.Typed) -> None:
        event.stop()
        self.focus_prompt()
        self.bar.prompt.insert(event.character)

    async def on_paste(self, event: events.Paste) -> None:
        """Send a paste that no widget handled to the prompt."""
        event.stop()
        self.focus_prompt()
        self.bar.prompt.post_message(events.Paste(event.text))

    @on(FollowStrip.Pressed)
    @on(Prompt.EndPressed)
    def _follow(self, event: FollowStrip.Pressed | Prompt.EndPressed) -> None:
        event.stop()
        self.transcript.follow()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Clear the selection in the transcript when the prompt gets the focus."""
        if event.widget is self.bar.prompt:
            self.transcript.selected = None

    # Clicks in messages ---------------------------------------------------------------------------

    @on(MessageList.CopyClicked)
    async def _copy_clicked(self, event: MessageList.CopyClicked) -> None:
        """Copy a code block."""
        event.stop()
        await self._host.run_command("copy", event.code)

    @on(MessageList.LinkClicked)
    async def _link_clicked(self, event: MessageList.LinkClicked) -> None:
        """Ask the user before opening a link."""
        event.stop()
        await self._host.ask_about_link(event.address)
