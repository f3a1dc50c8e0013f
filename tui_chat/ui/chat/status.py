"""The title line and the status beside the meter: the model, the chat and the engine's activity.

`StatusView` limits how often numbers that change constantly are redrawn, so that they stay
readable. `session_view` reports the events to it, and `status_text` words the texts.
"""

from __future__ import annotations

import asyncio

from textual.content import Content

from tui_chat.chat.events import Prefill
from tui_chat.safe_text import safe_line
from tui_chat.ui.chat.page import Page
from tui_chat.ui.chat.status_text import (
    LiveSpeed,
    Status,
    model_text,
    status_text,
    title_texts,
    why_not_saved,
)
from tui_chat.ui.plain_text import plain_line

INTERVAL_S = 0.25
"""Least seconds between two updates of numbers that change constantly."""
MEMORY_INTERVAL_S = 1.0
"""Least seconds between two readings of the memory in use; only `refresh` triggers them."""
_NARROW_STATUS = 20
"""Width of the status in the title line, in cells, on a narrow screen, whose meter has none."""
_LEAST_STATUS = 22
"""Width that the engine's activity may take from the meter's legend, in cells."""


class StatusView:
    """Updates the title line and the status of a page.

    Args:
        page: The page to update.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._session = page.session
        self._speed = LiveSpeed()
        self._prefill: Prefill | None = None
        self._memory_bytes = 0
        self._memory_read_at = float("-inf")
        self._doing: object = None
        self._shown_at = float("-inf")
        self.is_failed = False
        """Whether the wanted model failed to load, so that no model is loaded."""

    # What has happened ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Start measuring a new request."""
        self._speed.begin(self._page.clock.monotonic())

    def read(self, prefill: Prefill) -> None:
        """Record the progress of the prefill."""
        self._prefill = prefill

    def write(self, tokens: int) -> None:
        """Record that `tokens` tokens of the reply have arrived."""
        self._speed.add(tokens, self._page.clock.monotonic())

    def end(self) -> None:
        """Record the end of the reply, and let the next refresh read the memory in use again."""
        self._prefill = None
        self._memory_read_at = float("-inf")

    def show_memory(self, memory_bytes: int) -> None:
        """Show the device memory in use."""
        self._memory_bytes = memory_bytes
        self.show_title()

    # What is shown --------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The facts for the status text."""
        session = self._session
        return Status(
            state=session.state,
            loading=session.loading,
            prefill=self._prefill,
            rate=self._speed.rate,
            first_s=self._speed.first_s,
            last=session.last_stats,
            turbo=session.turbo.stage,
        )

    def refresh(self) -> None:
        """Update title and status, at once if the state has changed, else every `INTERVAL_S`."""
        now, session = self._page.clock.monotonic(), self._session
        saving = session.save_state
        is_saving = saving is None or saving.ok
        doing = (
            session.state, session.is_busy, self._prefill is None, len(session.conversation),
            is_saving, session.turbo.stage, session.why_read_only,
        )  # fmt: skip
        if doing == self._doing and now - self._shown_at < INTERVAL_S:
            return
        self._shown_at = now
        self.show()
        if doing != self._doing:
            self._doing = doing
            self._page.screen.refresh_bindings()
        self._read_memory()

    def show(self) -> None:
        """Update title and status now, for example after a resize."""
        self.show_title()
        self.show_status()

    def show_status(self) -> None:
        """Update the status beside the meter's legend."""
        meter = self._page.meter
        status = status_text(self.status, meter.status_room, _LEAST_STATUS)
        meter.status = Content(status).stylize("$text-muted")

    def show_title(self) -> None:
        """Update the title line: model, chat title and save mark.

        On a narrow screen the engine's activity takes the place of title and mark, unless the chat
        is read-only or not saved.
        """
        session, line = self._session, self._page.title_line
        models = self._models()
        saving = session.save_state
        is_broken = saving is not None and not saving.ok
        colour = "$error" if is_broken else "$text-muted"
        if session.is_read_only:
            colour = "$warning"
        if self._page.is_narrow:
            status = Content(status_text(self.status, _NARROW_STATUS))
            line.left = plain_line(models[1]).stylize("$text-muted")
            word = "read-only" if session.is_read_only else "not saved" if is_broken else ""
            line.right = Content(word).stylize(colour) if word else status
            return
        if session.is_read_only:
            mark = ("read-only", session.why_read_only)
        elif saving is None:
            mark = ("not saved", "")
        elif not saving.ok:
            mark = ("not saved", why_not_saved(saving.detail))
        else:
            mark = ("saved" if len(session.conversation) else "", "")
        title = safe_line(session.conversation.title or "New chat", 200)
        shown = title_texts(models, title, mark, self._page.width - 2)
        line.left = plain_line(shown.model).stylize("$text-muted")
        line.right = Content.assemble(
            shown.title, " · " if shown.mark else "", (shown.mark, colour)
        )

    def _models(self) -> tuple[str, str]:
        """Return the text for the model in full, and in short."""
        info, wanted = self._session.info, self._session.wanted.model
        if self.is_failed:
            wanted = f"{safe_line(wanted, 40)} · not loaded"
        return (
            model_text(info, wanted, self._memory_bytes, False),
            model_text(info, wanted, self._memory_bytes, True),
        )

    # Memory ---------------------------------------------------------------------------------------

    def _read_memory(self) -> None:
        now = self._page.clock.monotonic()
        if now - self._memory_read_at >= MEMORY_INTERVAL_S and self._session.info is not None:
            self._memory_read_at = now
            self._page.run(self._show_memory, "memory", exit_on_error=False)

    async def _show_memory(self) -> None:
        self.show_memory(await asyncio.to_thread(self._session.memory_bytes))
