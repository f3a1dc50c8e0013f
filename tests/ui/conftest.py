"""Every test of the screens runs in the same terminal and an empty home."""

from __future__ import annotations

from collections.abc import Callable
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
