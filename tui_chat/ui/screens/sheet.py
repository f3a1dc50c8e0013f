"""The base classes of the modal screens: a frame with a title, a note, a body and a key line.

They provide what all these screens need: closing, messages in place of the body (reading, failed,
nothing to show), and slow work in a worker thread, so that the UI never waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Region
from textual.reactive import reactive
from textual.types import CSSPathType
from textual.widgets import Label, Static
from textual.worker import Worker, WorkerState

from tui_chat.errors import TuiChatError
from tui_chat.ui.plain_text import plain, plain_line
from tui_chat.ui.remedies import in_screens
from tui_chat.ui.screens.closing import ClosesOnce
from tui_chat.ui.widgets.choice_list import ChoiceList
from tui_chat.ui.widgets.field import Field
from tui_chat.ui.widgets.key_line import SheetKeys

log = logging.getLogger(__name__)

R = TypeVar("R")
T = TypeVar("T")

CLOSE = Binding(
    "escape", "close", "Close", id="sheet_close", tooltip="Goes back to where you were."
)
"""The binding that every sheet lists last, so that the footer shows it last."""

WIDE = 110
"""From this many columns on, a sheet has room for a second pane beside its list."""
_WIDTHS = [(0, "-narrow"), (60, "-middle"), (WIDE, "-wide")]
_HEIGHTS = [(0, "-short"), (20, "-tall")]


class Filter(Field):
    """The field that filters a list. The arrow keys still move the list while it has the focus."""

    def __init__(self, placeholder: str, *, id: str = "filter") -> None:  # noqa: A002
        super().__init__(placeholder=placeholder, compact=True, select_on_focus=False, id=id)


class Sheet(ClosesOnce[R], Generic[R]):
    """A modal screen whose result is `R`, or None if the user closes it without one.

    Subclasses override `compose_body` and list `CLOSE` as their last binding.

    Args:
        heading: The title.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = "sheet.tcss"
    AUTO_FOCUS = ""  # each sheet sets its focus itself
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    heading: reactive[str] = reactive("")
    """The title, at the left of the first line."""
    note: reactive[str] = reactive("")
    """The text at the right of the first line."""

    def __init__(self, heading: str = "") -> None:
        super().__init__()
        self._showing: dict[Worker[Any], Callable[[Any], None]] = {}
        self.set_reactive(Sheet.heading, heading)

    def compose(self) -> ComposeResult:
        """Compose the frame around `compose_body`."""
        with Vertical(id="sheet"):
            with Horizontal(id="sheet-head"):
                yield Label(id="sheet-heading", markup=False)
                yield Label(id="sheet-note", markup=False)
            with Vertical(id="sheet-body"):
                yield from self.compose_body()
            yield Static(id="sheet-message", markup=False)
            yield SheetKeys()

    def compose_body(self) -> ComposeResult:
        """Compose the widgets between the title and the keys."""
        yield from ()

    def watch_heading(self, heading: str) -> None:
        """Show the new title."""
        for label in self.query("#sheet-heading").results(Label):
            label.update(plain_line(heading))

    def watch_note(self, note: str) -> None:
        """Show the new note."""
        for label in self.query("#sheet-note").results(Label):
            label.update(plain_line(note))

    def on_mount(self) -> None:
        """Show the first title and note."""
        self.watch_heading(self.heading)
        self.watch_note(self.note)

    # Closing --------------------------------------------------------------------------------------

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        """Close on a click outside the sheet."""
        if event.widget is self:
            event.stop()
            self.action_close()

    # States ---------------------------------------------------------------------------------------

    def say(
        self,
        title: str,
        detail: str = "",
        hint: str = "",
        tone: Literal["quiet", "error"] = "quiet",
    ) -> None:
        """Show a message in place of the body.

        Args:
            title: The first line.
            detail: Further text, on its own line.
            hint: What the user can do, on its own line.
            tone: `error` for a failure; it colours the first line.
        """
        colour = "$error" if tone == "error" else "$text-muted"
        lines = [Content.styled(plain(title).plain, colour)]
        lines += [plain(text) for text in (detail, hint) if text]
        self.query_one("#sheet-message", Static).update(Content("\n").join(lines))
        self._show_body(False)

    def unsay(self) -> None:
        """Show the body in place of the message. Its widgets can be focused immediately."""
        self._show_body(True)

    def _show_body(self, is_shown: bool) -> None:
        if is_shown is not self.has_class("-message"):
            return
        self.set_class(not is_shown, "-message")
        self.query_one("#sheet-body").display = is_shown
        self.query_one("#sheet-message").display = not is_shown
        self.refresh_bindings()

    def failed(self, error: BaseException) -> None:
        """Show an error of `read` in place of the body; log it if it is not a `TuiChatError`."""
        if isinstance(error, TuiChatError):
            error = in_screens(error, self.app)
            self.say(error.title, error.detail, error.hint, "error")
            return
        log.error("a screen could not read what it shows", exc_info=error)
        self.say(
            "This could not be read",
            f"{type(error).__name__}: {error}",
            "Ctrl+L shows the log; Esc goes back",
            "error",
        )

    # Work in threads ------------------------------------------------------------------------------

    def read(self, work: Callable[[], T], show: Callable[[T], None], group: str = "read") -> None:
        """Run `work` in a worker thread, then call `show` with its result on the UI loop.

        If `work` raises, `failed` is called with the error instead.

        Args:
            work: The work; it must not touch widgets.
            show: Called with the result, if the screen is still open.
            group: The worker group. Newer work of a group replaces older work, whose result is
                dropped.
        """
        worker: Worker[T] = self.run_worker(
            work, group=group, exclusive=True, thread=True, exit_on_error=False
        )
        self._showing[worker] = show

    @on(Worker.StateChanged)
    def _work_ended(self, event: Worker.StateChanged) -> None:
        if event.state in (WorkerState.PENDING, WorkerState.RUNNING):
            return
        show = self._showing.pop(event.worker, None)
        if show is None or not self.is_attached:
            return
        if event.state is WorkerState.SUCCESS:
            show(event.worker.result)
        elif event.state is WorkerState.ERROR and event.worker.error is not None:
            self.failed(event.worker.error)

    def copy_text(self, text: str) -> None:
        """Copy a text; the app shows how it was copied."""
        self.app.copy_to_clipboard(text)


class ListSheet(Sheet[R], Generic[R]):
    """A sheet with a `ChoiceList` (`#choices`).

    The arrow and page keys move the list whichever widget has the focus.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "list_move(-1)", "Up", show=False),
        Binding("down", "list_move(1)", "Down", show=False),
        Binding("pageup", "list_page(-1)", "Page up", show=False),
        Binding("pagedown", "list_page(1)", "Page down", show=False),
    ]

    @property
    def choices(self) -> ChoiceList[Any]:
        """The list."""
        return self.query_one("#choices", ChoiceList)

    @on(ChoiceList.Moved)
    def _bring_into_view(self, event: ChoiceList.Moved) -> None:
        """Scroll the sheet to the highlighted row, for terminals too low to show the whole list."""
        if event.index < 0:
            return
        sheet, choices = self.query_one("#sheet"), event.choice_list
        top = choices.region.y - sheet.content_region.y + sheet.scroll_offset.y
        row = Region(0, top + event.index - choices.scroll_offset.y, 1, 1)
        docks = self.query_one("#sheet-body").dock_gutter
        sheet.scroll_to_region(row, spacing=docks, animate=False, force=True)

    def action_list_move(self, step: int) -> None:
        """Move the highlight by `step` rows, down if positive."""
        self.choices.action_move(step)

    def action_list_page(self, step: int) -> None:
        """Move the highlight by `step` pages, down if positive."""
        self.choices.action_move_page(step)

    def action_choose(self) -> None:
        """Choose the highlighted row."""
        self.choices.choose()
