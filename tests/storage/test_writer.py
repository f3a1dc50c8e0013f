"""Saving from any thread, through every fault, without losing or blocking anything."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.storage.chats import START, facts, short_chat
from tests.storage.faults import failing_connection, sqlite_error
from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError
from tui_chat.storage.db import Notice
from tui_chat.storage.reading import read_transcripts
from tui_chat.storage.saving import SaveState
from tui_chat.storage.transcripts import TranscriptStore
from tui_chat.storage.writer import TranscriptWriter

FAST = (0.005, 0.02)
LONG = 20.0


class Switch:
    """A fault that can be put on and off while a writer runs."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.factory = failing_connection(lambda _, __: self.error)


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def start(database: Path) -> Iterator[Callable[..., TranscriptWriter]]:
    """Starts writers that are closed at the end of the test."""
    writers: list[TranscriptWriter] = []

    def make(path: Path = database, **options: object) -> TranscriptWriter:
        writer = TranscriptWriter(path, backoff=FAST, **options).start()  # type: ignore[arg-type]
        writers.append(writer)
        return writer

    yield make
    for writer in writers:
        writer.close(LONG)


def until(condition: Callable[[], object], limit: float = LONG) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def stored(path: Path, chat_id: str) -> Conversation:
    with read_transcripts(path) as reader:
        return reader.load(chat_id)


Start = Callable[..., TranscriptWriter]


def test_what_is_submitted_is_on_the_disk_when_its_future_is_done(
    database: Path, start: Start
) -> None:
    writer = start()
    chat = short_chat()
    saved = writer.save_conversation(chat, {"top_k": 3})
    assert writer.wait_saved(saved, LONG)
    assert facts(stored(database, chat.id)) == facts(chat)
    with writer.reader() as reader:
        assert reader.params(chat.id) == {"top_k": 3}
    assert writer.state == SaveState(True, 0)
    assert writer.close() is None


def test_every_kind_of_change_arrives(database: Path, start: Start) -> None:
    writer = start()
    chat, other = short_chat(turns=3), short_chat("Other")
    writer.save_conversation(chat)
    writer.save_conversation(other)
    removed = [m.id for m in chat.delete(chat.path()[4].id)]
    writer.mark_deleted(chat.id, removed)
    writer.set_leaf(chat.id, chat.leaf_id)
    writer.rename(chat.id, "Lakes")
    writer.discard_message(other.id, other.path()[-1].id)
    writer.delete(other.id)
    assert writer.flush(LONG)
    back = stored(database, chat.id)
    assert back.title == "Lakes"
    assert [m.text for m in back.path()] == [m.text for m in chat.path()]
    assert [m.deleted for m in back.messages()] == [m.deleted for m in chat.messages()]
    with writer.reader() as reader:
        assert [c.id for c in reader.list_chats()] == [chat.id]
    writer.undelete(other.id)
    assert writer.flush(LONG)
    assert len(stored(database, other.id)) == 3


def test_a_streamed_reply_is_saved_in_its_newest_version(database: Path, start: Start) -> None:
    writer = start()
    chat = Conversation()
    question = chat.append("user", "Tell me.")
    reply = chat.append("assistant", "", status="streaming")
    writer.save_conversation(chat)
    for number in range(500):
        reply = chat.update(reply.id, text=reply.text + f"{number} ")
        writer.checkpoint(chat.id, reply)
    assert writer.flush(LONG)
    assert stored(database, chat.id).path() == [question, reply]


def test_many_threads_can_save_at_once(database: Path, start: Start) -> None:
    writer = start()
    chats = [short_chat(f"Chat {n}", 5) for n in range(8)]

    def save(chat: Conversation) -> None:
        writer.save_header(chat)
        for message in chat.messages():
            writer.save_message(chat.id, message)

    threads = [threading.Thread(target=save, args=(chat,)) for chat in chats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush(LONG)
    for chat in chats:
        assert facts(stored(database, chat.id)) == facts(chat)


def one_turn(writer: TranscriptWriter) -> Conversation:
    """Everything that is saved in one turn, in the order in which a session does it."""
    chat = short_chat(turns=1)
    question = chat.append("user", "And then?")
    reply = chat.append("assistant", "", status="streaming")
    writer.save_header(chat, {"top_k": 1})
    for message in chat.messages():
        writer.save_message(chat.id, message)
    for piece in ("It ", "went ", "on."):
        reply = chat.update(reply.id, text=reply.text + piece)
        writer.checkpoint(chat.id, reply)
    writer.save_message(chat.id, chat.update(reply.id, status="complete"))
    chat.update(question.id, status="complete")
    writer.save_message(chat.id, chat[question.id])
    writer.save_header(chat)
    return chat


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
@pytest.mark.parametrize("fails_at", range(1, 22))
def test_whichever_write_of_a_turn_fails_nothing_is_lost(
    database: Path, start: Start, fails_at: int, code: int
) -> None:
    factory = failing_connection(lambda count, _: sqlite_error(code) if count == fails_at else None)
    writer = start(factory=factory)
    chat = one_turn(writer)
    assert writer.flush(LONG)
    assert writer.state == SaveState(True, 0)
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


def test_unsaved_changes_are_in_a_file_while_saving_fails(
    database: Path, start: Start, switch: Switch
) -> None:
    writer = start(factory=switch.factory)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_FULL)
    chat = short_chat()
    writer.save_conversation(chat)
    assert not writer.flush(0.1)

    def spilled() -> list[Path]:
        return list(database.parent.glob("tui-chat-unsaved-*.json"))

    until(spilled)
    text = spilled()[0].read_text()
    assert all(message.text in text for message in chat.messages())
    # Another program that starts now leaves the file of a living one alone.
    other = start()
    assert other.flush(LONG)
    assert other.notices == ()
    switch.error = None
    assert writer.flush(LONG)
    until(lambda: not spilled())
    assert facts(stored(database, chat.id)) == facts(chat)


def test_what_cannot_be_saved_at_the_end_is_saved_at_the_next_start(
    database: Path, start: Start, switch: Switch
) -> None:
    writer = start(factory=switch.factory)
    chat, gone = short_chat(), short_chat("Gone")
    writer.save_conversation(gone)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_FULL)
    reply = chat.append("assistant", "As far as it", status="streaming", seed=2**64 - 1)
    saved = writer.save_conversation(chat, {"stop": ["\n"]})
    writer.mark_deleted(chat.id, [chat.path()[0].id])
    writer.set_leaf(chat.id, chat.path()[2].id)
    writer.rename(chat.id, "Lakes")
    writer.discard_message(gone.id, gone.path()[-1].id)
    writer.delete(gone.id)
    left = writer.close(LONG)
    assert left is not None
    assert left.parent == database.parent
    with pytest.raises(StoreError, match="ended before"):
        saved.result(0)
    again = start()
    assert again.flush(LONG)
    back = stored(database, chat.id)
    assert back.title == "Lakes"
    assert back.leaf_id == chat.path()[2].id
    assert back[chat.path()[0].id].deleted
    assert back[reply.id].text == "As far as it"
    assert back[reply.id].status == "interrupted"
    assert back[reply.id].seed == 2**64 - 1
    with again.reader() as reader:
        assert [c.id for c in reader.list_chats()] == [chat.id]
        assert reader.params(chat.id) == {"stop": ["\n"]}
        assert len(reader.load(gone.id)) == 3
    assert not left.exists()


def test_a_file_that_could_not_be_removed_is_read_in_once(
    database: Path, start: Start, switch: Switch
) -> None:
    writer = start(factory=switch.factory)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_FULL)
    chat = short_chat()
    writer.save_conversation(chat)
    left = writer.close(LONG)
    assert left is not None
    content = left.read_text()
    second = start()
    second.rename(chat.id, "Newer")
    assert second.flush(LONG)
    second.close(LONG)
    left.write_text(content)
    third = start()
    assert third.flush(LONG)
    assert third.notices == ()
    assert stored(database, chat.id).title == "Newer"


def test_nothing_in_the_file_replaces_what_was_saved_later(
    database: Path, start: Start, switch: Switch
) -> None:
    writer = start(factory=switch.factory)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_FULL)
    chat = short_chat()
    reply = chat.append("assistant", "Half", status="streaming")
    writer.save_conversation(chat)
    assert writer.close(LONG) is not None
    later = short_chat("Later")
    later.id = chat.id
    later.updated = chat.updated.replace(year=2100)
    with TranscriptStore(database) as store, store.change():
        store.save_conversation(later)
        whole = chat.update(reply.id, text="Half and whole", status="complete")
        store.save_message(chat.id, whole)
    assert start().flush(LONG)
    back = stored(database, chat.id)
    assert back.title == "Later"
    assert back[reply.id] == whole


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tui_chat_unsaved": 7}', "\x00" * 9])
def test_a_file_that_cannot_be_read_is_kept_and_told(
    database: Path, start: Start, switch: Switch, content: str
) -> None:
    writer = start(factory=switch.factory)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_FULL)
    writer.save_conversation(short_chat())
    left = writer.close(LONG)
    assert left is not None
    left.write_text(content)
    again = start()
    assert again.flush(LONG)
    [notice] = again.notices
    kept = left.with_suffix(".unreadable")
    assert str(kept) in notice.text
    assert kept.read_text() == content
    assert again.state.ok


def test_where_the_folder_cannot_be_written_the_file_goes_elsewhere(
    database: Path, start: Start, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(factory=switch.factory)
    assert writer.flush(LONG)
    switch.error = sqlite_error(sqlite3.SQLITE_READONLY)
    chat = short_chat()
    real_open = os.open

    def refuse(path: object, flags: int, *args: int, **options: int) -> int:
        if flags & os.O_CREAT and Path(str(path)).parent == database.parent:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, flags, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    writer.save_conversation(chat)
    left = writer.close(LONG)
    monkeypatch.undo()
    assert left is not None
    assert left.parent == database.parent / "cache" or left.parent.name == "cache"


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


def test_old_replies_are_recovered_and_old_deletions_purged_at_the_start(
    database: Path, start: Start
) -> None:
    chat, old = short_chat(), short_chat("Old")
    chat.append("assistant", "Once upon", status="streaming")
    with TranscriptStore(database, lambda: START) as store, store.change():
        store.save_conversation(chat)
        store.save_conversation(old)
        store.delete(old.id)
    writer = start()
    assert writer.flush(LONG)
    assert stored(database, chat.id).path()[-1].status == "interrupted"
    with writer.reader() as reader:
        assert [c.id for c in reader.list_chats(include_deleted=True)] == [chat.id]


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


def test_a_listener_that_fails_stops_nothing(database: Path, start: Start) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("listener")

    writer = start(on_state=fail, on_notice=fail)
    chat = short_chat()
    writer.save_conversation(chat)
    assert writer.flush(LONG)
    assert len(stored(database, chat.id)) == 4


def test_what_comes_after_the_end_says_so(database: Path, start: Start) -> None:
    writer = start()
    assert writer.close(LONG) is None
    saved = writer.save_conversation(short_chat())
    with pytest.raises(StoreError, match="closed"):
        saved.result(0)
    assert not writer.flush(0.1)
    assert writer.close() is None


def test_a_writer_that_was_never_started_keeps_its_changes(database: Path, start: Start) -> None:
    writer = TranscriptWriter(database)
    chat = short_chat()
    writer.save_conversation(chat)
    assert writer.close() is not None
    assert start().flush(LONG)
    assert facts(stored(database, chat.id)) == facts(chat)
