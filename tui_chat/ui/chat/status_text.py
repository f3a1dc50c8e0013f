"""The words of the title line and of the status beside the meter's legend.

Pure functions from what is known to short texts of steady width, so that nothing beside a number
moves when the number does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from tui_chat.chat.events import Loading, ModelInfo, Prefill, Stats, TurboStage
from tui_chat.chat.model_size import format_bytes
from tui_chat.safe_text import safe_line
from tui_chat.session import State
from tui_chat.ui.transcript.message_notes import rate_text, seconds_text
from tui_chat.ui.widgets.numbers import grouped

_WINDOW_S = 2.0
"""The live speed is that of this many last seconds."""
_WORTH_SAYING_S = 0.005
_LEAST_TITLE = 16
"""Cells that the title of a chat keeps before other things give way."""
_LEAST_REASON = 26
"""Cells that a mark keeps before the title of the chat gives way: words and a bit of why."""
_TELLING = 32
"""Cells of either for which the device and the memory of the model give way."""


@dataclass
class LiveSpeed:
    """Tokens per second of the reply that is being written, over the last moments."""

    began: float = 0.0
    """When the request began, by a monotonic clock."""
    first_s: float = 0.0
    """Seconds until the first token; 0 before it."""
    _arrivals: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self, now: float) -> None:
        """A request has begun."""
        self.began, self.first_s = now, 0.0
        self._arrivals.clear()

    def add(self, tokens: int, now: float) -> None:
        """Tokens have arrived."""
        if not self.first_s:
            self.first_s = max(now - self.began, 1e-6)
        self._arrivals.append((now, tokens))
        while now - self._arrivals[0][0] > _WINDOW_S:
            self._arrivals.popleft()

    @property
    def rate(self) -> float:
        """Tokens per second; 0 while there is too little to say."""
        if len(self._arrivals) < 2:
            return 0.0
        span = self._arrivals[-1][0] - self._arrivals[0][0]
        return sum(tokens for _, tokens in list(self._arrivals)[1:]) / span if span > 0.05 else 0.0


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to say about the engine."""

    state: State = "empty"
    loading: Loading | None = None
    prefill: Prefill | None = None
    """Of the reply that is being written."""
    rate: float = 0.0
    first_s: float = 0.0
    last: Stats | None = None
    """Of the last reply."""
    waiting: int = 0
    """Replies that wait for their turn."""
    turbo: TurboStage = "off"
    """How far the compiled path is."""


def status_text(status: Status, room: int, least: int = 0) -> str:
    """What the engine is doing, and what the last prompt cost, as far as there is room.

    Args:
        status: The facts.
        room: Cells.
        least: Cells that it may have for what the engine is doing, if that needs them.
    """
    doing, cost = _doing(status), [*_path(status), *_cost(status)]
    for count in range(len(cost), -1, -1):
        text = " · ".join(part for part in (doing, *cost[:count]) if part)
        if len(text) <= room:
            return text
    return doing[: max(0, room, least)]


def _doing(status: Status) -> str:
    if status.state == "loading":
        loading = status.loading
        if loading is None or not loading.total:
            return "▸ loading"
        return f"▸ loading {100 * loading.done // loading.total:3d} %"
    if status.state == "prefill" and status.prefill is not None:
        new, done = grouped(status.prefill.new), grouped(status.prefill.done)
        return f"▸ reading {done.rjust(len(new))} / {new}"
    if status.state == "decoding":
        return f"▸ {rate_text(status.rate):>4} tok/s" if status.rate else "▸ writing   "
    return "no model" if status.state == "empty" else ""


def _path(status: Status) -> list[str]:
    """Whether the compiled path is there, or on its way."""
    if status.turbo == "compiling":
        return ["compiling turbo"]
    is_worth_saying = status.state == "decoding" or status.last is not None
    return ["turbo"] if status.turbo == "ready" and is_worth_saying else []


def _cost(status: Status) -> list[str]:
    """Reused and new prompt tokens of this or the last turn, and the time to the first token."""
    dropped = 0
    if status.state in ("prefill", "decoding") and status.prefill is not None:
        reused, new, first_s = status.prefill.reused, status.prefill.new, status.first_s
    elif status.last is not None:
        last = status.last
        reused, new = last.reused_tokens, last.prompt_tokens - last.reused_tokens
        first_s, dropped = last.ttft_s, last.dropped_turns
    else:
        return []
    parts = [f"reused {grouped(reused)}", f"new {grouped(new)}"]
    if first_s >= _WORTH_SAYING_S:
        parts.append(f"first {seconds_text(first_s)}")
    if dropped:
        parts.append(f"{dropped} turn{'s' if dropped != 1 else ''} left out")
    return parts


def model_text(info: ModelInfo | None, wanted: str, memory_bytes: int, is_short: bool) -> str:
    """The loaded model, its precision and device, and the memory in use.

    Args:
        info: The loaded model; None if there is none.
        wanted: The model that is being loaded.
        memory_bytes: Device memory in use; 0 if not known.
        is_short: Only the model and its precision.
    """
    if info is None:
        return safe_line(wanted, 60)
    parts = [safe_line(info.name, 60), info.precision]
    if not is_short:
        parts.append(info.device)
        if memory_bytes:
            parts.append(format_bytes(memory_bytes))
    return " · ".join(parts)


def why_not_saved(detail: str) -> str:
    """The reason alone of what storage says, to be put after words of one's own."""
    for said in ("Nothing is saved: ", "Not saved yet: "):
        detail = detail.removeprefix(said)
    return safe_line(detail)


@dataclass(frozen=True, slots=True)
class TitleTexts:
    """What the title line says, fitted."""

    model: str
    title: str
    mark: str


def title_texts(
    models: tuple[str, str], title: str, mark: tuple[str, str], room: int
) -> TitleTexts:
    """Fit the title line: the model at the left, the chat and whether it is saved at the right.

    First the device and the memory go, then the reason of the mark gets shorter, then the title
    down to a few words, then the reason goes altogether, and only then the title gives way.

    Args:
        models: The model with everything, and without its device and memory.
        title: Of the chat.
        mark: Whether the chat is saved, and why not; each may be empty.
        room: Cells.
    """
    state, why = mark
    whole_mark = f"{state}: {why}" if why else state
    gaps = 2 + (3 if state else 0)
    full = min(cell_len(title), _TELLING) + min(cell_len(whole_mark), _TELLING) + gaps
    model = next((text for text in models if cell_len(text) + full <= room), models[1])
    rest = max(0, room - cell_len(model) - gaps)
    least_title = min(cell_len(title), _LEAST_TITLE)
    least_mark = min(cell_len(whole_mark), _LEAST_REASON)
    if rest >= least_title + least_mark:
        shown_mark = _cut(whole_mark, max(least_mark, rest - cell_len(title)))
    else:
        shown_mark = state
    return TitleTexts(model, _cut(title, rest - cell_len(shown_mark)), shown_mark)


def _cut(text: str, room: int) -> str:
    """A text in so many cells, with a mark where something is missing."""
    if cell_len(text) <= room:
        return text
    return f"{set_cell_size(text, room - 1).rstrip()}…" if room > 0 else ""
