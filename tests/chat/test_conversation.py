"""The tree: nothing is lost, siblings flip, every operation can be undone."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tui_chat.chat.conversation import Conversation, new_id, now, title_from
from tui_chat.chat.conversation import Message as ChatMessage


def texts(conversation: Conversation) -> list[str]:
    return [m.text for m in conversation.path()]


def chat(*lines: str) -> Conversation:
    conversation = Conversation()
    for index, line in enumerate(lines):
        conversation.append("assistant" if index % 2 else "user", line)
    return conversation


def test_the_path_runs_from_the_root_to_the_leaf():
    assert texts(chat("a", "b", "c")) == ["a", "b", "c"]


def test_a_retry_is_a_sibling_and_flipping_moves_everything_below():
    conversation = chat("q", "first")
    question = conversation.path()[0]
    old = conversation.path()[1]
    conversation.append("user", "below the first")
    retry = conversation.add(
        ChatMessage(new_id(), question.id, "assistant", "second", now()), activate=False
    )
    conversation.branch("Retry", retry.id)
    assert texts(conversation) == ["q", "second"]
    assert [m.text for m in conversation.siblings(retry.id)] == ["first", "second"]
    assert conversation.flip(retry.id, -1) is not None
    assert texts(conversation) == ["q", "first", "below the first"]
    assert conversation.flip(old.id, -1) is None
    assert conversation.undo() == "Version"
    assert conversation.undo() == "Retry"
    assert texts(conversation) == ["q", "first", "below the first"]
    assert conversation.redo() == "Retry"
    assert texts(conversation) == ["q", "second"]


def test_deleting_shows_another_version_or_the_parent_and_undo_brings_it_back():
    conversation = chat("a", "b", "c", "d")
    second = conversation.path()[1]
    marked = conversation.delete(second.id)
    assert [m.text for m in marked] == ["b", "c", "d"]
    assert texts(conversation) == ["a"]
    assert conversation.undo() == "Delete"
    assert texts(conversation) == ["a", "b", "c", "d"]


def test_deleting_a_branch_that_is_not_shown_leaves_the_one_that_is():
    conversation = chat("q", "first")
    first = conversation.path()[1]
    second = conversation.add_child(first.parent_id, "assistant", "second")
    third = conversation.add_child(first.parent_id, "assistant", "third")
    conversation.delete(second.id)
    assert texts(conversation) == ["q", "third"]
    conversation.delete(third.id)
    assert texts(conversation) == ["q", "first"]
    conversation.undo()
    conversation.undo()
    assert texts(conversation) == ["q", "third"]


def test_a_message_needs_a_parent_in_the_tree():
    conversation = chat("a")
    with pytest.raises(ValueError, match="parent"):
        conversation.add(ChatMessage(new_id(), "nowhere", "user", "x", now()))
    with pytest.raises(ValueError, match="already"):
        conversation.add(conversation.path()[0])


def test_every_change_counts():
    conversation = chat("a", "b")
    seen = conversation.version
    for change in (
        lambda: conversation.append("user", "c"),
        lambda: conversation.update(conversation.leaf_id, text="d"),
        lambda: conversation.delete(conversation.leaf_id),
        conversation.undo,
        conversation.redo,
    ):
        change()
        assert conversation.version > seen
        seen = conversation.version


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  one   two \nthree", "one two"),
        ("", ""),
        ("word " * 30, "word " * 11 + "word…"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_titles(text: str, title: str):
    assert title_from(text) == title


class TreeMachine(RuleBasedStateMachine):
    """Random operations against a plain model: the texts ever added, and a stack of paths."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = Conversation()
        self.added: set[str] = set()
        self.before: list[tuple[list[str], set[str]]] = []

    def snapshot(self) -> tuple[list[str], set[str]]:
        return texts(self.tree), {m.id for m in self.tree.messages() if m.deleted}

    @rule(text=st.text(max_size=5))
    def append(self, text: str) -> None:
        self.added.add(self.tree.append("user", text).id)

    @precondition(lambda self: len(self.tree) > 0)
    @rule(data=st.data())
    def sibling(self, data) -> None:
        target = data.draw(st.sampled_from([m.id for m in self.tree.path()] or [None]))
        if target is None:
            return
        self.before.append(self.snapshot())
        parent = self.tree[target].parent_id
        message = self.tree.add(
            ChatMessage(new_id(), parent, "user", "sibling", now()), activate=False
        )
        self.added.add(message.id)
        self.tree.branch("Edit", message.id)

    @precondition(lambda self: len(self.tree.path()) > 0)
    @rule(data=st.data())
    def delete(self, data) -> None:
        target = data.draw(st.sampled_from([m.id for m in self.tree.path()]))
        self.before.append(self.snapshot())
        self.tree.delete(target)

    @precondition(lambda self: len(self.tree.path()) > 0)
    @rule(data=st.data(), step=st.sampled_from([-1, 1]))
    def flip(self, data, step: int) -> None:
        target = data.draw(st.sampled_from([m.id for m in self.tree.path()]))
        before = self.snapshot()
        if self.tree.flip(target, step) is not None:
            self.before.append(before)

    @rule()
    def undo(self) -> None:
        if self.tree.undo():
            path, deleted = self.before.pop()
            assert self.snapshot()[1] == deleted
            assert texts(self.tree)[: len(path)] == path
        else:
            assert not self.before

    @invariant()
    def nothing_is_lost(self) -> None:
        assert {m.id for m in self.tree.messages()} == self.added

    @invariant()
    def the_path_is_alive(self) -> None:
        assert not any(m.deleted for m in self.tree.path())


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_steps_from_before_there_were_choices_are_read():
    chat = Conversation()
    first = chat.append("user", "Hello")
    second = chat.add_child(first.id, "assistant", "Hi")
    other = chat.add_child(first.id, "assistant", "Hello!")
    chat.choose("Choice", second.id, [other.id])
    chat.branch("Go to", other.id)
    values = chat.history_values()
    assert "preferences" not in values["undo"][1], "steps without a choice look as before"
    del values["undo"][0]["preferences"]
    chat.restore_history(values)
    assert [chat.undo(), chat.undo()] == ["Go to", "Choice"]
    assert chat.leaf_id == other.id and len(chat.details.preferences) == 1


@pytest.mark.parametrize("broken", [None, 3, [[]], [[1], []], [[], {"chosen": 1}]])
def test_steps_with_a_broken_choice_are_left_out(broken: object):
    chat = Conversation()
    first = chat.append("user", "Hello")
    second = chat.add_child(first.id, "assistant", "Hi")
    chat.choose("Choice", second.id, [first.id])
    values = chat.history_values()
    values["undo"][0]["preferences"] = broken
    chat.restore_history(values)
    assert chat.undo() == ""
