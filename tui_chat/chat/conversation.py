"""The conversation: a tree of messages with one active leaf, and one undo stack over its changes.

Owns who said what, in which order, and which of several versions is shown. Nothing is ever
overwritten: an edit or a retry is a sibling, and a removal can be undone. Refuses to know how a
message is encoded, generated or stored.
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
program ended in the middle. `failed`: the engine reported an error."""

KEPT_STEPS = 200
"""Steps of a chat that are saved, to be undone after a restart."""
UNFINISHED: frozenset[Status] = frozenset({"waiting", "streaming"})


def new_id() -> str:
    """A fresh id: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the tree. Replaced, never changed in place."""

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
    """The exact tokens of a reply, without the end token; valid for `tokenizer` only."""
    tokenizer: str = ""
    """Fingerprint of the tokenizer that `token_ids` belong to."""
    model: str = ""
    precision: str = ""
    seed: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    """The numbers of `events.Stats`, for display and export."""
    deleted: bool = False
    """Removed by the user; kept so that it can be brought back."""
    marks: Marks = NO_MARKS
    """What the user says about it."""
    note_on: str | None = None
    """For a note, which is in no tree: the last message of those that it stands for."""

    @property
    def is_note(self) -> bool:
        """Whether it is a note; see `chat.notes`."""
        return self.note_on is not None

    @property
    def is_unfinished(self) -> bool:
        """Whether the engine still has to write to it."""
        return self.status in UNFINISHED


@dataclass(frozen=True, slots=True)
class Change:
    """One undoable step: the leaf before and after it, and what it did to messages."""

    label: str
    leaf_before: str | None
    leaf_after: str | None
    deleted: tuple[str, ...] = ()
    """Messages that this step marked as deleted."""
    marks: Mapping[str, tuple[Marks, Marks]] = field(default_factory=dict)
    """Marks of messages before and after it, by id."""
    preferences: tuple[tuple[Preference, ...], tuple[Preference, ...]] = ((), ())
    """Preferences that it took away, and those that it added."""

    def names(self, message_id: str) -> bool:
        """Whether the step has to do with a message."""
        return (
            message_id in (self.leaf_before, self.leaf_after)
            or message_id in self.deleted
            or message_id in self.marks
        )

    def to_values(self) -> dict[str, Any]:
        """The step as JSON values."""
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
        """What `to_values` wrote.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: If it is something else.
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
        """What the user says about the whole chat."""
        self.working: dict[str, Any] = {}
        """How it was being worked on: `draft`, `preset` and `values` of the parameters."""
        self.created = now()
        self.updated = self.created
        self.version = 0
        """Counts changes, so that what was derived from the tree can be kept until it changes."""
        self._messages: dict[str, Message] = {}
        self._children: dict[str | None, list[str]] = {None: []}
        self._leaf: str | None = None
        self._undo: list[Change] = []
        self._redo: list[Change] = []

    # Reading

    @property
    def leaf_id(self) -> str | None:
        """The last message of the active path; None while empty."""
        return self._leaf

    def __len__(self) -> int:
        return len(self._messages)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._messages

    def __getitem__(self, message_id: str) -> Message:
        return self._messages[message_id]

    def messages(self) -> Iterator[Message]:
        """Every message there is now, parents before children, in the order they were added."""
        yield from tuple(self._messages.values())  # another thread may add one meanwhile

    def path(self, leaf_id: str | None = None) -> list[Message]:
        """The messages from the root to a leaf (the active one by default), oldest first."""
        result: list[Message] = []
        cursor = self._leaf if leaf_id is None else leaf_id
        while cursor is not None:
            message = self._messages[cursor]
            result.append(message)
            cursor = message.parent_id
        result.reverse()
        return result

    def siblings(self, message_id: str) -> list[Message]:
        """The versions of a message that are not deleted, oldest first, itself included."""
        ids = self._children[self._messages[message_id].parent_id]
        return [self._messages[i] for i in ids if not self._messages[i].deleted]

    def children(self, message_id: str | None) -> list[Message]:
        """The replies to a message (the roots for None) that are not deleted, oldest first."""
        ids = self._children.get(message_id, [])
        return [self._messages[i] for i in ids if not self._messages[i].deleted]

    # Building

    def add(self, message: Message, activate: bool = True) -> Message:
        """Put a message into the tree, as a child of its parent.

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
        """Replace fields of a message: its text while it streams, its status, its figures."""
        message = replace(self._messages[message_id], **values)
        self._messages[message_id] = message
        self._touch()
        return message

    def discard(self, message_id: str) -> None:
        """Forget a message that has no children, as when a request failed before it began.

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
        """Make a message the end of the active path, without an undo step."""
        if message_id is not None and message_id not in self._messages:
            raise KeyError(message_id)
        self._leaf = message_id
        self._touch()

    # Undoable operations

    def flip(self, message_id: str, step: int) -> Message | None:
        """Show the next (+1) or earlier (-1) version of a message; None at either end."""
        versions = self.siblings(message_id)
        index = [m.id for m in versions].index(message_id) + step
        if not 0 <= index < len(versions):
            return None
        self._record("Version", self._newest_leaf(versions[index].id))
        return versions[index]

    def go_to(self, message_id: str) -> bool:
        """Make a message part of the active path: the end of it, or of what was written last below.

        Returns:
            Whether anything changed.
        """
        if self._messages[message_id].deleted:
            raise ValueError("the message is deleted")
        if any(message.id == message_id for message in self.path()):
            return False
        leaf = self._newest_leaf(message_id)
        self._record("Go to", leaf)
        return True

    def fork(self, message_id: str, title: str) -> Conversation:
        """A new chat of the messages up to one of them, with ids of their own."""
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
        """Mark a message and all below it as deleted; returns what was marked.

        Where the active path goes through it, another version becomes active, else its parent.
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
        """Show a version of a reply and remember that it was preferred, as one undoable step.

        What was chosen of the same versions before counts no more.

        Args:
            label: What undoing it is called.
            chosen: Its id.
            rejected: The ids of those that it was preferred to; none for no preference.
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
        """What `redo` would do again; empty if there is nothing."""
        return self._redo[-1].label if self._redo else ""

    def history_values(self) -> dict[str, Any]:
        """The newest steps that can be undone and done again, as JSON values; empty for none."""
        if not self._undo and not self._redo:
            return {}
        return {
            "undo": [change.to_values() for change in self._undo[-KEPT_STEPS:]],
            "redo": [change.to_values() for change in self._redo[-KEPT_STEPS:]],
        }

    def restore_history(self, values: Mapping[str, Any]) -> None:
        """Take over what `history_values` gave. Steps that do not fit this tree are left out, with
        all that came before them.
        """
        self._undo = self._fitting(values.get("undo", ()))
        self._redo = self._fitting(values.get("redo", ()))

    def _fitting(self, steps: Iterable[Mapping[str, Any]]) -> list[Change]:
        fitting: list[Change] = []
        for values in steps:
            try:
                change = Change.from_values(values)
            except (ValueError, KeyError, TypeError, AttributeError):
                fitting.clear()
                continue
            leaves = {change.leaf_before, change.leaf_after} - {None}
            if leaves.union(change.deleted, change.marks) <= self._messages.keys():
                fitting.append(change)
            else:
                fitting.clear()
        return fitting

    @property
    def undo_label(self) -> str:
        """What `undo` would take back; empty if there is nothing."""
        return self._undo[-1].label if self._undo else ""

    def undo(self) -> str:
        """Take back the last undoable step and return its label; empty if there is none."""
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
        """Do again what was undone last; empty if there is nothing."""
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
        """Follow the newest visible children down from a message."""
        cursor = message_id
        while visible := self.children(cursor):
            cursor = visible[-1].id
        return cursor


def title_from(text: str, limit: int = 60) -> str:
    """A chat's title from its first message: the first line, cut at a word."""
    line = next((" ".join(ln.split()) for ln in text.splitlines() if ln.strip()), "")
    if len(line) <= limit:
        return line
    cut, at_word_end = line[: limit - 1], line[limit - 1] == " "
    head, space, _ = cut.rpartition(" ")
    return (head if space and not at_word_end and len(head) > limit // 2 else cut) + "…"
