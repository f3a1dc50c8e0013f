"""Labels beside and below a message: author, time, version, speed, and how a reply ended.

These are pure functions from messages to short strings.
"""

from __future__ import annotations

from datetime import datetime

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Prefill
from tui_chat.safe_text import safe_line
from tui_chat.ui.widgets.numbers import grouped


def time_text(message: Message, now: datetime) -> str:
    """Return when a message was written, in the time zone of `now`.

    The text is `12:04` on the same day, `3 May 12:04` in the same year, and `3 May 2024` otherwise.
    """
    local = message.created.astimezone(now.tzinfo)
    clock = f"{local:%H:%M}"
    if local.date() == now.date():
        return clock
    day = f"{local.day} {local:%b}"
    return f"{day} {clock}" if local.year == now.year else f"{day} {local.year}"


def version_text(version: tuple[int, int]) -> str:
    """Return which version of how many is shown, as `2/3`; empty if there is only one."""
    number, count = version
    return f"{number}/{count}" if count > 1 else ""


def signs_text(message: Message) -> str:
    """Return the marks that the user gave a message, as `pinned  +  draft two`; empty for none."""
    marks = message.marks
    parts = (
        "not sent" if marks.excluded else "",
        "pinned" if marks.pinned else "",
        {1: "+", -1: "−"}.get(marks.rating, ""),
        f"#{marks.rank + 1}" if marks.rank is not None else "",
        safe_line(marks.branch, 40),
        "⚑" if marks.reports else "",
    )
    return "  ".join(part for part in parts if part)


def side_text(message: Message, version: tuple[int, int]) -> str:
    """Return the label beside a message: the user's marks, then its version."""
    return "  ".join(part for part in (signs_text(message), version_text(version)) if part)


def meta_text(message: Message, now: datetime, is_short: bool = False) -> str:
    """Return the figures under a finished reply: model, size, speed, first-token delay and time.

    Args:
        message: A reply; the text is empty while it is unfinished.
        now: The current time in the user's time zone.
        is_short: Leave out everything but the size and the time.
    """
    if message.is_unfinished:
        return ""
    stats = message.stats
    parts = [] if is_short else [safe_line(short_model(message.model), 40)]
    tokens = int(stats.get("completion_tokens", 0) or 0)
    if tokens:
        parts.append(f"{grouped(tokens)} tok")
    rate = float(stats.get("decode_tokens_per_s", 0.0) or 0.0)
    if rate and not is_short:
        parts.append(f"{rate_text(rate)} tok/s")
    first = float(stats.get("ttft_s", 0.0) or 0.0)
    if first and not is_short:
        parts.append(seconds_text(first))
    facts = " · ".join(part for part in parts if part)
    return f"{facts}  {time_text(message, now)}" if facts else time_text(message, now)


def note_text(note: Message) -> str:
    """Return the heading of a note: who wrote it, and which turns it stands for."""
    who = safe_line(short_model(note.model), 40) or "the model"
    if note.is_unfinished:
        return f"{who} sums up the turns above; Esc stops it"
    changed = ", changed by you" if note.marks.edited else ""
    return f"Note by {who}{changed}, sent in place of the turns above"


def short_model(name: str) -> str:
    """Return the last part of a directory or hub id; a registry name stays as it is."""
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or name


def rate_text(rate: float) -> str:
    """Format tokens per second in few characters: `38`, `3.2`."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def seconds_text(seconds: float) -> str:
    """Format a short time: `0.09 s`, `4.2 s`, `38 s`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def mark_text(message: Message, prefill: Prefill | None = None) -> str:
    """Return what a reply is waiting for, or how it ended if not by itself; else an empty text.

    Args:
        message: A reply.
        prefill: The progress of the prefill while the engine reads the prompt.
    """
    tokens = int(message.stats.get("completion_tokens", 0) or 0) or len(message.token_ids)
    size = f" at {grouped(tokens)} tok" if tokens else ""
    ways = "> continues, r retries" if message.text else "r retries"
    if message.status == "waiting":
        return "waits for the model"
    if message.status == "streaming":
        return "" if message.text else _reading_text(prefill)
    if message.status == "stopped":
        return f"■ stopped{size}, {ways}"
    if message.status == "interrupted":
        return f"■ interrupted{size}, {ways}"
    if message.status == "failed":
        return f"✗ {message.error.rstrip('.') or 'The reply failed'}. {ways}"
    if message.finish_reason == "length":
        return f"■ cut by the length limit{size}, > continues"
    return ""


def _reading_text(prefill: Prefill | None) -> str:
    if prefill is None or not prefill.new:
        return "reading"
    return f"reading {grouped(prefill.done)} / {grouped(prefill.new)} tok"
