"""The database file: private, durable, migrated with a copy, never a newer or foreign one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.chats import START, facts, short_chat
from tests.storage.faults import failing_connection, sqlite_error
from tui_chat.errors import StoreError
from tui_chat.storage.database.connection import connect
from tui_chat.storage.database.file import open_database
from tui_chat.storage.database.migrations import MIGRATIONS, Migration, schema_version
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.database.writing import TranscriptStore

LATER = (
    *MIGRATIONS,
    Migration("stars", ("ALTER TABLE messages ADD COLUMN stars INTEGER", "CREATE TABLE x (y)")),
)
BROKEN = (*MIGRATIONS, Migration("broken", ("CREATE TABLE x (y)", "CREATE TABLE x (y)")))


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def with_chat(path: Path) -> None:
    with TranscriptStore(path) as store, store.change():
        store.save_conversation(short_chat())


def test_the_file_and_its_folder_are_for_the_owner_alone(database: Path) -> None:
    previous = os.umask(0)
    try:
        with TranscriptStore(database):
            assert database.stat().st_mode & 0o777 == 0o600
            assert database.parent.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(previous)


def test_a_file_that_others_could_read_is_made_private(database: Path) -> None:
    with_chat(database)
    database.chmod(0o644)
    with TranscriptStore(database):
        assert database.stat().st_mode & 0o777 == 0o600
    database.chmod(0o444)
    with TranscriptStore(database):
        assert database.stat().st_mode & 0o777 == 0o400


def test_commits_are_durable_and_waits_are_long_enough(database: Path) -> None:
    connection = open_database(database).connection
    assert pragma(connection, "journal_mode") == "delete"
    assert pragma(connection, "synchronous") == 3
    assert pragma(connection, "busy_timeout") == 5000
    assert pragma(connection, "foreign_keys") == 1
    connection.close()


def test_opening_leaves_no_file_but_the_database_and_its_locks(database: Path) -> None:
    with_chat(database)
    names = {path.name for path in database.parent.iterdir()}
    assert names == {"transcripts.db", "transcripts.db.lock"}


def test_an_old_database_is_copied_and_then_migrated(database: Path) -> None:
    with_chat(database)
    opened = open_database(database, START, migrations=LATER)
    assert schema_version(opened.connection) == len(LATER)
    opened.connection.execute("SELECT stars FROM messages")
    opened.connection.close()
    [notice] = opened.notices
    assert notice.kind == "migrated"
    assert notice.path is not None
    assert notice.path.name == f"transcripts.db.v{len(MIGRATIONS)}-20260301-120000.bak"
    assert notice.path.stat().st_mode & 0o777 == 0o600
    with read_transcripts(notice.path) as reader:
        assert reader.list_chats()[0].title == "Rivers"


def test_a_migration_that_fails_changes_nothing(database: Path) -> None:
    with_chat(database)
    before = database.read_bytes()
    with pytest.raises(StoreError, match="already exists"):
        open_database(database, migrations=BROKEN)
    connection = connect(database)
    assert schema_version(connection) == len(MIGRATIONS)
    assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'x'").fetchone() is None
    connection.close()
    assert len(before) == database.stat().st_size
    with read_transcripts(database) as reader:
        assert len(reader.list_chats()) == 1


@pytest.mark.parametrize("fails_at", range(1, 9))
def test_a_migration_interrupted_at_any_write_can_be_run_again(
    database: Path, fails_at: int
) -> None:
    with_chat(database)
    factory = failing_connection(
        lambda count, _: sqlite_error(sqlite3.SQLITE_IOERR) if count == fails_at else None
    )
    try:
        open_database(database, factory=factory, migrations=LATER).connection.close()
    except StoreError:
        connection = connect(database)
        assert schema_version(connection) == len(MIGRATIONS)
        connection.close()
    opened = open_database(database, migrations=LATER)
    assert schema_version(opened.connection) == len(LATER)
    opened.connection.close()


def test_without_room_for_the_copy_nothing_is_migrated(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_chat(database)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tui_chat.storage.database.migrations.os.replace", full)
    with pytest.raises(StoreError, match="A copy of it could not be made first"):
        open_database(database, migrations=LATER)
    connection = connect(database)
    assert schema_version(connection) == len(MIGRATIONS)
    connection.close()


def test_a_newer_database_is_refused_and_left_as_it_is(database: Path) -> None:
    with_chat(database)
    open_database(database, migrations=LATER).connection.close()
    before = database.read_bytes()
    with pytest.raises(StoreError, match="newer than this program"):
        TranscriptStore(database)
    with pytest.raises(StoreError, match="newer than this program"), read_transcripts(database):
        pass
    assert database.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_as_it_is(database: Path) -> None:
    database.parent.mkdir()
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.commit()
    connection.close()
    before = database.read_bytes()
    with pytest.raises(StoreError, match="not a transcript database"):
        TranscriptStore(database)
    assert database.read_bytes() == before


def test_a_folder_in_the_place_of_the_file_is_an_error_to_show(database: Path) -> None:
    database.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be used"):
        TranscriptStore(database)
    with pytest.raises(StoreError, match="cannot be used"), read_transcripts(database):
        pass


@pytest.mark.parametrize("code", [sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN])
def test_a_database_that_can_only_be_read_is_opened_with_a_notice(
    database: Path, code: int
) -> None:
    with_chat(database)
    factory = failing_connection(
        lambda _, sql: sqlite_error(code) if sql.startswith("PRAGMA user_version =") else None
    )
    with TranscriptStore(database, factory=factory) as store:
        assert store.is_read_only
        assert [notice.kind for notice in store.notices] == ["read-only"]
        assert str(database) in store.notices[0].text
        [summary] = store.list_chats()
        assert facts(store.load(summary.id))["header"][1] == "Rivers"


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_read_only_folder_is_read(database: Path) -> None:
    with_chat(database)
    database.chmod(0o400)
    database.parent.chmod(0o500)
    try:
        with TranscriptStore(database) as store:
            assert store.is_read_only
            assert len(store.list_chats()) == 1
        with read_transcripts(database) as reader:
            assert len(reader.list_chats()) == 1
    finally:
        database.parent.chmod(0o700)


def test_a_link_to_the_database_is_followed(database: Path, tmp_path: Path) -> None:
    with_chat(database)
    link = tmp_path / "link.db"
    link.symlink_to(database)
    database.write_bytes(b"rubbish")
    with TranscriptStore(link) as store:
        assert [notice.kind for notice in store.notices] == ["damaged"]
    assert link.is_symlink()


def test_many_processes_that_start_at_once_make_one_database(database: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.storage.chats import short_chat\n"
        "from tui_chat.storage.database.writing import TranscriptStore\n"
        "for number in range(10):\n"
        "    with TranscriptStore(Path(sys.argv[1])) as store, store.change():\n"
        "        assert store.notices == (), store.notices\n"
        "        store.save_conversation(short_chat(f'{sys.argv[2]} {number}'))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(database), str(number)])
        for number in range(3)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    with read_transcripts(database) as reader:
        assert len(reader.list_chats()) == 30
