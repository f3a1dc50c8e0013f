"""Saving from any thread, from the start of a writer to its end, without blocking anything."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.storage.chats import START, facts, short_chat
from tests.storage.faults import failing_connection
from tests.storage.writing import LONG, Start, stored
from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.save_state import SaveState
from tui_chat.storage.saving.writer import TranscriptWriter


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


def test_what_is_saved_together_is_in_one_transaction(database: Path) -> None:
    begun = threading.Event()
    statements: list[str] = []

    def watch(_: int, statement: str) -> None:
        statements.append(statement.split()[0].upper())
        begun.set()

    with TranscriptWriter(database, factory=failing_connection(watch)) as writer:
        assert writer.flush(LONG)
        begun.clear()
        statements.clear()
        chat = Conversation("chat")
        with writer.together():
            writer.save_message(chat.id, chat.append("user", "a question"))
            assert not begun.wait(0.2)
            saved = writer.save_header(chat)
        assert writer.wait_saved(saved, LONG)
        assert statements.count("BEGIN") == 1
    assert stored(database, chat.id).leaf_id == chat.leaf_id


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
