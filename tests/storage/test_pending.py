"""The queue of unsaved changes: newer versions replace older ones, and the order stays right."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.chats import START, facts
from tui_chat.chat.conversation import Message
from tui_chat.storage.database.records import ChatHeader
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.saving.pending import (
    Change,
    Checkpoint,
    DeleteChat,
    DiscardMessage,
    MarkDeleted,
    PendingChanges,
    Rename,
    SaveHeader,
    SaveMessage,
    SetLeaf,
)


def message(number: int, text: str = "", deleted: bool = False) -> Message:
    return Message(f"m{number}", None, "assistant", text, START, deleted=deleted)


def header(chat: str, title: str, params: dict[str, int] | None = None) -> SaveHeader:
    return SaveHeader(ChatHeader(chat, title, "", "", START, START, None, params))


def test_a_reply_that_streams_waits_once_and_in_its_place() -> None:
    queue = PendingChanges()
    futures: list[Future[None]] = [Future() for _ in range(3)]
    queue.add(SaveMessage("a", message(1, "H")), futures[:1])
    queue.add(SaveMessage("a", message(2, "x")))
    queue.add(SaveMessage("a", message(1, "He")), futures[1:2])
    queue.add(SaveMessage("a", message(1, "Hel")), futures[2:])
    entries = queue.entries()
    assert [e.change for e in entries] == [
        SaveMessage("a", message(1, "Hel")),
        SaveMessage("a", message(2, "x")),
    ]
    assert entries[0].futures == futures
    assert len(queue) == 2


def test_a_header_keeps_the_parameters_that_only_the_earlier_one_has() -> None:
    queue = PendingChanges()
    queue.add(header("a", "One", {"top_k": 5}))
    queue.add(header("a", "Two"))
    [entry] = queue.entries()
    assert entry.change == header("a", "Two", {"top_k": 5})


def test_markers_are_no_changes() -> None:
    queue = PendingChanges()
    marker: Future[None] = Future()
    queue.add(Checkpoint(), (marker,))
    assert queue
    assert len(queue) == 0
    queue.remove(marker)
    assert not queue


chats = st.sampled_from(["a", "b"])
numbers = st.integers(0, 3)
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        lambda chat, n, text, deleted: SaveMessage(chat, message(n, text, deleted)),
        chats, numbers, st.text("xyz", max_size=3), st.booleans(),
    ),
    st.builds(
        header, chats, st.text("xyz", max_size=3),
        st.none() | st.dictionaries(st.just("top_k"), numbers),
    ),
    st.builds(
        lambda chat, ns, deleted: MarkDeleted(chat, tuple(f"m{n}" for n in ns), deleted),
        chats, st.lists(numbers), st.booleans(),
    ),
    st.builds(lambda chat, n: DiscardMessage(chat, f"m{n}"), chats, numbers),
    st.builds(lambda chat, n: SetLeaf(chat, f"m{n}"), chats, numbers),
    st.builds(Rename, chats, st.text("xyz", max_size=3)),
    st.builds(DeleteChat, chats, st.booleans()),
)  # fmt: skip


def contents(path: Path, steps: list[Change]) -> object:
    """What a database holds after changes that were applied one by one."""
    path.unlink(missing_ok=True)
    with TranscriptStore(path, lambda: START) as store:
        for step in steps:
            with store.change():
                step.apply(store)
        return [
            (summary, facts(store.load(summary.id))["messages"], store.params(summary.id))
            for summary in store.list_chats(include_deleted=True)
        ]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(changes, max_size=12), st.integers(0, 12))
def test_the_queue_saves_what_the_changes_one_by_one_would(
    tmp_path: Path, steps: list[Change], taken_after: int
) -> None:
    queue = PendingChanges()
    for step in steps[:taken_after]:
        queue.add(step)
    in_flight = queue.take()
    for step in steps[taken_after:]:
        queue.add(step)
    queue.put_back(in_flight)
    merged = [entry.change for entry in queue.entries()]
    assert len(merged) <= len(steps)
    path = tmp_path / "t.db"
    assert contents(path, merged) == contents(path, steps)
