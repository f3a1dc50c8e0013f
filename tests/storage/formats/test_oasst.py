"""Open Assistant's format: every field, out and back to the identical tree."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.storage.chats import short_chat
from tests.storage.formats.marked import marked_chats, reading
from tests.storage.formats.oasst_schema import problems_of_message, problems_of_tree
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.marks import ChatDetails, Marks, Report
from tui_chat.errors import StoreError
from tui_chat.storage.formats.oasst.writing import to_messages, to_trees
from tui_chat.storage.formats.table import FORMATS
from tui_chat.storage.formats.training import ExportOptions


def rows(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oasst")


@settings(max_examples=200, deadline=None)
@given(marked_chats())
def test_a_tree_is_valid_and_comes_back_identical(folder: Path, chat: Conversation) -> None:
    text = to_trees(chat)
    assert [p for tree in rows(text) for p in problems_of_tree(tree)] == []
    back = reading(text, folder)
    assert back.refused == []
    assert "".join(to_trees(c) for c in back.chats) == text


@settings(max_examples=200, deadline=None)
@given(marked_chats())
def test_flat_messages_are_valid_and_come_back_identical(folder: Path, chat: Conversation) -> None:
    text = to_messages(chat)
    assert [p for row in rows(text) for p in problems_of_message(row)] == []
    back = reading(text, folder, "file.jsonl.gz")
    assert back.refused == []
    assert "".join(to_messages(c) for c in back.chats) == text


@settings(max_examples=100, deadline=None)
@given(marked_chats())
def test_hashed_and_training_exports_are_valid(chat: Conversation) -> None:
    options = ExportOptions("seed", as_training=True, lang="en")
    for tree in rows(to_trees(chat, options)):
        assert problems_of_tree(tree) == []
        assert tree["tree_state"] == "ready_for_export" and tree["prompt"]["review_result"] is True
        assert '"synthetic": true' not in json.dumps(tree)
        assert not any(message.id in json.dumps(tree) for message in chat.messages())


def judged_chat() -> Conversation:
    """One prompt with three replies, about which much is said."""
    chat = Conversation("chat")
    prompt = chat.append("user", "Which river?")
    for n, rank in enumerate((2, 0, 1)):
        reply = chat.add_child(prompt.id, "assistant", f"Reply {n}", model="guide")
        marks = Marks(rank=rank, rating=(1, -1, 0)[n], edited=n == 2, labels={"quality": n / 2})
        chat.update(reply.id, marks=marks)
    chat.update(reply.id, marks=replace(marks, reports=(Report("spam", "an ad"),)))
    chat.add_child(prompt.id, "assistant", "half", status="streaming")
    chat.add_child(prompt.id, "assistant", "cut", status="interrupted")
    return chat


def test_what_is_said_about_messages_is_written_by_the_rules() -> None:
    chat = judged_chat()
    (tree,) = rows(to_trees(chat))
    prompt = tree["prompt"]
    assert tree["message_tree_id"] == prompt["message_id"] == next(chat.messages()).id
    assert [r["text"] for r in prompt["replies"]] == ["Reply 1", "Reply 2", "Reply 0"]
    assert [r["rank"] for r in prompt["replies"]] == [0, 1, 2]
    assert [r["synthetic"] for r in prompt["replies"]] == [True, False, True]
    assert {r["model_name"] for r in prompt["replies"]} == {"guide"}
    best, spam, good = prompt["replies"]
    assert best["labels"] == {"quality": {"value": 0.5, "count": 1}}
    assert good["events"] == {"score": [{"type": "score", "user_id": None, "score": 1}]}
    assert spam["events"]["report"][0]["reason"] == "an ad"
    (ranking,) = prompt["events"]["ranking"]
    assert ranking["ranked_message_ids"] == [r["message_id"] for r in prompt["replies"]]


def test_marks_come_back_as_marks(tmp_path: Path) -> None:
    chat = judged_chat()
    (back,) = reading(to_trees(chat), tmp_path).chats
    for message in back.messages():
        before, after = chat[message.id].marks, message.marks
        assert (after.rank, after.rating, after.labels) == (
            before.rank, before.rating, before.labels,
        )  # fmt: skip
        assert (after.reports, after.edited) == (before.reports, before.edited)
    assert back.path()[-1].text == "Reply 1"


def test_a_changed_mark_takes_the_place_of_what_was_imported(tmp_path: Path) -> None:
    (back,) = reading(to_trees(judged_chat()), tmp_path).chats
    reply = back.path()[-1]
    back.update(reply.id, marks=replace(reply.marks, rating=1, labels={"quality": 1.0}, rank=9))
    (tree,) = rows(to_trees(back))
    worst = tree["prompt"]["replies"][-1]
    assert worst["rank"] == 9 and worst["events"]["score"][0]["score"] == 1
    assert worst["labels"] == {"quality": {"value": 1.0, "count": 1}}
    assert len(tree["prompt"]["events"]["ranking"]) == 2


def flawed_chat() -> Conversation:
    """One prompt with three replies that were called all flawed."""
    chat = Conversation("chat")
    prompt = chat.append("user", "Which river?")
    for n in range(3):
        reply = chat.add_child(prompt.id, "assistant", f"Reply {n}", model="guide")
        chat.update(reply.id, marks=Marks(all_flawed=True))
    return chat


def rankings(text: str) -> list[tuple[list[str], bool]]:
    """The ids that each ranking of the root's replies names, and whether they are not rankable."""
    (tree,) = rows(text)
    assert problems_of_tree(tree) == []
    events = tree["prompt"]["events"].get("ranking", [])
    assert all(event["ranking_parent_id"] == tree["message_tree_id"] for event in events)
    return [(event["ranked_message_ids"], event["not_rankable"]) for event in events]


@pytest.mark.parametrize("export", [to_trees, to_messages])
def test_all_flawed_is_a_ranking_that_is_not_rankable(tmp_path: Path, export: Any) -> None:
    chat = flawed_chat()
    ids = [message.id for message in chat.messages() if message.role == "assistant"]
    assert rankings(to_trees(chat)) == [(ids, True)]
    assert FORMATS["preferences"].export(chat) == ""
    (back,) = reading(export(chat), tmp_path).chats
    assert [m.marks.all_flawed for m in back.messages()] == [False, True, True, True]
    assert export(back) == export(chat)
    hashed = to_trees(chat, ExportOptions("seed"))
    assert rankings(hashed)[0][1] and not any(i in hashed for i in ids)


def test_the_newest_ranking_counts(tmp_path: Path) -> None:
    (back,) = reading(to_trees(flawed_chat()), tmp_path).chats
    root, *replies = (message.id for message in back.messages())
    for rank, reply in enumerate(reversed(replies)):
        back.update(reply, marks=replace(back[reply].marks, rank=rank, all_flawed=False))
    ranked = [*reversed(replies)]
    assert rankings(to_trees(back)) == [(replies, True), (ranked, False)]
    (again,) = reading(to_trees(back), tmp_path).chats
    assert not any(message.marks.all_flawed for message in again.messages())
    for reply in replies:
        again.update(reply, marks=replace(again[reply].marks, rank=None, all_flawed=True))
    assert rankings(to_trees(again)) == [
        (replies, True), (ranked, False), (ranked, True),
    ]  # fmt: skip
    (taken_back,) = reading(to_trees(again), tmp_path).chats
    for reply in replies:
        taken_back.update(reply, marks=replace(taken_back[reply].marks, all_flawed=False))
    assert rankings(to_trees(taken_back)) == [(replies, True), (ranked, False)]
    assert again[root].marks.extra, "what was given stays"


def test_a_new_version_beside_flawed_ones_is_not_flawed(tmp_path: Path) -> None:
    (back,) = reading(to_trees(flawed_chat()), tmp_path).chats
    root, *replies = (message.id for message in back.messages())
    new = back.add_child(root, "assistant", "Reply 3", model="guide")
    assert rankings(to_trees(back)) == [(replies, True)]
    (again,) = reading(to_trees(back), tmp_path).chats
    assert not again[new.id].marks.all_flawed and again[replies[0]].marks.all_flawed


FOREIGN: dict[str, Any] = {
    "message_tree_id": "t1", "tree_state": "ready_for_export", "colour": [1, 2.0],
    "prompt": {
        "message_id": "t1", "text": "Hi", "role": "prompter", "lang": "de", "review_count": 3,
        "user_id": "u", "created_date": "2023-02-05T14:39:49Z", "synthetic": None, "weather": "wet",
        "emojis": {"+1": 2}, "labels": {"spam": {"value": 0, "count": 3}, "odd": 5},
        "detoxify": {"toxicity": 0.1}, "events": {"sneeze": [1], "emoji": [{"emoji": "+1"}]},
        "replies": [
            {"message_id": "a", "text": "1", "role": "assistant", "lang": "de", "rank": 1,
             "synthetic": False, "parent_id": "t1", "events": {"score": [
                 {"type": "score", "user_id": "u", "score": 0}]}},
            {"message_id": "b", "text": "2", "role": "assistant", "lang": "de", "rank": 0},
        ],
    },
}  # fmt: skip


def test_unknown_fields_are_kept_and_given_back(tmp_path: Path) -> None:
    (back,) = reading(json.dumps(FOREIGN), tmp_path).chats
    (tree,) = rows(to_trees(back))
    assert problems_of_tree(tree) != [], "odd things stay odd"
    assert tree["colour"] == [1, 2.0] and tree["tree_state"] == "ready_for_export"
    for name, value in FOREIGN["prompt"].items():
        if name != "replies":
            assert tree["prompt"][name] == value, name
    assert [r["message_id"] for r in tree["prompt"]["replies"]] == ["b", "a"]
    again = reading(to_trees(back), tmp_path)
    assert to_trees(again.chats[0]) == to_trees(back)
    hashed = to_trees(back, ExportOptions("s"))
    assert "weather" not in hashed and "colour" not in hashed and "sneeze" not in hashed


def test_ids_are_hashed_as_open_assistant_does() -> None:
    chat = short_chat(turns=1)
    root = next(chat.messages()).id
    (tree,) = rows(to_trees(chat, ExportOptions("pepper")))
    expected = hashlib.sha256(f"message:{root}pepper".encode()).hexdigest()
    assert tree["message_tree_id"] == tree["prompt"]["message_id"] == expected
    assert tree["prompt"]["replies"][0]["parent_id"] == expected


def test_who_opted_out_or_did_not_review_is_refused() -> None:
    chat = short_chat()
    with pytest.raises(StoreError, match="reviewed"):
        to_trees(chat, ExportOptions(as_training=True))
    chat.details = ChatDetails(allow_data_use=False)
    for export in (to_trees, to_messages):
        with pytest.raises(StoreError, match="data use is off"):
            export(chat)


def test_a_very_deep_chat_comes_back(tmp_path: Path) -> None:
    chat = Conversation("deep")
    for n in range(3000):
        chat.append("assistant" if n % 2 else "user", f"{n}")
    text = to_trees(chat)
    back = reading(text, tmp_path)
    assert back.refused == [] and len(back.chats[0]) == 3000
    assert to_trees(back.chats[0]) == text


def test_rows_of_a_dataset_with_parallel_lists(tmp_path: Path) -> None:
    root = {
        "message_id": "r", "parent_id": None, "text": "Hi", "role": "prompter", "lang": "en",
        "message_tree_id": "r", "tree_state": "ready_for_export", "rank": None,
        "emojis": {"name": ["+1"], "count": [2]},
        "labels": {"name": ["spam", "humor"], "value": [0.0, 0.5], "count": [3, 2]},
    }  # fmt: skip
    reply = {**root, "message_id": "a", "parent_id": "r", "role": "assistant", "rank": 0}
    (chat,) = reading("\n".join(map(json.dumps, (root, reply))), tmp_path).chats
    assert chat["a"].marks.labels == {"spam": 0.0, "humor": 0.5}
    (tree,) = rows(to_trees(chat))
    assert tree["prompt"]["emojis"] == {"+1": 2}
    assert tree["prompt"]["labels"]["spam"] == {"value": 0.0, "count": 3}


def test_a_thread_is_a_chat(tmp_path: Path) -> None:
    nodes = [{"message_id": i, "text": i, "role": "prompter", "lang": "en"} for i in "abc"]
    back = reading(json.dumps({"thread_id": "c", "thread": nodes}), tmp_path)
    assert [m.text for m in back.chats[0].path()] == ["a", "b", "c"]
    nodes[1]["parent_id"] = "c"
    assert reading(json.dumps({"thread_id": "c", "thread": nodes}), tmp_path).lines == [1]
