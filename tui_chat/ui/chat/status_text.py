"""The texts of the title line and of the status beside the meter's legend.

These are pure functions. They pad numbers that change, so that the text around a number does not
move when the number does.
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
"""The live speed is averaged over this many seconds."""
_WORTH_SAYING_S = 0.005
"""Least time to the first token, in seconds, that the status shows."""
_LEAST_TITLE = 16
"""Cells of the chat's title that are kept while the save mark still has a reason to shorten."""
_LEAST_REASON = 26
"""Cells of the save mark (the state and some words of its reason) kept before the title is cut."""
_TELLING = 32
"""Cells of the title, and of the mark, for which the model's device and memory are left out."""


@dataclass
class LiveSpeed:
    """Decode speed of the current reply, averaged over the last `_WINDOW_S` seconds."""

    began: float = 0.0
    """When the request began, in seconds of a monotonic clock."""
    first_s: float = 0.0
    """Seconds from the request to the first token; 0 before it has arrived."""
    _arrivals: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self, now: float) -> None:
        """Start measuring a new request.

        Args:
            now: Seconds of a monotonic clock.
        """
        self.began, self.first_s = now, 0.0
        self._arrivals.clear()

    def add(self, tokens: int, now: float) -> None:
        """Record the arrival of tokens.

        Args:
            tokens: How many tokens have arrived.
            now: Seconds of the same clock as for `begin`.
        """
        if not self.first_s:
            self.first_s = max(now - self.began, 1e-6)
        self._arrivals.append((now, tokens))
        while now - self._arrivals[0][0] > _WINDOW_S:
            self._arrivals.popleft()

    @property
    def rate(self) -> float:
        """Tokens per second; 0 until two arrivals are more than 50 ms apart."""
        if len(self._arrivals) < 2:
            return 0.0
        span = self._arrivals[-1][0] - self._arrivals[0][0]
        # The tokens of the first arrival were decoded before the span begins.
        return sum(tokens for _, tokens in list(self._arrivals)[1:]) / span if span > 0.05 else 0.0


@dataclass(frozen=True, slots=True)
class Status:
    """The facts about the engine that the status text is made from."""

    state: State = "empty"
    loading: Loading | None = None
    prefill: Prefill | None = None
    """Prefill progress of the current reply."""
    rate: float = 0.0
    """Decode speed in tokens per second; 0 if not known."""
    first_s: float = 0.0
    """Seconds to the first token of the current reply; 0 before it."""
    last: Stats | None = None
    """Statistics of the last finished reply."""
    turbo: TurboStage = "off"
    """State of the compiled decode path."""


def status_text(status: Status, room: int, least: int = 0) -> str:
    """Return what the engine is doing, followed by as much of the prompt's cost as fits.

    Args:
        status: The facts to show.
        room: Width available, in cells.
        least: Width that the engine's activity may take, in cells, even if `room` is smaller.
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
    """Return the word for the compiled decode path, if it is ready or being compiled."""
    if status.turbo == "compiling":
        return ["compiling turbo"]
    is_worth_saying = status.state == "decoding" or status.last is not None
    return ["turbo"] if status.turbo == "ready" and is_worth_saying else []


def _cost(status: Status) -> list[str]:
    """Return what the prompt of the current or last turn cost, as separate texts.

    These are its reused and new tokens, the time to the first token, and the number of turns left
    out because they did not fit the context.
    """
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
    """Return the loaded model with its precision, device and memory use.

    Args:
        info: The loaded model; None if no model is loaded.
        wanted: The text to return if no model is loaded, usually the model that is loading.
        memory_bytes: Device memory in use; 0 if not known.
        is_short: Whether to leave out the device and the memory.
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
    """Return the reason in a storage message, without its introduction ("Nothing is saved: ")."""
    for said in ("Nothing is saved: ", "Not saved yet: "):
        detail = detail.removeprefix(said)
    return safe_line(detail)


@dataclass(frozen=True, slots=True)
class TitleTexts:
    """The three texts of the title line, fitted to its width."""

    model: str
    title: str
    mark: str
    """Whether the chat is saved, and why not."""


def title_texts(
    models: tuple[str, str], title: str, mark: tuple[str, str], room: int
) -> TitleTexts:
    """Fit the title line: the model at the left, the chat's title and save mark at the right.

    With less room the texts are shortened in this order: the device and memory are left out, the
    reason in the mark is cut, the title is cut to a few words, the reason is left out, and at last
    the title is cut to nothing.

    Args:
        models: The model with its device and memory, and without them.
        title: The title of the chat.
        mark: The save state and the reason for it; either may be empty.
        room: Width available, in cells.
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
    """Cut a text to `room` cells, ending in `…` if it was too long."""
    if cell_len(text) <= room:
        return text
    return f"{set_cell_size(text, room - 1).rstrip()}…" if room > 0 else ""
