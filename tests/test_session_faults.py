"""Writes of a session's turn that fail, each in its place: the chat goes on and nothing is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.storage.chats import facts
from tests.storage.faults import failing_connection, sqlite_error
from tests.test_session import wait_until
from tui_chat.chat.events import Ready
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.engine.files.registry import load_registry
from tui_chat.session import ChatSession, Saved, SessionEvent, SessionSettings
from tui_chat.storage.care.maintenance import check
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.save_state import SaveState
from tui_chat.storage.saving.writer import TranscriptWriter

LONG = 30.0
REPLY = "word " * 40


class Fault:
    """Fails one write, or every write from it on until it is mended."""

    def __init__(self, number: int, code: int, is_lasting: bool) -> None:
        self.has_struck = False
        self.is_mended = False
        self.is_lasting = is_lasting
        self._number = number
        self._error = sqlite_error(code)

    def __call__(self, count: int, statement: str) -> Exception | None:
        is_meant = count >= self._number if self.is_lasting else count == self._number
        if not is_meant or self.is_mended:
            return None
        self.has_struck = True
        return self._error


def turn(database: Path, fault: Fault) -> list[SessionEvent]:
    """Send, retry, delete and undo with a fault; the database has it all in the end."""
    writer = TranscriptWriter(database, factory=failing_connection(fault), backoff=(0.005, 0.02))
    backend = ScriptedBackend(Script(replies=(REPLY,)))
    session = ChatSession(backend, load_registry(), SessionSettings(LoadRequest("guide")), writer)
    events: list[SessionEvent] = []
    session.subscribe(events.append)
    session.start()
    wait_until(lambda: any(isinstance(getattr(e, "event", None), Ready) for e in list(events)))
    for step in (lambda: session.send("Hello?"), session.regenerate):
        step()
        wait_until(lambda: not session.is_busy, LONG)
    assert session.delete(session.messages()[-1].id)
    assert session.undo() == "Delete"
    assert [m.text for m in session.messages()] == ["Hello?", REPLY]
    if fault.has_struck and fault.is_lasting:
        wait_until(lambda: not _state(session).ok, LONG)
        assert "the disk" in _state(session).detail
    fault.is_mended = True
    assert writer.flush(LONG)
    wait_until(lambda: _state(session).ok, LONG)
    assert session.close(LONG)
    assert check(database).problems == ()
    with read_transcripts(database) as reader:
        assert facts(reader.load(session.conversation.id)) == facts(session.conversation)
    return events


@pytest.mark.parametrize("is_lasting", [False, True])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
def test_whichever_write_of_a_turn_fails_the_chat_goes_on_and_saving_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_lasting: bool
) -> None:
    monkeypatch.setenv("TUI_CHAT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    number = 1
    while True:
        fault = Fault(number, code, is_lasting)
        events = turn(tmp_path / f"{number}.db", fault)
        if not fault.has_struck:
            break
        states = [e.state for e in events if isinstance(e, Saved)]
        reasons = [state.detail for state in states if not state.ok]
        assert reasons and "the disk" in reasons[0], f"write {number} failed without a warning"
        assert states[-1].ok, f"after write {number} nothing says that saving works again"
        number += 1
    assert number > 20, "the faults reached every write of a turn"


def _state(session: ChatSession) -> SaveState:
    state = session.save_state
    assert state is not None
    return state
