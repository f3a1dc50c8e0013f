"""Every test of the screens runs in the same terminal and an empty home."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ui.pictures import Picture, comparing


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A true-colour terminal, whatever the one is that runs the tests."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TUI_CHAT_HOME", str(tmp_path / "home"))
    for name in ("NO_COLOR", "TMUX", "STY", "WT_SESSION", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def picture(snap_compare: Callable[..., bool]) -> Picture:
    """Compares a picture of an app with the stored one, once its screen is still."""
    return comparing(snap_compare)


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def crashes() -> Iterator[list[logging.LogRecord]]:
    """The crashes that an app survives; a test that provokes one has to take it from here."""
    kept = _Kept()
    log = logging.getLogger("tui_chat.ui.textual_fixes.crashes")
    log.addHandler(kept)
    yield kept.records
    log.removeHandler(kept)
    left = [logging.Formatter().format(record) for record in kept.records]
    assert not left, "\n".join(left)
