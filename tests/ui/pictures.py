"""Pictures of the screen that are taken when nothing is going to change any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.ui.textual_release import IS_PICTURED, PICTURED

Act = Callable[[Pilot[Any]], Awaitable[None]]
Picture = Callable[..., bool]
"""Takes an app, a size in cells and optionally what to do first; compares with the stored one."""

_ALIKE = 5
"""Looks in a row that must agree before the screen counts as still."""


async def settled(pilot: Pilot[Any], limit_s: float = 20.0) -> None:
    """Wait until nothing waits to be handled and the screen stays as it is.

    What a test awaited is often on the screen before the last of its consequences: the keys of
    the footer, for one, follow the focus a moment later.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_s
    alike, before = 0, ""
    while alike < _ALIKE:
        assert loop.time() < deadline, "the screen never came to rest"
        await asyncio.sleep(0.01)
        now = pilot.app.export_screenshot()
        alike = alike + 1 if now == before and not _is_busy(pilot) else 0
        before = now


def _is_busy(pilot: Pilot[Any]) -> bool:
    """Whether any part of the page has messages or refreshes to handle."""
    screen = pilot.app.screen
    nodes = [pilot.app, screen, *screen.walk_children()]
    return any(not node._message_queue.empty() for node in nodes)


def comparing(snap_compare: Callable[..., bool]) -> Picture:
    """Compare as `snap_compare` does, once the screen is still."""

    def compare(app: Any, size: tuple[int, int], act: Act | None = None) -> bool:
        async def prepare(pilot: Pilot[Any]) -> None:
            if act is not None:
                await act(pilot)
            await settled(pilot)

        if not IS_PICTURED:
            pytest.skip(f"the pictures are of Textual {PICTURED}")
        return snap_compare(app, terminal_size=size, run_before=prepare)

    return compare
