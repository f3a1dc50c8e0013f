"""Marks, details, history and the words to search for are saved with their chat."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from tests.storage.chats import short_chat
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.marks import ChatDetails, Marks
from tui_chat.storage.database.connection import connect
from tui_chat.storage.database.file import open_database
from tui_chat.storage.database.migrations import MIGRATIONS
from tui_chat.storage.database.writing import TranscriptStore


def test_everything_that_is_said_about_a_chat_comes_back(database: Path) -> None:
    chat = short_chat()
    first = chat.path()[0]
    chat.details = ChatDetails(tags=("rivers",), allow_data_use=False)
    chat.mark("Pin", {first.id: Marks(pinned=True, labels={"humor": 0.25})})
    chat.delete(chat.path()[-1].id)
    with TranscriptStore(database) as store:
        with store.change():
            store.save_conversation(chat)
        read = store.load(chat.id)
    assert read.details == chat.details
    assert list(read.messages()) == list(chat.messages())
    assert read.undo() == "Delete"
    assert read.undo() == "Pin"
    assert not read[first.id].marks


def found(connection: sqlite3.Connection, words: str) -> list[str]:
    rows = connection.execute(
        "SELECT messages.text FROM messages_found JOIN messages ON seq = messages_found.rowid"
        " WHERE messages_found MATCH ?", (words,),
    )  # fmt: skip
    return [row[0] for row in rows]


def sound(connection: sqlite3.Connection) -> bool:
    """Whether the index says exactly what the texts say."""
    connection.execute("INSERT INTO messages_found (messages_found) VALUES ('integrity-check')")
    return True


def test_the_index_follows_the_texts_of_finished_messages(database: Path) -> None:
    chat = Conversation()
    user = chat.append("user", "Tell me of herons")
    reply = chat.append("assistant", "Herons are", status="streaming")
    with TranscriptStore(database) as store:
        connection = store._connection
        with store.change():
            store.save_conversation(chat)
        assert found(connection, "herons") == [user.text]
        for text, status in (("Herons are grey", "streaming"), ("Herons are grey.", "complete")):
            with store.change():
                store.save_message(chat.id, replace(reply, text=text, status=status))
            assert sound(connection)
        assert found(connection, "grey") == ["Herons are grey."]
        with store.change():
            store.save_message(chat.id, replace(user, text="Tell me of storks"))
        assert found(connection, "herons") == ["Herons are grey."]
        assert found(connection, "stork*") == ["Tell me of storks"]
        with store.change():
            store.mark_deleted(chat.id, [user.id])
            store.discard_message(chat.id, reply.id)
        assert sound(connection)
        assert found(connection, "grey") == []


def test_a_database_of_the_first_version_gets_its_index(database: Path) -> None:
    database.parent.mkdir(parents=True, exist_ok=True)
    old = open_database(database, migrations=MIGRATIONS[:1]).connection
    old.execute("INSERT INTO chats (id, created, updated) VALUES ('c', '2026', '2026')")
    old.execute(
        "INSERT INTO messages (chat_id, id, role, created, status, text) VALUES"
        " ('c', 'm', 'user', '2026-01-01', 'complete', 'Café au lait')"
    )
    old.close()
    open_database(database).connection.close()
    connection = connect(database)
    assert found(connection, "cafe") == ["Café au lait"]
    assert sound(connection)
    connection.close()
