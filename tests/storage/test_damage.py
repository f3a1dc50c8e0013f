"""A damaged database: recognised, set aside whole, and every readable row saved."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.chats import START, facts, short_chat
from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError
from tui_chat.storage.database.connection import connect
from tui_chat.storage.database.damaged_pages import rows_on_leaf_pages
from tui_chat.storage.database.file import open_database
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.database.salvage import _CHAT_COLUMNS, _STORED_MESSAGE_COLUMNS
from tui_chat.storage.database.writing import TranscriptStore

PAGE = 4096


def long_chat(title: str, turns: int) -> Conversation:
    conversation = short_chat(title, turns)
    for message in conversation.path():
        conversation.update(message.id, text=message.text + " Words." * random.Random(3).randint(
            50, 400
        ))  # fmt: skip
    conversation.updated = START
    return conversation


def filled(database: Path) -> list[Conversation]:
    """A database of many pages; some messages are longer than a page."""
    chats = [long_chat(f"Chat {number}", 8) for number in range(12)]
    chats[3].update(chats[3].path()[2].id, text="long " * 20_000)
    chats[3].updated = START
    with TranscriptStore(database) as store, store.change():
        for chat in chats:
            store.save_conversation(chat)
    return chats


def reopen(database: Path) -> tuple[str, dict[str, Conversation]]:
    """Open after damage: the notice, and the chats that are left."""
    before = database.read_bytes()
    with TranscriptStore(database, lambda: START) as store:
        [notice] = store.notices
        assert notice.kind == "damaged"
        assert notice.path is not None
        assert str(notice.path) in notice.text
        assert notice.path.name == "transcripts.db.damaged-20260301-120000"
        assert notice.path.read_bytes() == before
        chats = {c.id: store.load(c.id) for c in store.list_chats()}
        with store.change():
            store.save_conversation(short_chat("After"))
    connection = connect(database)
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()
    with TranscriptStore(database) as store:
        assert store.notices == ()
    return notice.text, chats


def test_a_trashed_header_costs_nothing(database: Path) -> None:
    chats = filled(database)
    content = bytearray(database.read_bytes())
    content[:100] = os.urandom(100)
    database.write_bytes(content)
    text, left = reopen(database)
    assert "192 messages of 12 chats could be read" in text
    assert {c.id: facts(c) for c in chats} == {i: facts(c) for i, c in left.items()}


def test_a_trashed_first_page_costs_nothing(database: Path) -> None:
    chats = filled(database)
    content = bytearray(database.read_bytes())
    content[:PAGE] = bytes(PAGE)
    database.write_bytes(content)
    _, left = reopen(database)
    assert {c.id: facts(c) for c in chats} == {i: facts(c) for i, c in left.items()}


def test_half_a_file_keeps_the_rows_of_that_half(database: Path) -> None:
    filled(database)
    os.truncate(database, database.stat().st_size // 2 + 100)
    _, left = reopen(database)
    assert sum(len(chat) for chat in left.values()) > 50
    for chat in left.values():
        assert len(chat) == 0 or chat.path()


@pytest.mark.parametrize("seed", range(8))
def test_damaged_pages_cost_only_their_own_rows(database: Path, seed: int) -> None:
    chats = filled(database)
    content = bytearray(database.read_bytes())
    pages = random.Random(seed).sample(range(1, len(content) // PAGE), 5)
    for page in pages:
        content[page * PAGE : (page + 1) * PAGE] = os.urandom(PAGE)
    database.write_bytes(content)
    with TranscriptStore(database) as store:
        originals = {m.id: m for chat in chats for m in chat.messages()}
        left = [store.load(c.id) for c in store.list_chats()]
    found = [m for chat in left for m in chat.messages()]
    assert len(found) > 192 - 5 * 40
    for message in found:
        text = originals[message.id].text
        # A long text goes on over many pages, and the last of them cannot be told from noise.
        assert message.text == text or (len(text) > PAGE and message.text[:PAGE] == text[:PAGE])
    assert all(len(chat.path()) for chat in left if len(chat))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"not a database at all", b"SQLite format 3\x00", os.urandom(5 * PAGE)],
    ids=["empty", "one byte", "text", "magic only", "noise"],
)
def test_what_never_was_a_database_is_set_aside(database: Path, content: bytes) -> None:
    database.parent.mkdir()
    database.write_bytes(content)
    text, left = reopen(database)
    assert "no chat in it could be read" in text
    assert left == {}


def test_a_database_without_its_tables_is_damaged(database: Path) -> None:
    with_tables = filled(database)
    connection = connect(database)
    connection.execute("DROP TABLE messages")
    connection.close()
    text, left = reopen(database)
    assert "its tables are not as they were made" in text
    assert {chat.title for chat in left.values()} == {chat.title for chat in with_tables}


def test_two_damages_in_one_second_get_two_names(database: Path) -> None:
    database.parent.mkdir()
    for _ in range(2):
        database.write_bytes(b"rubbish")
        open_database(database, START).connection.close()
    names = sorted(p.name for p in database.parent.iterdir() if "damaged" in p.name)
    assert names == [
        "transcripts.db.damaged-20260301-120000",
        "transcripts.db.damaged-20260301-120000-2",
    ]


def test_readers_say_that_the_file_is_damaged_and_change_nothing(database: Path) -> None:
    database.parent.mkdir()
    for content in (b"", b"rubbish" * 1000):
        database.write_bytes(content)
        with pytest.raises(StoreError, match="Start tui-chat"), read_transcripts(database):
            pass
        assert database.read_bytes() == content


def test_a_transaction_under_way_is_rolled_back_before_rows_are_read(database: Path) -> None:
    chats = filled(database)
    with connect(database) as connection:
        connection.execute("PRAGMA cache_size = 2")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE messages SET text = 'never committed'")
        journal = database.with_name(database.name + "-journal")
        main, undo = database.read_bytes(), journal.read_bytes()
        connection.execute("ROLLBACK")
    connection.close()
    assert b"never committed" in main
    database.write_bytes(main)
    os.truncate(database, len(main) - PAGE // 2)
    journal.write_bytes(undo)
    with TranscriptStore(database) as store:
        texts = {m.text for c in store.list_chats() for m in store.load(c.id).messages()}
    assert "never committed" not in texts
    assert len(texts) > 0
    assert not journal.exists()
    del chats


def test_a_lost_chat_row_is_made_again_from_its_messages(database: Path) -> None:
    chat = short_chat()
    with TranscriptStore(database) as store, store.change():
        store.save_conversation(chat)
    rows = [values for _, values in rows_on_leaf_pages(database) if chat.title in values]
    assert len(rows) == 1
    content = database.read_bytes().replace(b"Rivers", b"\xff\xff\xff\xff\xff\xff")
    title_at = content.index(b"\xff" * 6)
    page = title_at // PAGE * PAGE
    damaged = bytearray(content)
    damaged[page : page + PAGE] = bytes(PAGE)
    database.write_bytes(damaged)
    with TranscriptStore(database) as store:
        [summary] = store.list_chats()
        assert summary.id == chat.id
        assert summary.title == "Question 0?"
        assert [m.text for m in store.load(chat.id).path()] == [m.text for m in chat.path()]


def test_a_message_whose_parent_is_lost_stays_on_the_path(database: Path) -> None:
    chat = short_chat(turns=3)
    with TranscriptStore(database) as store:
        with store.change():
            store.save_conversation(chat)
        lost = chat.path()[2]
        connection = connect(database)
        connection.execute("DELETE FROM messages WHERE id = ?", (lost.id,))
        connection.close()
        texts = [m.text for m in store.load(chat.id).path()]
    assert texts == [m.text for m in chat.path() if m.id != lost.id]


def test_a_rotten_byte_in_a_text_costs_that_byte(database: Path) -> None:
    chat = short_chat()
    with TranscriptStore(database) as store, store.change():
        store.save_conversation(chat)
    content = database.read_bytes()
    assert content.count(b"Answer 1.") == 1
    database.write_bytes(content.replace(b"Answer 1.", b"Answ\xffr 1."))
    with read_transcripts(database) as reader:
        assert reader.load(chat.id).path()[-1].text == "Answ\ufffdr 1."


def test_salvage_knows_the_columns_of_the_schema(database: Path) -> None:
    connection = open_database(database).connection
    for table, columns in (("chats", _CHAT_COLUMNS), ("messages", _STORED_MESSAGE_COLUMNS)):
        names = [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")]
        assert tuple(names[: len(columns)]) == columns
    connection.close()


values = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=50)
    | st.binary(max_size=50)
    | st.integers(1, 30_000).map(lambda size: "long" * size)
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.tuples(values, values, values), max_size=30),
    page_size=st.sampled_from([512, 4096, 65536]),
)
def test_pages_are_read_as_sqlite_reads_them(tmp_path: Path, rows, page_size: int) -> None:
    path = tmp_path / "plain.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA page_size = {page_size}")
    connection.execute("CREATE TABLE t (a, b, c)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    connection.commit()
    expected = connection.execute("SELECT rowid, a, b, c FROM t ORDER BY rowid").fetchall()
    connection.close()
    found = [(i, *row) for i, row in rows_on_leaf_pages(path) if len(row) == 3]
    assert sorted(found) == sorted(expected, key=lambda row: row[0])


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.randoms(use_true_random=False), st.integers(1, 400))
def test_no_pattern_of_flipped_bytes_stops_the_start(
    tmp_path: Path, generator: random.Random, count: int
) -> None:
    path = tmp_path / "flipped.db"
    path.unlink(missing_ok=True)
    with TranscriptStore(path) as store, store.change():
        store.save_conversation(short_chat(turns=30))
    content = bytearray(path.read_bytes())
    for _ in range(count):
        content[generator.randrange(len(content))] = generator.randrange(256)
    path.write_bytes(content)
    try:
        with TranscriptStore(path) as store:
            for summary in store.list_chats(include_deleted=True):
                store.load(summary.id)
    except StoreError as error:
        # Flips in the header can make it a newer or a foreign file, which is left alone.
        assert "newer" in error.title or "not a transcript" in error.title
