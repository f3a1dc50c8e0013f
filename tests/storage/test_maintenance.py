"""Care for the database: what is wrong is found, copies are whole, room comes back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.storage.chats import facts, short_chat
from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError
from tui_chat.storage.care.maintenance import backup, check, vacuum
from tui_chat.storage.database.leases import ProcessLease
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.database.writing import TranscriptStore


@pytest.fixture
def chat(database: Path) -> Conversation:
    """A saved chat."""
    return save(database, short_chat())


def save(database: Path, chat: Conversation) -> Conversation:
    with TranscriptStore(database) as store, store.change():
        store.save_conversation(chat)
    return chat


def spoil(database: Path, *statements: str) -> None:
    """Change the database as no program of ours would."""
    connection = sqlite3.connect(database)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_sound_database_has_no_problem(database: Path, chat: Conversation) -> None:
    report = check(database)
    assert (report.chats, report.messages, report.problems) == (1, 4, ())
    assert report.is_index_checked


def test_a_reply_that_is_still_written_is_no_problem(database: Path, chat: Conversation) -> None:
    with TranscriptStore(database) as store:
        with store.change():
            store.save_message(chat.id, chat.append("assistant", "Half of", status="streaming"))
        assert check(database).problems == ()
        spoil(database, "INSERT INTO messages_found (messages_found) VALUES ('delete-all')")
        assert [p.kind for p in check(database, repair=True).repaired] == ["index"]
        with store.change():
            store.save_message(chat.id, chat.update(chat.leaf_id or "", status="complete"))
    assert check(database).problems == ()


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("index", "INSERT INTO messages_found (messages_found) VALUES ('delete-all')"),
        ("index", "INSERT INTO messages_found (rowid, text) VALUES (999, 'ghost')"),
        ("index", "DELETE FROM messages_found_docsize WHERE id = 2"),
        ("parent", "UPDATE messages SET parent_id = 'gone' WHERE seq = 3"),
        ("parent", "UPDATE messages SET parent_id = id WHERE seq = 3"),
        ("leaf", "UPDATE chats SET leaf = 'gone', turns = 0"),
        ("count", "UPDATE chats SET messages = 77"),
        ("count", "UPDATE chats SET turns = 77"),
        ("chat", "UPDATE messages SET chat_id = 'gone'"),
    ],
)
def test_what_is_wrong_is_found_and_mended(
    database: Path, chat: Conversation, kind: str, statement: str
) -> None:
    spoil(database, statement)
    assert kind in {problem.kind for problem in check(database).problems}
    report = check(database, repair=True)
    assert report.problems == ()
    assert kind in {problem.kind for problem in report.repaired}
    with read_transcripts(database) as reader:
        loaded = [reader.load(c.id) for c in reader.list_chats()]
    texts = [m.text for c in loaded for m in c.messages()]
    assert sorted(texts) == sorted(m.text for m in chat.messages())


def test_a_damaged_file_is_told_and_left_alone(database: Path, chat: Conversation) -> None:
    content = bytearray(database.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    database.write_bytes(content)
    report = check(database, repair=True)
    assert report.problems[0].kind == "damage"
    assert database.read_bytes() == content
    database.write_bytes(b"")
    assert "0 bytes" in check(database).problems[0].text


def test_without_a_database_there_is_nothing_to_care_for(database: Path) -> None:
    for work in (check, vacuum, lambda path: backup(path, path.with_name("copy.db"))):
        with pytest.raises(StoreError, match="no transcript database"):
            work(database)
    assert not database.exists()


def test_a_backup_is_whole_private_and_never_replaces_a_file_unasked(
    database: Path, chat: Conversation, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    with TranscriptStore(database):  # another program has it open
        assert backup(database, copy) == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600
    with read_transcripts(copy) as reader:
        assert facts(reader.load(chat.id)) == facts(chat)
    before = copy.read_bytes()
    save(database, short_chat("Lakes"))
    with pytest.raises(StoreError, match="already there"):
        backup(database, copy)
    assert copy.read_bytes() == before
    backup(database, copy, overwrite=True)
    assert check(copy).chats == 2
    with pytest.raises(StoreError, match="database itself"):
        backup(database, database, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "home", "tmp"]


def test_a_backup_that_cannot_be_written_leaves_nothing(
    database: Path, chat: Conversation, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="no such folder"):
        backup(database, tmp_path / "nowhere" / "copy.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "tmp"]


def test_vacuum_gives_room_back_unless_another_program_writes(
    database: Path, chat: Conversation
) -> None:
    large = short_chat("Large")
    large.append("user", "long " * 100_000)
    save(database, large)
    spoil(database, "PRAGMA foreign_keys = ON", f"DELETE FROM chats WHERE id = '{large.id}'")
    lease = ProcessLease(database)
    lease.hold()
    with pytest.raises(StoreError, match="open for writing"):
        vacuum(database)
    lease.release()
    sizes = vacuum(database)
    assert sizes.before - sizes.after > 400_000
    assert sizes.after == database.stat().st_size
    assert check(database).problems == ()
