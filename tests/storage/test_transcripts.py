"""Saving, listing, finding and loading chats."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.storage.chats import START, any_text, conversations, facts, short_chat
from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError, TranscriptNotFoundError
from tui_chat.safe_text import storable
from tui_chat.storage.database.leases import ProcessLease
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.database.records import ChatHeader
from tui_chat.storage.database.writing import TranscriptStore


def save(store: TranscriptStore, *chats: Conversation) -> None:
    with store.change():
        for chat in chats:
            store.save_conversation(chat)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(conversation=conversations())
def test_a_saved_chat_loads_as_it_was(database: Path, conversation: Conversation) -> None:
    with TranscriptStore(database) as store:
        with store.change():
            store.delete(conversation.id)
        store.purge(timedelta(days=-1))
        save(store, conversation)
    with read_transcripts(database) as reader:
        assert facts(reader.load(conversation.id)) == facts(conversation)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=any_text)
def test_lone_surrogates_are_replaced_and_nothing_else(database: Path, text: str) -> None:
    conversation = Conversation(title=text, system=text, model=text)
    conversation.append("user", text, params={"stop": [text]}, error=text)
    with TranscriptStore(database) as store:
        save(store, conversation)
        loaded = store.load(conversation.id)
    assert loaded.title == loaded.system == loaded.model == storable(text)
    assert loaded.path()[0].text == loaded.path()[0].error == storable(text)
    assert loaded.path()[0].params == {"stop": [storable(text)]}


def test_values_that_json_does_not_know_do_not_stop_the_saving(database: Path) -> None:
    conversation = Conversation()
    conversation.append("user", "x", stats={"path": Path("/a"), "bad": float("nan")})
    with TranscriptStore(database) as store:
        save(store, conversation)
        stats = store.load(conversation.id).path()[0].stats
    assert stats["path"] == "/a"
    assert stats["bad"] != stats["bad"]


def test_a_change_replaces_the_row_and_keeps_its_place(database: Path) -> None:
    conversation = short_chat()
    first = conversation.path()[0]
    with TranscriptStore(database) as store:
        save(store, conversation)
        conversation.update(first.id, text="Another question?", status="stopped")
        with store.change():
            store.save_message(conversation.id, conversation[first.id])
        assert list(store.load(conversation.id).messages()) == list(conversation.messages())


def test_deleted_marks_and_the_leaf_are_kept(database: Path) -> None:
    conversation = short_chat(turns=3)
    with TranscriptStore(database) as store:
        save(store, conversation)
        marked = conversation.delete(conversation.path()[3].id)
        with store.change():
            store.mark_deleted(conversation.id, [message.id for message in marked])
            store.set_leaf(conversation.id, conversation.leaf_id)
        loaded = store.load(conversation.id)
        assert [m.id for m in loaded.path()] == [m.id for m in conversation.path()]
        assert [m.deleted for m in loaded.messages()] == [False] * 3 + [True] * 3
        assert store.list_chats()[0].messages == 3
        assert store.list_chats()[0].turns == 2


def test_a_discarded_message_is_gone(database: Path) -> None:
    conversation = short_chat()
    last = conversation.path()[-1]
    with TranscriptStore(database) as store:
        save(store, conversation)
        conversation.discard(last.id)
        with store.change():
            store.discard_message(conversation.id, last.id)
            store.set_leaf(conversation.id, conversation.leaf_id)
        loaded = store.load(conversation.id)
        assert len(loaded) == 3
        assert loaded.leaf_id == conversation.leaf_id


def test_the_list_shows_the_chat_changed_last_first(database: Path) -> None:
    chats = [short_chat(f"Chat {n}", n, START + timedelta(hours=n)) for n in range(1, 4)]
    with TranscriptStore(database) as store:
        save(store, *chats)
        listed = store.list_chats()
        assert [(c.title, c.turns, c.messages) for c in listed] == [
            ("Chat 3", 3, 6),
            ("Chat 2", 2, 4),
            ("Chat 1", 1, 2),
        ]
        assert listed[0].updated == chats[2].updated
        assert [c.title for c in store.list_chats(limit=1, offset=1)] == ["Chat 2"]


def test_turns_are_those_of_the_shown_branch(database: Path) -> None:
    conversation = short_chat(turns=3)
    other = conversation.add_child(conversation.path()[1].id, "user", "Instead?")
    with TranscriptStore(database) as store:
        save(store, conversation)
        assert store.list_chats()[0].turns == 2
        assert store.list_chats()[0].messages == 7
        assert store.load(conversation.id).leaf_id == other.id


def test_a_message_that_comes_before_its_header_makes_the_chat(database: Path) -> None:
    conversation = short_chat(turns=1)
    question, answer = conversation.path()
    with TranscriptStore(database) as store:
        with store.change():
            store.save_message(conversation.id, question)
            store.save_message(conversation.id, answer)
        with store.change():
            store.save_header(ChatHeader.of(conversation, {"top_k": 9}))
        assert facts(store.load(conversation.id)) == facts(conversation)
        assert store.params(conversation.id) == {"top_k": 9}
        with store.change():
            store.save_header(ChatHeader.of(conversation))
        assert store.params(conversation.id) == {"top_k": 9}
        assert store.list_chats()[0].turns == 1


def test_find_takes_an_id_the_beginning_of_one_and_last(database: Path) -> None:
    chats = [Conversation("abc111"), Conversation("abc222"), Conversation("abc")]
    with TranscriptStore(database) as store:
        with pytest.raises(TranscriptNotFoundError):
            store.find("last")
        save(store, *chats)
        assert store.find("abc1") == "abc111"
        assert store.find("ABC2") == "abc222"
        assert store.find("abc") == "abc"
        assert store.find("last") == "abc"
        with pytest.raises(StoreError, match="Several saved chats") as raised:
            store.find("ab")
        assert "abc111" in raised.value.detail
        for missing in ("", "x", "%", "abc3", "\udc80"):
            with pytest.raises(TranscriptNotFoundError):
                store.find(missing)
        with pytest.raises(TranscriptNotFoundError):
            store.load("abc3")


def test_a_deleted_chat_can_be_brought_back_for_thirty_days(database: Path) -> None:
    conversation = short_chat()
    with TranscriptStore(database, lambda: START) as store:
        save(store, conversation)
        with store.change():
            store.rename(conversation.id, "Lakes")
            store.delete(conversation.id)
        assert store.list_chats() == []
        assert [c.deleted_at for c in store.list_chats(include_deleted=True)] == [START]
        with pytest.raises(TranscriptNotFoundError):
            store.find("last")
    with TranscriptStore(database, lambda: START + timedelta(days=29)) as store:
        assert store.purge() == 0
        with store.change():
            store.undelete(conversation.id)
        assert store.list_chats()[0].title == "Lakes"
        with store.change():
            store.delete(conversation.id)
    with TranscriptStore(database, lambda: START + timedelta(days=60)) as store:
        assert store.purge() == 1
        assert store.list_chats(include_deleted=True) == []
        with pytest.raises(TranscriptNotFoundError):
            store.load(conversation.id)
    assert b"Question 0?" not in database.read_bytes()


def unfinished_chat() -> Conversation:
    conversation = Conversation(title="Unfinished")
    conversation.append("user", "Tell me.", status="waiting")
    conversation.append("assistant", "Once upon", status="streaming")
    return conversation


def test_what_an_ended_process_was_writing_becomes_interrupted_and_keeps_its_text(
    database: Path,
) -> None:
    conversation = unfinished_chat()
    with TranscriptStore(database) as store:
        save(store, conversation)
        assert store.recover_interrupted() == 0
    with TranscriptStore(database) as store:
        assert store.recover_interrupted() == 2
        loaded = store.load(conversation.id).path()
    assert [(m.status, m.text) for m in loaded] == [
        ("interrupted", "Tell me."),
        ("interrupted", "Once upon"),
    ]


def test_what_a_living_process_writes_is_left_alone(database: Path) -> None:
    conversation = unfinished_chat()
    with TranscriptStore(database) as first, TranscriptStore(database) as second:
        save(first, conversation)
        assert second.recover_interrupted() == 0
        assert second.load(conversation.id).path()[1].status == "streaming"


def test_a_finished_message_no_longer_belongs_to_a_process(database: Path) -> None:
    conversation = unfinished_chat()
    with TranscriptStore(database) as store:
        save(store, conversation)
        for message in conversation.path():
            conversation.update(message.id, status="complete")
        save(store, conversation)
    with TranscriptStore(database) as store:
        assert store.recover_interrupted() == 0


def test_a_lease_goes_with_its_folder(database: Path) -> None:
    database.parent.mkdir()
    lease = ProcessLease(database)
    lease.hold()
    assert lease.is_held
    lease.release()
    assert list(database.parent.iterdir()) == []


def test_reading_without_a_database_shows_no_chats_and_makes_no_file(database: Path) -> None:
    with read_transcripts(database) as reader:
        assert reader.list_chats() == []
    assert not database.exists()


def test_a_chat_of_ten_thousand_messages_loads_whole(database: Path) -> None:
    conversation = Conversation(title="Long")
    for number in range(10_000):
        role = "assistant" if number % 2 else "user"
        conversation.append(role, f"Message {number}", token_ids=tuple(range(200)))
    with TranscriptStore(database) as store:
        save(store, conversation)
    with read_transcripts(database) as reader:
        loaded = reader.load(conversation.id)
    assert [m.text for m in loaded.path()] == [m.text for m in conversation.path()]


def test_five_thousand_chats_are_listed_a_page_at_a_time_or_all(database: Path) -> None:
    with TranscriptStore(database) as store, store.change():
        for number in range(5_000):
            store.save_conversation(short_chat(f"Chat {number}", 1))
    with read_transcripts(database) as reader:
        assert len(reader.list_chats(limit=50)) == 50
        assert len(reader.list_chats()) == 5_000
