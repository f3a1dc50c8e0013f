"""Files from outside: recognised by content, read in bounded memory, refused by line."""

from __future__ import annotations

import gc
import gzip
import json
import random
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.chats import short_chat
from tests.storage.formats.marked import Reading, reading
from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError, UsageError
from tui_chat.storage.formats import lines
from tui_chat.storage.formats.incoming import read_chats
from tui_chat.storage.formats.ours.json_format import from_json, to_json
from tui_chat.storage.formats.table import FORMATS


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


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("NaN", "NaN"), ("-Infinity", "Infinity"), ("1e999", "too large"), ("9" * 5000, "digits"),
        (nested(101), "nested"), (nested(1500), "nested"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested"),
    ],
    ids=lambda value: value[:8],
)  # fmt: skip
@pytest.mark.parametrize("flat", [False, True], ids=["trees", "messages"])
def test_what_could_not_be_written_again_is_refused_by_its_line(
    tmp_path: Path, value: str, says: str, flat: bool
) -> None:
    odd = json.dumps(node("odd", mark=0)) if flat else tree("odd").replace("}}", ', "mark": 0}}')
    good = json.dumps(node("good")) if flat else tree("good")
    found = reading("\n".join([odd.replace('"mark": 0', f'"mark": {value}'), good]), tmp_path)
    assert [chat.id for chat in found.chats] == ["good"]
    ((line, reason),) = found.refused
    assert line == 1 and says in reason


def test_deep_trees_are_read_in_lines_and_in_lists(tmp_path: Path) -> None:
    heads = [json.dumps(node(f"{n}", f"{n - 1}" if n else None))[:-1] for n in range(10_000)]
    prompt = ', "replies": ['.join(heads) + "}" + "]}" * 9_999
    deep = f'{{"message_tree_id": "0", "prompt": {prompt}}}'
    for text in (f"{deep}\n{tree('a')}", f"[{deep},\n{tree('a')}]"):
        found = reading(text, tmp_path)
        assert found.refused == [] and [len(chat) for chat in found.chats] == [10_000, 1]


def test_a_file_that_begins_with_broken_lines_is_still_read_in_lines(tmp_path: Path) -> None:
    broken = ['{"message_id": NaN}', "{not json", "7", '{"message_id": "a" "text": 1}', "null"]
    found = reading("\n".join([*broken * 5, tree("a")]), tmp_path)
    assert [chat.id for chat in found.chats] == ["a"] and found.lines == list(range(1, 26))


def test_a_file_that_breaks_off_says_in_which_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    rows = [tree(f"{n}", node(f"{n} {random.random()}", f"{n}")) for n in range(3000)]
    path.write_bytes(gzip.compress("\n".join(rows).encode())[:-2000])
    chats: list[Conversation] = []
    with pytest.raises(StoreError, match=r"damaged in line \d+") as raised:
        chats += (chat for _, chat in read_chats(path, None, lambda line, reason: None))
    assert str(len(chats) + 1) in raised.value.detail


_fragments = st.sampled_from(
    [b"\xff", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\ud800", b"\\", b"\n", b"\0", b"NaN",
     b"1e999", b"null", b'"parent_id": "r0"', b'"message_id": "r1"', b'"replies": 5', b"\x1b[31m"]
)  # fmt: skip
_damage = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 60), _fragments | st.binary(max_size=4)),
    min_size=1, max_size=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def dump() -> dict[bool, list[bytes]]:
    """Six trees as lines, and the same as flat messages."""
    trees = [
        tree(f"r{n}", node(f"a{n}", f"r{n}", rank=0, labels={"spam": {"value": 0, "count": 3}}),
             node(f"b{n}", f"r{n}", rank=1, replies=[node(f"c{n}", f"b{n}", odd={"x": [1]})]))
        for n in range(6)
    ]  # fmt: skip
    flat = [
        json.dumps(node(f"{name}{n}", parent and f"{parent}{n}", message_tree_id=f"r{n}"))
        for n in range(6)
        for name, parent in (("r", None), ("a", "r"), ("b", "r"), ("c", "b"))
    ]
    return {False: [t.encode() for t in trees], True: [t.encode() for t in flat]}


@settings(max_examples=300, deadline=None)
@given(damage=_damage, flat=st.booleans())
def test_a_mutated_dump_is_imported_but_for_its_broken_lines(
    tmp_path_factory: pytest.TempPathFactory,
    dump: dict[bool, list[bytes]],
    damage: list[tuple[float, int, bytes]],
    flat: bool,
) -> None:
    whole = b"\n".join(dump[flat])
    data = whole
    for where, length, piece in damage:
        at = int(where * len(data))
        data = data[:at] + piece + data[at + length :]
    path = tmp_path_factory.getbasetemp() / "mutated.jsonl"
    path.write_bytes(data)
    try:
        found = Reading(path, "oasst")
    except StoreError as error:  # it is no file of lines any more
        assert error.one_line.isprintable()
        return
    last = data.count(b"\n") + 1
    assert all(1 <= line <= last and reason for line, reason in found.refused)
    ids = [message.id for chat in found.chats for message in chat.messages()]
    assert len(ids) == len(set(ids))
    is_list = any(row.strip().startswith(b"[") for row in data.split(b"\n"))
    if not flat and not is_list:
        untouched = [row for row in data.split(b"\n") if row in dump[False]]
        doubled = len(untouched) - len(set(untouched))
        named = {f"r{dump[False].index(row)}" for row in untouched}
        refused = " ".join(reason for _, reason in found.refused)
        here = {chat.id for chat in found.chats}
        assert doubled or "earlier tree" in refused or named <= here
    for chat in found.chats:
        chat_text = FORMATS["oasst"].export(chat)
        json.loads(chat_text.splitlines()[0] if chat_text else "{}")
        assert to_json(from_json(to_json(chat))) == to_json(chat)


def test_flat_messages_are_read_and_then_imported_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "flat.jsonl"
    rows = [node("a"), node("b", "a"), node("lost", "nobody"), node("c")]
    path.write_text("\n".join(map(json.dumps, rows)))
    told: list[tuple[str, float]] = []
    chats = read_chats(
        path, None, lambda line, reason: None,
        lambda stage, done, total: told.append((stage, done / total)),
    )  # fmt: skip
    assert len(list(chats)) == 2
    assert [stage for stage, _ in told] == ["reading"] * 4 + ["importing"] * 3
    assert told[3:] == [
        ("reading", 1.0),
        ("importing", 0.25),
        ("importing", 0.75),
        ("importing", 1.0),
    ]
