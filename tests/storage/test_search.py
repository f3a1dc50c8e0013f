"""Messages of saved chats are found by their words and by what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tui_chat.chat.conversation import Conversation
from tui_chat.chat.marks import ChatDetails, Marks
from tui_chat.chat.query import parse_query
from tui_chat.storage.database.file import open_reader
from tui_chat.storage.database.search import RANKED, Found, search
from tui_chat.storage.database.writing import TranscriptStore

NOON = datetime(2026, 3, 1, 12).astimezone()
"""On this machine's clock, which the days of filters are of."""


@pytest.fixture
def store(database: Path) -> Iterator[TranscriptStore]:
    with TranscriptStore(database) as store:
        yield store


@pytest.fixture
def ask(store: TranscriptStore, database: Path) -> Callable[..., list[Found]]:
    """What a query finds, in a connection of its own."""

    def asked(text: str, **options: int) -> list[Found]:
        with open_reader(database) as connection:
            return search(connection, parse_query(text), **options)

    return asked


def save(store: TranscriptStore, *texts: str, **values: object) -> Conversation:
    """A chat in which the user and the model take turns, one a day."""
    chat = Conversation(title=texts[0][:20])
    for day, text in enumerate(texts):
        is_reply = bool(day % 2)
        chat.append("assistant" if is_reply else "user", text, model="guide" * is_reply)
        chat.update(chat.path()[-1].id, created=NOON + timedelta(days=day))
    for name, value in values.items():
        setattr(chat, name, value)
    keep(store, chat)
    return chat


def keep(store: TranscriptStore, chat: Conversation) -> None:
    with store.change():
        store.save_conversation(chat)


def texts(found: list[Found]) -> list[str]:
    return [each.snippet for each in found]


def test_what_is_found_says_where_it_is(store: TranscriptStore, ask: Callable) -> None:
    chat = save(store, "Tell me of herons", "Herons are grey.")
    (reply,) = ask("GREY herons")
    message = chat.path()[1]
    assert reply == Found(
        chat.id, chat.title, message.id, "assistant", "guide", message.created,
        "Herons are grey.", ((0, 6), (11, 15)),
    )  # fmt: skip
    assert ask("grey storks") == [] and ask("") == []


def test_the_best_come_first_and_the_newest_where_there_are_no_words(
    store: TranscriptStore, ask: Callable
) -> None:
    save(store, "A heron among very many other words, which say nothing of birds", "heron heron")
    assert texts(ask("heron"))[0] == "heron heron"
    assert [each.role for each in ask("after:2026-01-01")] == ["assistant", "user"]
    assert texts(ask("heron", limit=1)) == ["heron heron"]


def test_what_is_deleted_is_not_found(store: TranscriptStore, ask: Callable) -> None:
    chat, other = save(store, "Herons?", "Grey herons."), save(store, "More herons")
    chat.delete(chat.path()[1].id)
    keep(store, chat)
    assert set(texts(ask("herons"))) == {"Herons?", "More herons"}
    with store.change():
        store.delete(other.id)
    assert texts(ask("herons")) == texts(ask("role:user")) == ["Herons?"]
    with store.change():
        store.undelete(other.id)
    assert len(ask("herons")) == 2


@pytest.mark.parametrize("words", ["heron ", ""])
def test_filters_narrow_with_words_and_alone(
    store: TranscriptStore, ask: Callable, words: str
) -> None:
    first = save(store, "heron one", "heron two", details=ChatDetails(tags=("Work", "birds")))
    save(store, "heron three", details=ChatDetails(archived=True))
    question, reply = first.path()
    first.mark("Rate", {question.id: Marks(rating=-1), reply.id: Marks(rating=1)})
    keep(store, first)

    def found(filters: str) -> set[str]:
        return {text.removeprefix("heron ") for text in texts(ask(words + filters))}

    assert found("role:user") == {"one", "three"}
    assert found("model:GUI") == {"two"} and found("model:other") == set()
    assert found("before:2026-03-02") == {"one", "three"}
    assert found("after:2026-03-02") == {"two"}
    assert found("before:2026-03-02 model:guide") == set()
    assert found("rated:up") == {"two"} and found("rated:down") == {"one"}
    assert found("rated:any role:user") == {"one"}
    for more in ("after:2020-01-01", "before:2090-01-01", "after:2020-01-01 before:2090-01-01"):
        assert found(f"rated:up {more}") == {"two"}
    assert found("tag:work") == found("tag:work tag:BIRDS") == {"one", "two"}
    assert found("tag:work tag:other") == found("is:archived tag:work") == set()
    assert found("is:archived") == {"three"}
    assert found("is:active") == {"one", "two"}


def test_values_that_cannot_be_read_match_no_filter(store: TranscriptStore, ask: Callable) -> None:
    save(store, "heron")
    store._connection.execute("UPDATE messages SET marks = '{broken', model = x'ff'")
    store._connection.execute("UPDATE chats SET details = '[', created = 'x'")
    assert ask("heron rated:any") == ask("heron tag:x") == ask("is:archived") == []
    assert len(ask("heron")) == len(ask("heron role:user")) == len(ask("heron is:active")) == 1
    assert len(store.list_chats(query=parse_query("is:active"))) == 1


def test_a_reply_is_found_when_it_is_finished(store: TranscriptStore, ask: Callable) -> None:
    chat = Conversation()
    chat.append("assistant", "Herons are", status="streaming")
    keep(store, chat)
    assert ask("herons") == ask("role:assistant") == []


def test_of_very_many_matches_the_newest_are_ranked(store: TranscriptStore, ask: Callable) -> None:
    chat = Conversation()
    for number in range(RANKED + 5):
        chat.append("user", f"heron {number}")
    keep(store, chat)
    found = ask("heron", limit=2 * RANKED)
    assert len(found) == RANKED
    assert "heron 4" not in texts(found)
    assert texts(ask("heron 4")) == ["heron 4"]


QUERIES = (
    "heron", '"heron one"', "her*", "heron storks", "role:user", "model:gui heron", "rated:up",
    "rated:down role:assistant", "before:2026-03-02", "after:2026-03-02 role:user",
    "tag:work heron", "tag:work rated:any", "is:archived heron", "is:active role:assistant",
    "nothing",
)  # fmt: skip


def test_the_chats_of_a_query_are_those_of_the_messages_it_finds(
    store: TranscriptStore, ask: Callable
) -> None:
    work, old = ChatDetails(tags=("Work",)), ChatDetails(archived=True)
    first = save(store, "heron one", "heron two", details=work)
    first.mark("Rate", {first.path()[0].id: Marks(rating=-1), first.path()[1].id: Marks(rating=1)})
    keep(store, first)
    save(store, "heron three", "storks", "heron four", details=old)
    save(store, "storks", "heron and storks")
    gone = save(store, "heron five", details=work)
    with store.change():
        store.delete(gone.id)
    kinds = set()
    for text in QUERIES:
        query = parse_query(text)
        expected = {found.chat_id for found in ask(text)}
        listed = store.list_chats(query=query)
        assert {chat.id for chat in listed} == expected, text
        assert store.chat_ids(query) == [chat.id for chat in reversed(listed)]
        kinds.add(len(expected))
    assert kinds == {0, 1, 2, 3}, "the queries tell chats apart"


def test_tags_and_the_archive_are_of_the_chat_whatever_is_in_it(store: TranscriptStore) -> None:
    kept = save(store, "heron", details=ChatDetails(tags=("work",), archived=True))
    kept.delete(kept.path()[0].id)
    keep(store, kept)

    def listed(text: str) -> list[str]:
        return [chat.id for chat in store.list_chats(query=parse_query(text))]

    assert listed("tag:work") == listed("is:archived") == [kept.id]
    assert listed("tag:work heron") == listed("is:active") == listed("...") == []
