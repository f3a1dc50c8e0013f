"""The precision picker (F4): the memory that the model needs in each precision, and what is left.

The result is the name of a precision. A precision that does not fit cannot be chosen.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.types import CSSPathType
from textual.widgets import Static

from tui_chat.chat.model_size import PrecisionChoice, format_bytes
from tui_chat.safe_text import safe_line
from tui_chat.session import ChatSession
from tui_chat.ui.screens.sheet import CLOSE, ListSheet
from tui_chat.ui.widgets.choice_list import ChoiceList
from tui_chat.ui.widgets.line_view import fitted

_PROMISE = "The loaded model is freed first. The chat and your draft stay."
_SUM = "Memory: weights + cache and working room."
_GIB = 1024**3


class PrecisionScreen(ListSheet[str]):
    """A list of precisions to pick from; the result is the name of the precision.

    Args:
        session: The session with the model.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "precision.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "choose", "Load", id="precision_load",
            tooltip="Loads the model again in the highlighted precision.",
        ),
        CLOSE,
    ]  # fmt: skip

    def __init__(self, session: ChatSession) -> None:
        super().__init__()
        self._session = session

    def compose_body(self) -> ComposeResult:
        """Compose the list, and below it what loading will do."""
        yield ChoiceList[PrecisionChoice](self._draw, id="choices")
        yield Static(_PROMISE, id="precision-promise", markup=False)

    def on_mount(self) -> None:
        """Start reading what each precision needs."""
        super().on_mount()
        info, wanted = self._session.info, self._session.wanted
        device = wanted.device if info is None else info.device
        name = safe_line(wanted.model, 48)
        self.heading = f"Precision for {name}" + (f" on {device}" if device != "auto" else "")
        self.say("reading…")
        self.read(self._session.precisions, self._show_choices)

    def _show_choices(self, choices: list[PrecisionChoice]) -> None:
        if not choices:
            self.say("No precision is known for this model", "", "Press F3 for another model")
            return
        self.unsay()
        free, total = choices[0].free, choices[0].total
        of_total = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB" if total else format_bytes(free)
        self.note = f"free {of_total}"
        current = next((i for i, choice in enumerate(choices) if choice.is_current), -1)
        fitting = next((i for i, choice in enumerate(choices) if choice.fits), 0)
        self.choices.show_rows(choices, current if current >= 0 else fitting)
        self.choices.focus()

    def _draw(self, row: PrecisionChoice, width: int) -> Content:
        usable = row.fits and not row.reason
        name = (fitted(row.precision, 7), "" if usable or row.is_current else "$text-muted")
        text, colour = outcome(row)
        if width < 44:
            return Content.assemble(name, (fitted(text, width - 7), colour))
        size = (fitted(needs(row), 20, "right"), "$foreground" if usable else "$text-muted")
        return Content.assemble(name, size, "   ", (fitted(text, width - 30), colour))

    @on(ChoiceList.Moved)
    def _moved(self, event: ChoiceList.Moved) -> None:
        event.stop()
        self._promise(_PROMISE if self.has_class("-narrow") else f"{_SUM}\n{_PROMISE}")

    def _promise(self, text: str, is_refusal: bool = False) -> None:
        line = Content.styled(text, "$warning" if is_refusal else "$text-muted")
        self.query_one("#precision-promise", Static).update(line)

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        event.stop()
        row: PrecisionChoice | None = self.choices.row
        if row is None:
            return
        if row.is_current:
            self.dismiss(None)
        elif row.reason:
            self._promise(f"{row.precision} is not available here: {safe_line(row.reason)}", True)
        elif not row.fits and row.estimate is not None:
            self._promise(
                f"{row.precision} needs {format_bytes(row.estimate.total)}, "
                f"{format_bytes(row.free)} are free. Choose one that fits.",
                True,
            )
        else:
            self.dismiss(row.precision)


def needs(row: PrecisionChoice) -> str:
    """Return the memory for the weights, and for KV cache and working room: `11.5 + 1.4 GiB`."""
    if row.estimate is None:
        return "size not known"
    room = row.estimate.cache + row.estimate.working
    if row.estimate.total < _GIB:
        return f"{row.estimate.weights / 1024**2:.0f} + {room / 1024**2:.0f} MiB"
    return f"{row.estimate.weights / _GIB:.1f} + {room / _GIB:.1f} GiB"


def outcome(row: PrecisionChoice) -> tuple[str, str]:
    """Return what choosing a precision would lead to, and the colour of that text."""
    if row.is_current:
        return "loaded", "$accent"
    if row.reason:
        return f"not available: {row.reason}", "$text-muted"
    if row.estimate is None:
        return "fits if it loads", "$text-muted"
    left = row.free - row.estimate.total
    if row.fits:
        return f"fits, {format_bytes(max(0, left))} left", "$success"
    return f"does not fit, {format_bytes(max(0, -left))} short", "$warning"
