"""A chat as JSON, out and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.chats import any_text, conversations, facts, json_values, short_chat
from tui_chat.chat.conversation import Conversation, new_id
from tui_chat.chat.marks import LABELS, SCALE, ChatDetails, Marks, Note, Preference, Report
from tui_chat.errors import StoreError
from tui_chat.safe_text import storable
from tui_chat.storage.care.importing import save_imported
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.formats.ours.json_format import VERSION, from_json, to_json


@settings(max_examples=150, deadline=None)
@given(conversations())
def test_an_export_reads_back_as_the_same_chat_and_exports_the_same(conversation) -> None:
    text = to_json(conversation)
    back = from_json(text)
    assert facts(back) == facts(conversation)
    assert to_json(back) == text
    json.loads(text)


said_before = st.recursive(
    json_values, lambda inner: st.dictionaries(any_text, inner, max_size=2), max_leaves=4
)
all_marks = st.builds(
    Marks,
    rating=st.sampled_from([-1, 0, 1]),
    rank=st.none() | st.integers(0, 9),
    all_flawed=st.booleans(),
    labels=st.dictionaries(st.sampled_from(list(LABELS)), st.sampled_from(SCALE)),
    reports=st.lists(st.builds(Report, any_text, any_text), max_size=2).map(tuple),
    pinned=st.booleans(),
    excluded=st.booleans(),
    branch=any_text,
    edited=st.booleans(),
    note=st.none()
    | st.builds(
        Note,
        any_text.filter(str.strip),  # there is no note that says nothing
        st.datetimes(timezones=st.just(UTC)),
        any_text,
        any_text,
        st.integers(0, 500),
        st.booleans(),
    ),
    extra=st.dictionaries(any_text, said_before, max_size=2),
)
all_details = st.builds(
    ChatDetails,
    tags=st.lists(any_text, max_size=3).map(tuple),
    archived=st.booleans(),
    allow_data_use=st.booleans(),
    reviewed=st.booleans(),
    preferences=st.lists(
        st.builds(Preference, any_text, st.lists(any_text, max_size=2).map(tuple), any_text),
        max_size=2,
    ).map(tuple),
    extra=st.dictionaries(any_text, said_before, max_size=2),
)


@st.composite
def lived_in_chats(draw: st.DrawFn) -> Conversation:
    """A chat with everything that can be said about it, and steps that can be undone and redone."""
    chat = draw(conversations(text=any_text))
    chat.details = draw(all_details)
    names = [message.id for message in chat.messages()]
    for name in names:
        chat.update(name, marks=draw(all_marks))
    for step in draw(st.lists(st.sampled_from(["mark", "delete", "show", "undo", "redo"]))):
        if step in ("undo", "redo"):
            getattr(chat, step)()
        elif names:
            name = draw(st.sampled_from(names))
            if step == "mark":
                chat.mark(draw(any_text), {name: draw(all_marks)})
            elif step == "delete":
                chat.delete(name)
            else:
                chat.branch(draw(any_text), name)
    chat.title = draw(any_text)
    return chat


def test_every_kind_of_mark_is_tried() -> None:
    assert {f.name for f in fields(Marks)} == set(all_marks.wrapped_strategy.kwargs)  # type: ignore[attr-defined]  # hypothesis has no other way to ask
    assert {f.name for f in fields(ChatDetails)} == set(all_details.wrapped_strategy.kwargs)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TranscriptStore]:
    with TranscriptStore(tmp_path_factory.mktemp("json") / "chats.db") as store:
        yield store


@settings(max_examples=150, deadline=None)
@given(chat=lived_in_chats())
def test_all_that_is_said_goes_out_and_comes_in_and_goes_out_the_same(
    store: TranscriptStore, chat: Conversation
) -> None:
    for message in list(chat.messages()):  # nobody writes on what another program left unfinished
        if message.is_unfinished:
            chat.update(message.id, status="interrupted")
    text = to_json(chat)
    back = from_json(text)
    assert to_json(back) == text
    assert (back.undo_label, back.redo_label) == (
        storable(chat.undo_label),
        storable(chat.redo_label),
    )
    back.id = new_id()  # of its own, as of a chat that is imported beside another
    save_imported(store, [back], lambda saved: None)
    loaded = store.load(back.id)
    loaded.id = chat.id
    assert to_json(loaded) == text


@settings(max_examples=100, deadline=None)
@given(conversations(text=any_text))
def test_lone_surrogates_are_replaced_and_nothing_else(conversation) -> None:
    back = from_json(to_json(conversation))
    assert back.title == storable(conversation.title)
    assert [m.text for m in back.messages()] == [storable(m.text) for m in conversation.messages()]
    assert to_json(back) == to_json(conversation)


@given(any_text)
def test_no_character_of_an_export_steers_a_terminal(text: str) -> None:
    conversation = short_chat(title=text + "\x1b]0;x\x07\x9b31m\u202e\u2066\ufeff\U000e0041")
    exported = to_json(conversation)
    for character in "\x1b\x07\x7f\x9b\u202e\u2066\u200b\u2028\ufeff\U000e0041\r":
        assert character not in exported
    assert from_json(exported).title == storable(conversation.title)


def test_numbers_that_json_lacks_become_null() -> None:
    conversation = short_chat(turns=1)
    conversation.update(conversation.path()[1].id, stats={"speed": float("inf"), "n": [1.5]})
    assert from_json(to_json(conversation)).path()[1].stats == {"speed": None, "n": [1.5]}


def changed(**changes) -> str:
    """An export with some values changed; `messages__0__role` is the role of the first message."""
    data = json.loads(to_json(short_chat()))
    for path, value in changes.items():
        *steps, last = [int(s) if s.isdigit() else s for s in path.split("__")]
        target = data
        for step in steps:
            target = target[step]
        target[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "Line 1 is not JSON"),
        ("{\n]", "Line 2 is not JSON"),
        ("[1]", '"format": "tui-chat"'),
        ('{"format": "other"}', '"format": "tui-chat"'),
        ("[" * 100_000, "nested too deeply"),
        (changed(version=VERSION + 1), "versions up to"),
        (changed(version="1"), "version"),
        (changed(colour="red"), "colour"),
        (changed(chat__leaf="nowhere"), "nowhere"),
        (changed(chat__created="yesterday"), "yesterday"),
        (changed(messages__0__role="robot"), "messages.0.role"),
        (changed(messages__0__text=5), "messages.0.text"),
        (changed(messages__1__token_ids=[-1]), "messages.1.token_ids.0"),
        (changed(messages__0__parent_id="nobody"), "nobody"),
        (changed(messages__0__created="0001-01-01T00:00:00+23:00"), ""),
    ],
    ids=lambda value: "" if isinstance(value, str) and len(value) > 60 else None,
)
def test_what_is_wrong_is_named(text: str, expected: str) -> None:
    with pytest.raises(StoreError) as raised:
        from_json(text)
    assert expected in raised.value.one_line


def test_doubled_messages_and_circles_are_refused() -> None:
    data = json.loads(to_json(short_chat()))
    data["messages"].append(data["messages"][0])
    with pytest.raises(StoreError, match="twice"):
        from_json(json.dumps(data))
    data["messages"].pop()
    data["messages"][0]["parent_id"] = data["messages"][3]["id"]
    with pytest.raises(StoreError, match="own ancestor"):
        from_json(json.dumps(data))


def test_children_may_come_before_their_parents() -> None:
    data = json.loads(to_json(short_chat()))
    data["messages"].reverse()
    back = from_json(json.dumps(data))
    assert [m.text for m in back.path()] == [m.text for m in short_chat().path()]


@given(st.text(max_size=200))
def test_any_other_text_is_refused_with_an_error_to_show(text: str) -> None:
    with pytest.raises(StoreError):
        from_json(text)
