"""What is said about messages and chats is written down whole, and read back tolerantly."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tui_chat.chat.conversation import Conversation
from tui_chat.chat.marks import LABELS, NO_MARKS, ChatDetails, Marks, Preference, Report

texts = st.text(max_size=8)
marks = st.builds(
    Marks,
    rating=st.sampled_from([-1, 0, 1]),
    rank=st.none() | st.integers(0, 9),
    all_flawed=st.booleans(),
    labels=st.dictionaries(st.sampled_from(sorted(LABELS)), st.sampled_from([0.0, 0.25, 1.0])),
    reports=st.lists(st.builds(Report, kind=texts, reason=texts), max_size=2).map(tuple),
    pinned=st.booleans(),
    excluded=st.booleans(),
    branch=texts,
    edited=st.booleans(),
    extra=st.dictionaries(texts, st.none() | st.integers() | texts, max_size=2),
)
details = st.builds(
    ChatDetails,
    tags=st.lists(texts, max_size=3).map(tuple),
    archived=st.booleans(),
    allow_data_use=st.booleans(),
    reviewed=st.booleans(),
    preferences=st.lists(
        st.builds(
            Preference,
            chosen=texts,
            rejected=st.lists(texts, max_size=2).map(tuple),
            source=texts,
        ),
        max_size=2,
    ).map(tuple),
    extra=st.dictionaries(texts, st.booleans(), max_size=2),
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
FIELDS = [f for kind in (Marks, ChatDetails) for f in kind.__slots__]


@given(marks)
def test_marks_come_back(value: Marks) -> None:
    assert Marks.from_values(json.loads(json.dumps(value.to_values()))) == value


def test_flawed_versions_of_an_earlier_release_are_flawed() -> None:
    before = {"extra": {"all_flawed": True, "oasst": {"lang": "de"}}}
    assert Marks.from_values(before) == Marks(all_flawed=True, extra={"oasst": {"lang": "de"}})


@given(details)
def test_details_come_back(value: ChatDetails) -> None:
    assert ChatDetails.from_values(json.loads(json.dumps(value.to_values()))) == value


@given(st.dictionaries(st.sampled_from(FIELDS), junk))
def test_what_cannot_be_meant_is_left_out(values: dict[str, Any]) -> None:
    for kind in (Marks, ChatDetails):
        read = kind.from_values(values)
        assert kind.from_values(read.to_values()) == read


def talk() -> Conversation:
    conversation = Conversation()
    for number in range(3):
        conversation.append("user", f"Question {number}")
        conversation.append("assistant", f"Answer {number}")
    return conversation


def test_marks_are_undone_and_done_again() -> None:
    conversation = talk()
    first, second = conversation.path()[1], conversation.path()[3]
    conversation.mark("Rate", {first.id: Marks(rating=1), second.id: Marks(rank=0)})
    conversation.mark("Rate", {first.id: Marks(rating=1)})
    assert conversation.undo() == "Rate"
    assert conversation[first.id].marks == conversation[second.id].marks == NO_MARKS
    assert conversation.undo_label == ""
    assert conversation.redo_label == "Rate"
    conversation.redo()
    assert conversation[first.id].marks.rating == 1
    assert conversation[second.id].marks.rank == 0


def test_steps_that_fit_no_more_are_left_out_with_those_before() -> None:
    conversation = talk()
    path = conversation.path()
    conversation.delete(path[4].id)
    conversation.mark("Pin", {path[0].id: Marks(pinned=True)})
    values = json.loads(json.dumps(conversation.history_values()))
    conversation.restore_history(values)
    assert conversation.undo_label == "Pin"
    values["undo"].insert(
        1, {"label": "Delete", "leaf": ["lost", None], "deleted": [], "marks": {}}
    )
    conversation.restore_history(values)
    assert conversation.undo() == "Pin"
    assert conversation.undo() == ""
    conversation.restore_history({"undo": [{"label": 1}, 7, None], "redo": "x"})
    assert conversation.undo_label == conversation.redo_label == ""
