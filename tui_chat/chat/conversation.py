"""The conversation: a tree of messages with one active leaf and an undo stack.

Messages are never overwritten by the user: an edit or a retry adds a sibling, and a removal can be
undone. The tree is independent of how messages are encoded, generated or stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from tui_chat.chat.marks import NO_MARKS, ChatDetails, Marks, Preference

Role = Literal["system", "user", "assistant"]
Status = Literal["complete", "waiting", "streaming", "stopped", "interrupted", "failed"]
"""`waiting`: sent, but the model is loading or busy. `stopped`: by the user. `interrupted`: the
program ended in the middle. `failed`: the engine reported an error.
"""

KEPT_STEPS = 200
"""Undo steps, and redo steps, that are saved with a chat for use after a restart."""
UNFINISHED: frozenset[Status] = frozenset({"waiting", "streaming"})


def new_id() -> str:
    """Return a fresh id of 32 hexadecimal digits."""
    return uuid.uuid4().hex


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the tree. Immutable; a change replaces it in the tree."""

    id: str
    parent_id: str | None
    role: Role
    text: str
    created: datetime
    status: Status = "complete"
    finish_reason: str = ""
    """How a reply ended: `eos`, `stop`, `length`, `cancelled`, or empty."""
    error: str = ""
    """One line, for a failed reply."""
    token_ids: tuple[int, ...] = ()
    """The exact tokens of a reply without the end token; valid only for `tokenizer`."""
    tokenizer: str = ""
    """Fingerprint of the tokenizer that `token_ids` belong to."""
    model: str = ""
    precision: str = ""
    seed: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `tui_chat.chat.events.Stats`, for display and export."""
    deleted: bool = False
    """Whether the user removed it; it stays in the tree so that it can be restored."""
    marks: Marks = NO_MARKS
    """The user's marks on it."""
    note_on: str | None = None
    """For a note, the last message that it replaces; None for messages of the tree."""

    @property
    def is_note(self) -> bool:
        """Whether it is a note; see `tui_chat.chat.notes`."""
        return self.note_on is not None

    @property
    def is_unfinished(self) -> bool:
        """Whether the engine has yet to write or finish it."""
        return self.status in UNFINISHED


@dataclass(frozen=True, slots=True)
class Change:
    """An undoable step: the leaf before and after it, and its changes to messages."""

    label: str
    leaf_before: str | None
    leaf_after: str | None
    deleted: tuple[str, ...] = ()
    """Messages that this step marked as deleted."""
    marks: Mapping[str, tuple[Marks, Marks]] = field(default_factory=dict)
    """Marks before and after the step, by message id."""
    preferences: tuple[tuple[Preference, ...], tuple[Preference, ...]] = ((), ())
    """The preferences that the step removed, and those that it added."""

    def names(self, message_id: str) -> bool:
        """Return whether the step refers to a message."""
        return (
            message_id in (self.leaf_before, self.leaf_after)
            or message_id in self.deleted
            or message_id in self.marks
        )

    def to_values(self) -> dict[str, Any]:
        """Return the step as JSON values."""
        values: dict[str, Any] = {
            "label": self.label,
            "leaf": [self.leaf_before, self.leaf_after],
            "deleted": list(self.deleted),
            "marks": {i: [m.to_values() for m in both] for i, both in self.marks.items()},
        }
        if any(self.preferences):
            values["preferences"] = [[p.to_values() for p in side] for side in self.preferences]
        return values

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Change:
        """Return the step that `to_values` wrote.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: If the values have another form.
        """
        before, after = values["leaf"]
        marks = {
            i: (Marks.from_values(old), Marks.from_values(new))
            for i, (old, new) in values["marks"].items()
        }
        taken, added = (
            tuple(Preference.from_values(p) for p in side)
            for side in values.get("preferences", ((), ()))
        )
        deleted = tuple(values["deleted"])
        return cls(str(values["label"]), before, after, deleted, marks, (taken, added))


class Conversation:
    """A tree of messages. Not thread-safe; `ChatSession` guards it with its lock."""

    def __init__(
        self, chat_id: str | None = None, title: str = "", system: str = "", model: str = ""
    ) -> None:
        self.id = chat_id or new_id()
        self.title = title
        self.system = system
        """The system message; empty for none."""
        self.model = model
        self.details = ChatDetails()
        """The user's marks on the chat as a whole."""
        self.working: dict[str, Any] = {}
        """Working state: `draft`, `preset` and `values` of the parameters, and reading `place`."""
        self.created = now()
        self.updated = self.created
        self.version = 0
        """Number of changes so far, which tells caches of derived data when they are stale."""
        self._messages: dict[str, Message] = {}
        self._children: dict[str | None, list[str]] = {None: []}
        self._leaf: str | None = None
        self._undo: list[Change] = []
        self._redo: list[Change] = []

    # Reading

    @property
    def leaf_id(self) -> str | None:
        """The id of the last message of the active path; None while the tree is empty."""
        return self._leaf

    def __len__(self) -> int:
        return len(self._messages)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._messages

    def __getitem__(self, message_id: str) -> Message:
        return self._messages[message_id]

    def messages(self) -> Iterator[Message]:
        """Yield every message, parents before children, in the order in which they were added."""
        yield from tuple(self._messages.values())  # a copy, as another thread may add a message

    def path(self, leaf_id: str | None = None) -> list[Message]:
        """Return the messages from the root to a leaf, by default the active one, oldest first."""
        result: list[Message] = []
        cursor = self._leaf if leaf_id is None else leaf_id
        while cursor is not None:
            message = self._messages[cursor]
            result.append(message)
            cursor = message.parent_id
        result.reverse()
        return result

    def siblings(self, message_id: str) -> list[Message]:
        """Return the versions of a message that are not deleted, itself included, oldest first."""
        ids = self._children[self._messages[message_id].parent_id]
        return [self._messages[i] for i in ids if not self._messages[i].deleted]

    def children(self, message_id: str | None) -> list[Message]:
        """Return the undeleted children of a message (the roots for None), oldest first."""
        ids = self._children.get(message_id, [])
        return [self._messages[i] for i in ids if not self._messages[i].deleted]

    # Building

    def add(self, message: Message, activate: bool = True) -> Message:
        """Add a message to the tree as a child of its parent.

        Args:
            message: The message; its `parent_id` names the parent, None for a root.
            activate: Whether to make it the active leaf.

        Raises:
            ValueError: If the id is taken or the parent is not in the tree.
        """
        if message.id in self._messages:
            raise ValueError(f"message {message.id} is already in the conversation")
        if message.parent_id is not None and message.parent_id not in self._messages:
            raise ValueError(f"parent {message.parent_id} is not in the conversation")
        self._messages[message.id] = message
        self._children.setdefault(message.parent_id, []).append(message.id)
        self._children.setdefault(message.id, [])
        if activate:
            self._leaf = message.id
        self._touch()
        return message

    def append(self, role: Role, text: str, **values: Any) -> Message:
        """Add a message below the active leaf and make it the leaf."""
        return self.add_child(self._leaf, role, text, **values)

    def add_child(self, parent_id: str | None, role: Role, text: str, **values: Any) -> Message:
        """Add a message below any message and make it the leaf."""
        return self.add(Message(new_id(), parent_id, role, text, now(), **values))

    def update(self, message_id: str, **values: Any) -> Message:
        """Replace fields of a message, such as its text, status or statistics."""
        message = replace(self._messages[message_id], **values)
        self._messages[message_id] = message
        self._touch()
        return message

    def discard(self, message_id: str) -> None:
        """Remove a message without children for good, with the undo steps that refer to it.

        Raises:
            ValueError: If it has children.
        """
        if self._children[message_id]:
            raise ValueError("only a message without children can be discarded")
        message = self._messages.pop(message_id)
        self._touch()
        del self._children[message_id]
        self._children[message.parent_id].remove(message_id)
        if self._leaf == message_id:
            self._leaf = message.parent_id
        self._undo = [c for c in self._undo if not c.names(message_id)]
        self._redo = [c for c in self._redo if not c.names(message_id)]

    def set_leaf(self, message_id: str | None) -> None:
        """Make a message the active leaf, without an undo step.

        Raises:
            KeyError: If the message is not in the tree.
        """
        if message_id is not None and message_id not in self._messages:
            raise KeyError(message_id)
        self._leaf = message_id
        self._touch()

    # Undoable operations

    def flip(self, message_id: str, step: int) -> Message | None:
        """Show the next (+1) or previous (-1) version of a message; return None at either end."""
        versions = self.siblings(message_id)
        index = [m.id for m in versions].index(message_id) + step
        if not 0 <= index < len(versions):
            return None
        self._record("Version", self._newest_leaf(versions[index].id))
        return versions[index]

    def go_to(self, message_id: str) -> bool:
        """Make the active path run through a message, down to the newest leaf below it.

        Returns:
            Whether anything changed.

        Raises:
            ValueError: If the message is deleted.
        """
        if self._messages[message_id].deleted:
            raise ValueError("the message is deleted")
        if any(message.id == message_id for message in self.path()):
            return False
        leaf = self._newest_leaf(message_id)
        self._record("Go to", leaf)
        return True

    def fork(self, message_id: str, title: str) -> Conversation:
        """Return a new chat with copies of the messages up to one of them, under new ids."""
        copy = Conversation(title=title, system=self.system, model=self.model)
        copy.details = replace(self.details, preferences=())
        parent: str | None = None
        for message in self.path(message_id):
            parent = copy.add(replace(message, id=new_id(), parent_id=parent)).id
        return copy

    def branch(self, label: str, leaf_id: str | None) -> None:
        """Move the active leaf as one undoable step, as an edit or a retry does."""
        self._record(label, leaf_id)

    def delete(self, message_id: str) -> list[Message]:
        """Mark a message and everything below it as deleted, and return the newly marked messages.

        If the active path runs through the message, its newest other version becomes active, or
        else its parent.
        """
        marked = [m for m in self._subtree(message_id) if not m.deleted]
        versions = [m for m in self.siblings(message_id) if m.id != message_id]
        parent = self._messages[message_id].parent_id
        for message in marked:
            self.update(message.id, deleted=True)
        target = self._leaf
        if target in {m.id for m in marked}:
            target = self._newest_leaf(versions[-1].id) if versions else parent
        self._record("Delete", target, tuple(m.id for m in marked))
        return marked

    def mark(self, label: str, marks: Mapping[str, Marks]) -> None:
        """Replace the marks of messages as one undoable step."""
        changed = {i: (self._messages[i].marks, m) for i, m in marks.items()}
        changed = {i: both for i, both in changed.items() if both[0] != both[1]}
        if not changed:
            return
        for message_id, (_, after) in changed.items():
            self.update(message_id, marks=after)
        self._record(label, self._leaf, marks=changed)

    def choose(self, label: str, chosen: str, rejected: Sequence[str]) -> None:
        """Show a version of a reply and record that it was preferred, as one undoable step.

        It replaces an earlier preference among the same versions.

        Args:
            label: The name of the step, shown by undo.
            chosen: The id of the preferred version.
            rejected: The ids of the other versions; empty for no preference.
        """
        preference = Preference(chosen, tuple(rejected))
        taken = tuple(p for p in self.details.preferences if p.ids == preference.ids)
        added = (preference,) if rejected else ()
        self._replace_preferences(taken, added)
        self._record(label, self._newest_leaf(chosen), preferences=(taken, added))

    def _replace_preferences(
        self, taken: Sequence[Preference], added: Sequence[Preference]
    ) -> None:
        kept = [p for p in self.details.preferences if p not in taken]
        self.details = replace(self.details, preferences=(*kept, *added))

    @property
    def redo_label(self) -> str:
        """The label of the step that `redo` would repeat; empty if there is none."""
        return self._redo[-1].label if self._redo else ""

    def history_values(self) -> dict[str, Any]:
        """Return the newest undo and redo steps as JSON values; empty if there are none."""
        if not self._undo and not self._redo:
            return {}
        return {
            "undo": [change.to_values() for change in self._undo[-KEPT_STEPS:]],
            "redo": [change.to_values() for change in self._redo[-KEPT_STEPS:]],
        }

    def restore_history(self, values: Mapping[str, Any]) -> None:
        """Restore the steps that `history_values` returned.

        A step that does not fit this tree is dropped together with all steps before it.
        """
        self._undo = self._fitting(values.get("undo", ()))
        self._redo = self._fitting(values.get("redo", ()))

    def _fitting(self, steps: Iterable[Mapping[str, Any]]) -> list[Change]:
        fitting: list[Change] = []
        for values in steps:
            try:
                change = Change.from_values(values)
            except (ValueError, KeyError, TypeError, AttributeError):
                fitting.clear()  # undo would stop at the gap, so earlier steps are useless
                continue
            leaves = {change.leaf_before, change.leaf_after} - {None}
            if leaves.union(change.deleted, change.marks) <= self._messages.keys():
                fitting.append(change)
            else:
                fitting.clear()
        return fitting

    @property
    def undo_label(self) -> str:
        """The label of the step that `undo` would revert; empty if there is none."""
        return self._undo[-1].label if self._undo else ""

    def undo(self) -> str:
        """Revert the last undoable step and return its label; empty if there is none."""
        if not self._undo:
            return ""
        change = self._undo.pop()
        for message_id in change.deleted:
            self.update(message_id, deleted=False)
        for message_id, (before, _) in change.marks.items():
            self.update(message_id, marks=before)
        taken, added = change.preferences
        self._replace_preferences(added, taken)
        self._leaf = change.leaf_before
        self._redo.append(change)
        self._touch()
        return change.label

    def redo(self) -> str:
        """Repeat the step undone last and return its label; empty if there is none."""
        if not self._redo:
            return ""
        change = self._redo.pop()
        for message_id in change.deleted:
            self.update(message_id, deleted=True)
        for message_id, (_, after) in change.marks.items():
            self.update(message_id, marks=after)
        self._replace_preferences(*change.preferences)
        self._leaf = change.leaf_after
        self._undo.append(change)
        self._touch()
        return change.label

    def _record(
        self,
        label: str,
        leaf_after: str | None,
        deleted: tuple[str, ...] = (),
        marks: Mapping[str, tuple[Marks, Marks]] | None = None,
        preferences: tuple[tuple[Preference, ...], tuple[Preference, ...]] = ((), ()),
    ) -> None:
        change = Change(label, self._leaf, leaf_after, deleted, marks or {}, preferences)
        self._undo.append(change)
        self._redo.clear()
        self._leaf = leaf_after
        self._touch()

    def _touch(self) -> None:
        self.updated = now()
        self.version += 1

    def _subtree(self, message_id: str) -> Iterator[Message]:
        stack = [message_id]
        while stack:
            current = stack.pop()
            yield self._messages[current]
            stack.extend(reversed(self._children[current]))

    def _newest_leaf(self, message_id: str) -> str:
        """Return the leaf reached by following the newest visible child at each message."""
        cursor = message_id
        while visible := self.children(cursor):
            cursor = visible[-1].id
        return cursor


def title_from(text: str, limit: int = 60) -> str:
    """Return a title made from a message: its first line, cut at a word to `limit` characters."""
    line = next((" ".join(ln.split()) for ln in text.splitlines() if ln.strip()), "")
    if len(line) <= limit:
        return line
    cut, at_word_end = line[: limit - 1], line[limit - 1] == " "
    head, space, _ = cut.rpartition(" ")
    return (head if space and not at_word_end and len(head) > limit // 2 else cut) + "…"
