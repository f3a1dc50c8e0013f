"""Shared fixtures: a folder for the database, no file outside it, and writers that get closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.writing import FAST, LONG, Start, Switch
from tui_chat.storage.saving.writer import TranscriptWriter


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the database of a test goes; the cache and temporary folders are beside it."""
    monkeypatch.setenv("TUI_CHAT_HOME", str(tmp_path / "home"))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return tmp_path / "home" / "transcripts.db"


@pytest.fixture
def switch() -> Switch:
    """A fault for the writers of a test, off at first."""
    return Switch()


@pytest.fixture
def start(database: Path) -> Iterator[Start]:
    """Starts writers that are closed at the end of the test."""
    writers: list[TranscriptWriter] = []

    def make(path: Path = database, **options: object) -> TranscriptWriter:
        writer = TranscriptWriter(path, backoff=FAST, **options).start()  # type: ignore[arg-type]
        writers.append(writer)
        return writer

    yield make
    for writer in writers:
        writer.close(LONG)
