"""Faults of the disk and the database: told at once, over with their cause, and nothing lost."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path

import pytest

from tests.storage.chats import facts, short_chat
from tests.storage.faults import failing_connection, sqlite_error
from tests.storage.writing import LONG, Start, Switch, one_turn, stored, until
from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.save_state import Notice, SaveState


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
@pytest.mark.parametrize("fails_at", range(1, 22))
def test_whichever_write_of_a_turn_fails_nothing_is_lost(
    database: Path, start: Start, fails_at: int, code: int
) -> None:
    factory = failing_connection(lambda count, _: sqlite_error(code) if count == fails_at else None)
    states: list[SaveState] = []
    writer = start(factory=factory, on_state=states.append)
    chat = one_turn(writer)
    assert writer.flush(LONG)
    assert writer.state == SaveState(True, 0)
    until(lambda: states and states[-1].ok)
    assert any("the disk" in state.detail for state in states if not state.ok)
    assert facts(stored(database, chat.id)) == facts(chat)
    assert writer.close(LONG) is None
    with TranscriptStore(database) as store:
        assert store.notices == ()


def test_every_write_after_the_nth_fails_until_the_disk_is_back(
    database: Path, start: Start, switch: Switch
) -> None:
    for fails_from in range(1, 22):
        error: list[Exception] = [sqlite_error(sqlite3.SQLITE_FULL)]
        factory = failing_connection(
            lambda count, _, n=fails_from, e=error: e[0] if e and count >= n else None
        )
        path = database.with_name(f"{fails_from}.db")
        writer = start(path, factory=factory)
        chat = one_turn(writer)
        until(lambda writer=writer: not writer.state.ok or writer.state.pending == 0)
        error.clear()
        assert writer.flush(LONG)
        assert facts(stored(path, chat.id)) == facts(chat)


def test_a_full_disk_is_told_within_a_second_and_over_when_there_is_room(
    database: Path, start: Start, switch: Switch
) -> None:
    states: list[SaveState] = []
    writer = start(factory=switch.factory, on_state=states.append)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_FULL)
    chat = short_chat()
    began = time.monotonic()
    saved = writer.save_conversation(chat)
    assert not writer.wait_saved(saved, LONG)
    assert time.monotonic() - began < 1
    assert not writer.flush(0.05)
    assert writer.state == SaveState(False, 5, "Not saved yet: the disk is full")
    chat.update(chat.path()[-1].id, text="Changed meanwhile.")
    writer.save_message(chat.id, chat.path()[-1])
    assert writer.state.pending == 5
    switch.error = None
    saved.result(LONG)
    assert writer.state == SaveState(True, 0)
    assert list(stored(database, chat.id).messages()) == list(chat.messages())
    until(lambda: states[-1].ok)
    assert [state.ok for state in states] == [True, False, True]


def test_a_disk_that_is_really_full_keeps_everything_until_there_is_room(
    database: Path, start: Start
) -> None:
    pages = [30]

    class SmallDisk(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
            if sql.startswith("BEGIN"):
                super().execute(f"PRAGMA max_page_count = {pages[0]}")
            return super().execute(sql, *args)  # type: ignore[arg-type]

    writer = start(factory=SmallDisk)
    chats = [short_chat(f"Chat {number}", 3) for number in range(20)]
    for chat in chats:
        chat.update(chat.path()[0].id, text="long " * 4_000)
        writer.save_conversation(chat)
    assert not writer.flush(0.2)
    assert writer.state.detail == "Not saved yet: the disk is full"
    with read_transcripts(database) as reader:
        committed = [reader.load(c.id) for c in reader.list_chats()]
    assert all(len(chat) == 6 for chat in committed)
    pages[0] = 1_000_000
    assert writer.flush(LONG)
    for chat in chats:
        assert list(stored(database, chat.id).messages()) == list(chat.messages())


def test_nothing_blocks_while_another_program_holds_the_database(
    database: Path, start: Start
) -> None:
    writer = start()
    assert writer.flush(LONG)
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    chat = short_chat(turns=50)
    began = time.monotonic()
    saved = writer.save_conversation(chat)
    writer.rename(chat.id, "Lakes")
    state = writer.state
    assert time.monotonic() - began < 0.2
    assert state.pending == 102
    assert not saved.done()
    with writer.reader() as reader:
        assert reader.list_chats() == []
    other.execute("COMMIT")
    other.close()
    assert writer.flush(LONG)
    assert stored(database, chat.id).title == "Lakes"


def test_a_lock_that_outlasts_the_wait_is_told_and_tried_again(
    database: Path, start: Start, switch: Switch
) -> None:
    writer = start(factory=switch.factory)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_BUSY)
    chat = short_chat()
    assert not writer.wait_saved(writer.save_conversation(chat), LONG)
    assert writer.state.detail == "Not saved yet: another program has locked the database"
    switch.error = None
    assert writer.flush(LONG)
    assert facts(stored(database, chat.id)) == facts(chat)


def test_a_read_only_database_can_be_read_and_says_that_nothing_is_saved(
    database: Path, start: Start, switch: Switch
) -> None:
    chat = short_chat()
    with TranscriptStore(database) as store, store.change():
        store.save_conversation(chat)
    switch.error = sqlite_error(sqlite3.SQLITE_READONLY)
    writer = start(factory=switch.factory)
    assert writer.wait_ready(LONG)
    until(lambda: not writer.state.ok)
    assert writer.state.detail == "Nothing is saved: the database or its folder is read-only"
    assert [notice.kind for notice in writer.notices] == ["read-only"]
    with writer.reader() as reader:
        assert facts(reader.load(chat.id)) == facts(chat)
    writer.rename(chat.id, "Lakes")
    switch.error = None
    assert writer.flush(LONG)
    assert stored(database, chat.id).title == "Lakes"
    assert [notice.kind for notice in writer.notices] == ["read-only"]


def test_a_database_that_cannot_be_opened_leaves_a_chat_in_memory_and_a_file(
    database: Path, start: Start
) -> None:
    database.parent.mkdir(parents=True)
    database.mkdir()
    writer = start()
    chat = short_chat()
    writer.save_conversation(chat)
    assert not writer.flush(0.1)
    assert writer.state.detail.startswith("Nothing is saved: ")
    left = writer.close(LONG)
    assert left is not None
    assert left.stat().st_mode & 0o777 == 0o600
    database.rmdir()
    again = start()
    assert again.flush(LONG)
    assert facts(stored(database, chat.id)) == facts(chat)
    assert [notice.kind for notice in again.notices] == ["imported"]
    assert not left.exists()


def test_a_newer_database_is_never_touched(database: Path, start: Start) -> None:
    with TranscriptStore(database) as store:
        store._connection.execute("PRAGMA user_version = 99")
    before = database.read_bytes()
    writer = start()
    writer.save_conversation(short_chat())
    assert not writer.flush(0.1)
    assert "newer than this program" in writer.state.detail
    assert writer.close(LONG) is not None
    assert database.read_bytes() == before


def test_a_change_that_the_database_never_takes_holds_up_no_other(
    database: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TranscriptStore.rename

    def refuse(store: TranscriptStore, chat_id: str, title: str) -> None:
        if title == "never":
            raise sqlite3.IntegrityError("constraint failed")
        real(store, chat_id, title)

    monkeypatch.setattr(TranscriptStore, "rename", refuse)
    writer = start()
    chat = short_chat()
    writer.save_conversation(chat)
    never = writer.rename(chat.id, "never")
    last = writer.rename(chat.id, "Lakes")
    assert writer.wait_saved(last, LONG)
    with pytest.raises(StoreError, match="constraint failed"):
        never.result(LONG)
    assert stored(database, chat.id).title == "Lakes"
    assert [notice.kind for notice in writer.notices] == ["refused"]
    left = writer.close(LONG)
    assert left is not None
    kinds = [change["kind"] for change in json.loads(left.read_text())["changes"]]
    assert kinds == ["Rename"]


def test_a_file_damaged_while_the_program_runs_is_replaced_and_told(
    database: Path, start: Start
) -> None:
    told: list[Notice] = []
    writer = start(on_notice=told.append)
    first, second = short_chat("First"), short_chat("Second")
    writer.save_conversation(first)
    assert writer.flush(LONG)
    content = bytearray(database.read_bytes())
    content[:100] = os.urandom(100)
    database.write_bytes(content)
    writer.save_conversation(second)
    assert writer.flush(LONG)
    assert [notice.kind for notice in told] == ["damaged"]
    assert facts(stored(database, first.id)) == facts(first)
    assert facts(stored(database, second.id)) == facts(second)


def test_a_file_removed_while_the_program_runs_is_made_again_and_told(
    database: Path, start: Start
) -> None:
    told: list[Notice] = []
    writer = start(on_notice=told.append)
    chat = short_chat()
    writer.save_conversation(chat)
    assert writer.flush(LONG)
    database.unlink()
    chat.append("user", "Are you there?")
    writer.save_message(chat.id, chat.path()[-1])
    assert writer.flush(LONG)
    assert [notice.kind for notice in told] == ["replaced"]
    writer.save_conversation(chat)
    assert writer.flush(LONG)
    assert list(stored(database, chat.id).messages())[-1].text in {
        message.text for message in chat.messages()
    }
    assert len(stored(database, chat.id)) == 5


def test_reopening_after_a_fault_does_not_interrupt_the_reply_that_streams(
    database: Path, start: Start, switch: Switch
) -> None:
    writer = start(factory=switch.factory)
    chat = Conversation()
    chat.append("assistant", "Once", status="streaming")
    writer.save_conversation(chat)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_IOERR)
    writer.rename(chat.id, "Lakes")
    assert not writer.flush(0.05)
    switch.error = None
    assert writer.flush(LONG)
    assert stored(database, chat.id).path()[0].status == "streaming"
