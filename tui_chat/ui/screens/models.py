"""The model picker (F3): every known model, its size, and whether it fits this machine.

The user can also type a directory or a hub id, which becomes one more row. The picker does not load
anything; its result says what to load.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.types import CSSPathType
from textual.widgets import Static

from tui_chat.chat.model_size import ModelChoice, format_bytes
from tui_chat.engine.files.spec import is_hub_id, is_path
from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line
from tui_chat.session import ChatSession
from tui_chat.ui.screens.sheet import CLOSE, Filter, ListSheet
from tui_chat.ui.widgets.choice_list import ChoiceList
from tui_chat.ui.widgets.line_view import fitted

Tone = Literal["good", "quiet", "bad", "accent"]

_COLOURS = {"good": "$success", "quiet": "$text-muted", "bad": "$warning", "accent": "$accent"}
_DOWNLOAD_BYTES = 2
"""Bytes per weight assumed for the size of a download; most hub models are stored in 16 bit."""


@dataclass(frozen=True, slots=True)
class LoadChoice:
    """The model that the user has chosen to load."""

    model: str
    """A registry name, local directory or hub id."""
    precision: str
    """The precision in the chosen row; `auto` if the row names none."""


@dataclass(frozen=True, slots=True)
class TypedModel:
    """A directory or hub id that the user has typed."""

    name: str
    is_directory: bool


Row = ModelChoice | TypedModel


@dataclass(frozen=True, slots=True)
class _Models:
    """The known models and the free memory, as read in a worker thread."""

    rows: tuple[ModelChoice, ...]
    free: int | None
    """Bytes that are free once the loaded model is freed; None if not known."""


class ModelScreen(ListSheet[LoadChoice]):
    """A list of models to pick from; the result says what to load.

    Args:
        session: The session whose models are listed.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "models.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "choose", "Load", id="models_load",
            tooltip="Frees the loaded model and loads the highlighted one.",
        ),
        CLOSE,
    ]  # fmt: skip

    def __init__(self, session: ChatSession) -> None:
        super().__init__("Models")
        self._session = session
        self._models = _Models((), None)
        self._typed: TypedModel | None = None
        self._filtered = ""
        self._refusal = ""
        self._is_reading = True
        self._is_chosen_early = False

    def compose_body(self) -> ComposeResult:
        """Compose the filter, the list, and the description of the highlighted model."""
        yield Filter("Type to filter, or a directory, or a hub id as owner/name")
        yield ChoiceList[Row](self._draw, id="choices")
        yield Static(id="model-detail", markup=False)

    def on_mount(self) -> None:
        """Start reading the models, which may take seconds; the user can type meanwhile."""
        super().on_mount()
        self.add_class("-tall-sheet")
        self.note = "reading…"
        self.query_one(Filter).focus()
        self.read(self._read_models, self._show_models)

    def _read_models(self) -> _Models:
        """Return the models and the free memory. Runs in a worker thread."""
        rows = tuple(self._session.models())
        free = None
        try:
            precisions = self._session.precisions()
        except TuiChatError:
            precisions = []  # the wanted model is missing; the others can still be chosen
        if precisions:
            free = precisions[0].free
        return _Models(rows, free)

    def _show_models(self, models: _Models) -> None:
        self._is_reading = False
        self._models = models
        self.note = _now(self._session)
        text = self.query_one(Filter).value
        self._filter(text, keep_current=not text)
        if self._is_chosen_early:
            self.action_choose()

    # The filter -----------------------------------------------------------------------------------

    @on(Filter.Changed)
    def _typing(self, event: Filter.Changed) -> None:
        event.stop()
        self._typed = None
        self._is_chosen_early = False
        self._filter(event.value)
        name = event.value.strip()
        known = {name for row in self._models.rows for name in (row.name, row.source)}
        if name not in known and (is_path(name) or is_hub_id(name)):
            self.read(lambda: _typed_model(name), self._offer, group="typed")

    def _offer(self, typed: TypedModel) -> None:
        """Add a row for the typed model, if the text in the filter is still the same."""
        if typed.name == self.query_one(Filter).value.strip():
            self._typed = typed
            self._filter(typed.name)

    def _filter(self, text: str, keep_current: bool = False) -> None:
        self._filtered = text.strip()
        words = text.lower().split()
        rows: list[Row] = [
            row
            for row in self._models.rows
            if all(word in f"{row.name} {row.source} {row.description}".lower() for word in words)
        ]
        if self._typed is not None:
            rows.append(self._typed)
        current = next(
            (i for i, r in enumerate(rows) if isinstance(r, ModelChoice) and r.is_current), 0
        )
        self.choices.show_rows(rows, current if keep_current else 0)

    # What is shown --------------------------------------------------------------------------------

    def _draw(self, row: Row, width: int) -> Content:
        if isinstance(row, TypedModel):
            verb = "load directory" if row.is_directory else "download"
            return Content.assemble(
                (f"{verb} ", "$accent"), fitted(row.name, width - len(verb) - 1)
            )
        text, tone = verdict(row, self._models.free, is_short=width < 56)
        longest = max((len(r.name) for r in self._models.rows), default=0)
        name_width = min(max(12, longest), max(12, width - 50 if width >= 66 else width - 25))
        muted = "$text-muted"
        parts: list[str | tuple[str, str]] = [fitted(row.name, name_width), "  "]
        if width >= 66:
            parts += [(fitted(_parameters(row.parameters), 6, "right"), muted), "  "]
        if width >= 50:
            parts += [(fitted(row.precision or "–", 5), muted)]
            size = format_bytes(row.estimate.total) if row.estimate else ""
            parts += [(fitted(size, 9, "right"), muted), "  "]
        used = sum(len(p if isinstance(p, str) else p[0]) for p in parts)
        parts.append((fitted(text, width - used), _COLOURS[tone]))
        return Content.assemble(*parts)

    @on(ChoiceList.Moved)
    def _moved(self, event: ChoiceList.Moved) -> None:
        event.stop()
        self._refusal = ""
        self._show_detail()

    def _show_detail(self) -> None:
        row = self.choices.row
        lines: list[Content] = []
        if isinstance(row, ModelChoice):
            lines = detail(row)
        elif isinstance(row, TypedModel):
            what = "A directory on this machine." if row.is_directory else "A model of the hub."
            note = "Loaded" if row.is_directory else "Downloaded and then loaded"
            lines = [Content(what), Content.styled(f"{note} in the best precision that fits.")]
        elif self._models.rows:
            lines = [
                Content("No model matches."),
                Content.styled("A directory or a hub id (owner/name) can be typed.", "$text-muted"),
            ]
        if self._refusal:
            lines = [Content.styled(self._refusal, "$warning"), *lines[1:]]
        self.query_one("#model-detail", Static).update(Content("\n").join(lines))

    # Choosing -------------------------------------------------------------------------------------

    def action_choose(self) -> None:
        """Choose the highlighted row, after filtering by the text as it is now.

        If no row matches a directory or hub id, choose that. If the models are still being read,
        choose as soon as they are there.
        """
        name = self.query_one(Filter).value.strip()
        if name != self._filtered:
            self._typed = None
            self._filter(name)
        if not self.choices.rows and (is_path(name) or is_hub_id(name)):
            self.dismiss(LoadChoice(name, "auto"))  # `_offer` has not added the row yet
        elif self._is_reading:
            self._is_chosen_early = True
        else:
            super().action_choose()

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        event.stop()
        row = self.choices.row
        if isinstance(row, TypedModel):
            self.dismiss(LoadChoice(row.name, "auto"))
        elif isinstance(row, ModelChoice):
            if row.is_current:
                self.dismiss(None)
            elif row.problem or row.fits is False:
                self._refusal = refusal(row, self._models.free)
                self._show_detail()
                self.app.bell()
            else:
                self.dismiss(LoadChoice(row.name, row.precision or "auto"))


def _now(session: ChatSession) -> str:
    """Return the note that says which model is loaded or being loaded."""
    if session.state == "loading":
        return f"{session.wanted.model} is being loaded"
    info = session.info
    return "no model is loaded" if info is None else f"{info.name} · {info.precision} is loaded"


def _typed_model(name: str) -> TypedModel:
    """Return a typed name with whether it is a directory. Reads the disk."""
    try:
        return TypedModel(name, is_path(name) or Path(name).is_dir())
    except (OSError, ValueError):
        return TypedModel(name, False)


def _parameters(count: int | None) -> str:
    """Return a number of weights in short form: `12.0B`, `160M`; `?` if not known."""
    if count is None:
        return "?"
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            value = count / size
            return f"{value:.1f}{unit}" if value < 100 else f"{value:.0f}{unit}"
    return str(count)


def verdict(row: ModelChoice, free: int | None, is_short: bool = False) -> tuple[str, Tone]:
    """Return whether a model can be loaded, in words, and the tone for their colour.

    Args:
        row: The model.
        free: Bytes that are free once the loaded model is freed; None if not known.
        is_short: Whether to leave out the numbers, for narrow columns.
    """
    if row.is_current:
        return "loaded", "accent"
    if row.problem:
        return ("problem" if is_short else "cannot be loaded"), "bad"
    download = "" if row.is_local else " ↓"
    if row.fits is None or row.estimate is None:
        return f"{'size ?' if is_short else 'size not known'}{download}", "quiet"
    if is_short or free is None:
        return (f"fits{download}", "good") if row.fits else ("does not fit", "bad")
    room = free - row.estimate.total
    if row.fits:
        return f"fits, {format_bytes(max(0, room))} left{download}", "good"
    return f"does not fit, {format_bytes(max(0, -room))} short", "bad"


def refusal(row: ModelChoice, free: int | None) -> str:
    """Return why a model cannot be loaded, in one or two sentences.

    Args:
        row: The model.
        free: Bytes that are free once the loaded model is freed; None if not known.
    """
    if row.problem:
        return safe_line(row.problem)
    needs = "" if row.estimate is None else f" It needs {format_bytes(row.estimate.total)}"
    has = "" if free is None or not needs else f", {format_bytes(free)} are free"
    return f"{safe_line(row.name)} does not fit in any precision.{needs}{has}."


def detail(row: ModelChoice) -> list[Content]:
    """Return the description of a model (or its problem), and a line of further facts."""
    facts = [safe_line(row.source), f"context {row.context}"]
    if not row.is_local and row.parameters is not None:
        facts.append(f"↓ about {format_bytes(row.parameters * _DOWNLOAD_BYTES)} to download first")
    elif not row.is_local:
        facts.append("↓ has to be downloaded first")
    return [
        Content(safe_line(row.problem or row.description)),
        Content.styled("  ·  ".join(facts), "$text-muted"),
    ]
