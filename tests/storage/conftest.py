"""Shared fixtures: a folder for the database, and no file outside it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the database of a test goes; the cache and temporary folders are beside it."""
    monkeypatch.setenv("TUI_CHAT_HOME", str(tmp_path / "home"))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return tmp_path / "home" / "transcripts.db"
