"""Files from outside: recognised by content, read in bounded memory, refused by line."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.chats import short_chat
from tests.storage.formats.marked import Reading, reading
from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError, UsageError
from tui_chat.storage.formats import lines
from tui_chat.storage.formats.incoming import read_chats
from tui_chat.storage.formats.json_format import to_json
from tui_chat.storage.formats.registry import FORMATS


def node(name: str, parent: str | None = None, **more: Any) -> dict[str, Any]:
    role = "prompter" if parent is None else "assistant"
    return {"message_id": name, "parent_id": parent, "text": name, "role": role, **more}


def tree(name: str, *replies: dict[str, Any]) -> str:
    return json.dumps({"message_tree_id": name, "prompt": node(name, replies=list(replies))})


def test_wrong_trees_are_refused_by_line_and_the_rest_is_imported(tmp_path: Path) -> None:
    text = "\n".join([
        tree("a", node("b", "a")),
        tree("c", node("d", "c"), node("d", "c")),  # 2: doubled
        "",
        "{not json",  # 4
        tree("e", node("f", "e", replies=[node("e", "f")])),  # 5: a circle
        tree("g", node("h", "elsewhere")),  # 6: a wrong parent
        tree("i", node("b", "i")),  # 7: an id of another tree
        json.dumps({"message_tree_id": "j", "prompt": {"text": "?"}}),  # 8
        tree("k", {**node("l", "k"), "role": "<|system|>"}),  # 9
        '{"what": 1}',  # 10
        '{"message_tree_id": "m", "prompt": {"rank": NaN}}',  # 11
        tree("z"),
    ])  # fmt: skip
    found = reading(text, tmp_path)
    assert [chat.id for chat in found.chats] == ["a", "z"]
    assert found.lines == [2, 4, 5, 6, 7, 8, 9, 10, 11]
    reasons = dict(found.refused)
    assert "twice" in reasons[2] and "below itself" in reasons[5] and "earlier" in reasons[7]
    assert "parent_id" in reasons[6] and "message_id" in reasons[8] and "role" in reasons[9]


def test_wrong_flat_messages_are_refused_by_line(tmp_path: Path) -> None:
    rows = [
        node("b", "a", message_tree_id="a"),  # its parent comes later
        node("a", message_tree_id="a"),
        node("a", message_tree_id="a"),  # 3: doubled
        node("x", "nobody", message_tree_id="a"),  # 4: an orphan
        node("y", "x", message_tree_id="a"),  # 5: below an orphan
        node("p", "q"), node("q", "p"),  # 6, 7: a circle
        node("r", "a", message_tree_id="other"),  # 8: in another tree
        node("c", "b", message_tree_id="a"),
    ]  # fmt: skip
    found = reading("\n".join(map(json.dumps, rows)), tmp_path)
    (chat,) = found.chats
    assert [m.text for m in chat.path()] == ["a", "b", "c"]
    assert found.lines == [3, 4, 5, 6, 7, 8]
    reasons = dict(found.refused)
    assert "missing" in reasons[4] and "below a message" in reasons[5]
    assert "below itself" in reasons[6] and "another tree" in reasons[8]


@pytest.mark.parametrize("flat", [False, True], ids=["trees", "messages"])
def test_a_long_file_is_read_one_chat_at_a_time(tmp_path: Path, flat: bool) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("w") as file:
        for n in range(2000):
            replies = [node(f"{n}-{i}", f"{n}") for i in range(9)]
            rows = [node(f"{n}"), *replies] if flat else []
            texts = [json.dumps({**row, "message_tree_id": f"{n}"}) for row in rows]
            file.write("\n".join(texts or [tree(f"{n}", *replies)]) + "\n")
    alive: weakref.WeakSet[Conversation] = weakref.WeakSet()
    messages = most = 0
    refused: list[int] = []
    for _, chat in read_chats(path, None, lambda line, reason: refused.append(line)):
        alive.add(chat)
        messages += len(chat)
        if messages % 1000 == 0:
            gc.collect()
            most = max(most, len(alive))
    assert (messages, refused) == (20_000, [])
    assert most <= 2, "chats are not held"


def test_a_line_that_is_too_long_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines.LineFile.lines, "__defaults__", (1000,))
    text = "\n".join([tree("a"), tree("b" * 2000), tree("c")])
    for name in ("a.jsonl", "a.jsonl.gz"):
        found = reading(text, tmp_path, name)
        assert [chat.id for chat in found.chats] == ["a", "c"]
        assert found.refused == [(2, "The line is longer than 1000 bytes")]


def test_damaged_files_and_unknown_content_are_errors(tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    reading(tree("a") * 1, tmp_path, "cut.jsonl.gz")
    cut.write_bytes(cut.read_bytes()[:-9])
    with pytest.raises(StoreError, match="damaged"):
        Reading(cut)
    with pytest.raises(StoreError, match="--format"):
        reading("just words\n", tmp_path)
    with pytest.raises(StoreError, match="No such file"):
        Reading(tmp_path / "nothing")
    with pytest.raises(UsageError, match="oasst, chatgpt"):
        reading("{}", tmp_path, form="pdf")
    assert reading('{"messages": []}', tmp_path, form="oasst").lines == [1]


@pytest.mark.parametrize("form", ["json", "md", "oasst", "oasst-messages", "openai", "chatml"])
def test_our_own_files_are_recognised(tmp_path: Path, form: str) -> None:
    chat = short_chat()
    (back,) = reading(FORMATS[form].export(chat), tmp_path, "file").chats
    assert [m.text for m in back.path()] == [m.text for m in chat.path()]
    if form == "json":
        assert to_json(back) == to_json(chat)


def test_lists_of_chats_tell_the_line(tmp_path: Path) -> None:
    text = f"[\n{to_json(short_chat()).strip()},\n{{}},\n{tree('a')}]\n"
    found = reading(text, tmp_path)
    assert len(found.chats) == 2 and found.chats[1].id == "a"
    assert found.lines == [2 + to_json(short_chat()).count("\n")]


def test_rows_in_a_list_on_one_line_are_all_read(tmp_path: Path) -> None:
    found = reading(json.dumps([node("a"), node("b", "a"), node("b", "a")]), tmp_path)
    assert [m.text for m in found.chats[0].messages()] == ["a", "b"]
    assert found.lines == [1]


def chatgpt() -> dict[str, Any]:
    def said(role: str, text: str, **more: Any) -> dict[str, Any]:
        content = {"content_type": "text", "parts": [text]}
        return {"author": {"role": role}, "content": content, "create_time": 1.5, **more}

    return {
        "title": "Rivers \x1b[31m", "create_time": 1.0, "update_time": 9.0, "id": "c1",
        "current_node": "u2",
        "mapping": {
            "root": {"id": "root", "message": None, "parent": None, "children": ["s"]},
            "s": {"message": said("system", "Be brief."), "parent": "root", "children": ["u"]},
            "u": {"message": said("user", "Hi"), "parent": "s", "children": ["a2", "a1"]},
            "a1": {"message": said("assistant", "Two", metadata={"model_slug": "g"}),
                   "parent": "u", "children": ["t"]},
            "a2": {"message": said("assistant", "One"), "parent": "u", "children": []},
            "t": {"message": said("tool", "42"), "parent": "a1", "children": ["u2"]},
            "u2": {"message": said("user", "More"), "parent": "t", "children": []},
            "lost": {"message": said("user", "?"), "parent": "gone", "children": []},
            "x": {"message": said("user", "?"), "parent": "y"},
            "y": {"message": said("user", "?"), "parent": "x"},
        },
    }  # fmt: skip


def test_chatgpt_trees_come_with_their_versions(tmp_path: Path) -> None:
    found = reading(json.dumps([chatgpt()]), tmp_path, "conversations.json")
    (chat,) = found.chats
    assert (chat.system, chat.leaf_id, chat.model) == ("Be brief.", "u2", "g")
    assert [m.text for m in chat.path()] == ["Hi", "Two", "More"]
    assert [m.text for m in chat.siblings("a1")] == ["One", "Two"]
    reasons = sorted(reason for _, reason in found.refused)
    assert len(reasons) == 3 and "lost" in reasons[0] and "missing" in reasons[0]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_refused_with_an_error_to_show(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    try:
        found = Reading(path)
    except StoreError:
        return
    assert all(isinstance(chat, Conversation) for chat in found.chats)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.one_of(
    st.lists(inner, max_size=4),
    st.dictionaries(st.sampled_from([
        "message_id", "parent_id", "thread_id", "thread", "message_tree_id", "prompt", "replies",
        "text", "role", "mapping", "message", "author", "content", "parts", "messages", "from",
        "conversations", "value", "labels", "events", "score", "name", "a",
    ]), inner, max_size=6),
), max_leaves=30))  # fmt: skip
def test_any_json_is_refused_by_line(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    found = reading(json.dumps({"a": value}) + "\n" + json.dumps(value),
                    tmp_path_factory.getbasetemp())  # fmt: skip
    assert 1 in found.lines
