"""The file with unsaved changes: there while saving fails, and read in once at the next start."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tests.storage.chats import facts, short_chat
from tests.storage.faults import sqlite_error
from tests.storage.writing import LONG, Start, Switch, stored, until
from tui_chat.errors import StoreError
from tui_chat.storage.database.writing import TranscriptStore


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
