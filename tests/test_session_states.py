"""A session with a real database against a plain model of its tree, through anything that happens.

Rules send, stream, stop, crash, reopen, edit, retry, continue, flip, delete, undo, redo, mark,
export and import, in any order; after each the session has the tree that the model has. After a
crash the database may be behind, by what was not saved yet and by nothing else.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.test_session import wait_until
from tui_chat.chat.conversation import Conversation, Message, new_id
from tui_chat.chat.events import Delta, EngineEvent
from tui_chat.engine.contract.backend import Emit, GenerateRequest, LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.engine.files.registry import load_registry
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.storage.care.maintenance import check
from tui_chat.storage.formats.ours.json_format import from_json, to_json
from tui_chat.storage.saving.writer import TranscriptWriter

STEPS = 10_000
"""Rules that have to run, over all examples."""
STEPS_EACH = 50
EXAMPLES = 230
"""More than `STEPS / STEPS_EACH`: some examples end early."""
REPLY = "one two three four five six"
LIMIT = 30.0

texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda text: bool(text.strip())
)
places = st.integers(0, 20)
"""Chooses a message. What is drawn must not depend on what a crash has left."""


@dataclass
class Node:
    """What the model knows of a message."""

    parent: str | None
    role: str
    text: str
    deleted: bool = False
    rating: int = 0


@dataclass
class Step:
    """One step that can be undone: the leaf before and after, and what it changed."""

    leaf: tuple[str | None, str | None]
    deleted: tuple[str, ...] = ()
    ratings: dict[str, tuple[int, int]] = field(default_factory=dict)


class PlainTree:
    """The chat as a user would describe it; knows no session, no engine and no database."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.leaf: str | None = None
        self.done: list[Step] = []
        self.undone: list[Step] = []

    def path(self) -> list[str]:
        found: list[str] = []
        cursor = self.leaf
        while cursor is not None:
            found.insert(0, cursor)
            cursor = self.nodes[cursor].parent
        return found

    def shown(self, parent: str | None) -> list[str]:
        return [i for i, n in self.nodes.items() if n.parent == parent and not n.deleted]

    def end_below(self, message_id: str) -> str:
        while below := self.shown(message_id):
            message_id = below[-1]
        return message_id

    def take(self, step: Step) -> None:
        self.done.append(step)
        self.undone.clear()
        self.leaf = step.leaf[1]

    def delete(self, message_id: str) -> None:
        below, marked = [message_id], []
        while below:
            current = below.pop()
            if not self.nodes[current].deleted:
                marked.append(current)
            below += [i for i, n in self.nodes.items() if n.parent == current]
        parent = self.nodes[message_id].parent
        others = [i for i in self.shown(parent) if i != message_id]
        for i in marked:
            self.nodes[i].deleted = True
        self.take(Step((self.leaf, self.end_below(others[-1]) if others else parent),
                       tuple(marked)))  # fmt: skip

    def step(self, back: bool) -> bool:
        """Undo or redo; False if there is nothing."""
        source, target = (self.done, self.undone) if back else (self.undone, self.done)
        if not source:
            return False
        step = source.pop()
        target.append(step)
        for i in step.deleted:
            self.nodes[i].deleted = not back
        for i, ratings in step.ratings.items():
            self.nodes[i].rating = ratings[0 if back else 1]
        self.leaf = step.leaf[0 if back else 1]
        return True


class HeldBackend(ScriptedBackend):
    """Stops in the middle of a reply until it is let go or stopped."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.hold_at = 0
        """After how many tokens to stop; 0 for never."""
        self.is_held, self.go = Event(), Event()

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        written = 0

        def tell(event: EngineEvent) -> None:
            nonlocal written
            emit(event)
            written += isinstance(event, Delta)
            if self.hold_at and written == self.hold_at:
                self.hold_at = 0
                self.is_held.set()
                while not (self.go.wait(0.001) or cancel.is_set()):
                    pass

        super().generate(request, tell, cancel)


class MortalWriter(TranscriptWriter):
    """Can end as with its process: what is queued is gone, and nothing is written any more."""

    def die(self) -> None:
        with self._changed:
            self._pending.take()
            self._closed = self._closing = True
            self._changed.notify_all()
        self._thread.join(LIMIT)


class SessionMachine(RuleBasedStateMachine):
    """The rules, and what has to be true after each."""

    steps = 0
    """Rules run by all machines."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.database = self.folder / "transcripts.db"
        self.tree = PlainTree()
        self.has_begun = False
        self.streaming: str | None = None
        self.safe: dict[str, Node] = {}
        """Messages that were on the disk for certain."""
        self.start()

    def start(self) -> None:
        """Open the program."""
        self.backend = HeldBackend(Script(replies=(REPLY,)))
        self.writer = MortalWriter(self.database)
        self.session = ChatSession(
            self.backend, load_registry(), SessionSettings(LoadRequest("guide")), self.writer
        )
        self.session.start()

    def idle(self) -> None:
        wait_until(lambda: not self.session.is_busy, LIMIT)

    def teardown(self) -> None:
        self.backend.go.set()
        self.session.close(LIMIT)
        shutil.rmtree(self.folder)

    # What the rules share

    def grown(self, reply: Message, label: str = "") -> None:
        """The model's part of a new reply, with the message that it answers if that is new."""
        conversation = self.session.conversation
        before = self.tree.leaf
        new = [reply]
        while new[0].parent_id is not None and new[0].parent_id not in self.tree.nodes:
            new.insert(0, conversation[new[0].parent_id])
        for message in new:
            node = Node(message.parent_id, message.role, message.text)
            self.tree.nodes[message.id] = node
        if label:
            self.tree.take(Step((before, new[0].id)))
        self.tree.leaf = reply.id

    def answered(self, reply: Message, label: str = "", text: str = REPLY) -> None:
        self.grown(reply, label)
        self.idle()
        self.tree.nodes[reply.id].text = text

    def pick(self, place: int, *roles: str) -> str | None:
        """A message of the active path; None if there is none of these roles."""
        ids = [i for i in self.tree.path() if self.tree.nodes[i].role in roles]
        return ids[place % len(ids)] if ids else None

    # Talking

    @precondition(lambda self: self.streaming is None)
    @rule(text=texts)
    def send(self, text: str) -> None:
        reply = self.session.send(text)
        self.answered(reply)
        assert self.tree.nodes[reply.parent_id or ""].text == text

    @precondition(lambda self: self.streaming is None)
    @rule(text=texts, tokens=st.integers(1, 5))
    def stream(self, text: str, tokens: int) -> None:
        self.backend.is_held.clear()
        self.backend.go.clear()
        self.backend.hold_at = tokens
        reply = self.session.send(text)
        self.grown(reply)
        assert self.backend.is_held.wait(LIMIT)
        self.streaming = reply.id
        self.tree.nodes[reply.id].text = " ".join(REPLY.split()[:tokens])
        # The user's message is on the disk before the model begins.
        parent = reply.parent_id or ""
        with self.writer.reader() as reader:
            assert reader.load(self.session.conversation.id)[parent].text == text
        self.safe[parent] = self.tree.nodes[parent]

    @precondition(lambda self: self.streaming is not None)
    @rule(is_stopped=st.booleans())
    def end_reply(self, is_stopped: bool) -> None:
        reply_id, self.streaming = self.streaming or "", None
        if is_stopped:
            assert self.session.cancel() == "reply"
        else:
            self.tree.nodes[reply_id].text = REPLY
        self.backend.go.set()
        self.idle()
        status = self.session.conversation[reply_id].status
        assert status == ("stopped" if is_stopped else "complete")

    # Editing

    @precondition(lambda self: self.streaming is None)
    @rule(place=places, text=texts)
    def edit(self, place: int, text: str) -> None:
        if (message_id := self.pick(place, "user", "assistant")) is None:
            return
        target = self.tree.nodes[message_id]
        edited = self.session.edit(message_id, text)
        if target.role == "user":
            self.answered(edited, "Edit")
        else:
            self.tree.nodes[edited.id] = Node(target.parent, "assistant", text, False, 0)
            self.tree.nodes[edited.id].rating = edited.marks.rating
            self.tree.take(Step((self.tree.leaf, edited.id)))

    @precondition(lambda self: self.streaming is None)
    @rule(place=places)
    def retry(self, place: int) -> None:
        if (message_id := self.pick(place, "user", "assistant")) is not None:
            self.answered(self.session.regenerate(message_id), "Retry")

    @precondition(lambda self: self.streaming is None)
    @rule(place=places)
    def continue_reply(self, place: int) -> None:
        message_id = self.pick(place, "assistant")
        if message_id is None or not (text := self.tree.nodes[message_id].text):
            return
        reply = self.session.continue_reply(message_id)
        self.answered(reply, "Continue", text + REPLY)
        self.tree.nodes[reply.id].rating = reply.marks.rating

    @precondition(lambda self: self.streaming is None)
    @rule(place=places, step=st.sampled_from([-1, 1]))
    def flip(self, place: int, step: int) -> None:
        if (message_id := self.pick(place, "user", "assistant")) is None:
            return
        versions = self.tree.shown(self.tree.nodes[message_id].parent)
        index = versions.index(message_id) + step
        can = 0 <= index < len(versions)
        assert self.session.flip(message_id, step) == can
        if can:
            self.tree.take(Step((self.tree.leaf, self.tree.end_below(versions[index]))))

    @precondition(lambda self: self.streaming is None)
    @rule(place=places)
    def delete(self, place: int) -> None:
        if (message_id := self.pick(place, "user", "assistant")) is not None:
            assert self.session.delete(message_id)
            self.tree.delete(message_id)

    @precondition(lambda self: self.streaming is None)
    @rule(back=st.booleans())
    def undo_or_redo(self, back: bool) -> None:
        label = self.session.undo() if back else self.session.redo()
        assert bool(label) == self.tree.step(back)

    @rule(place=places, value=st.sampled_from([-1, 1]))
    def rate(self, place: int, value: int) -> None:
        if (message_id := self.pick(place, "assistant")) is None:
            return
        before = self.tree.nodes[message_id].rating
        rating = self.session.rate(message_id, value)
        assert rating == (0 if before == value else value)
        self.tree.nodes[message_id].rating = rating
        self.tree.take(
            Step((self.tree.leaf, self.tree.leaf), ratings={message_id: (before, rating)})
        )

    # The file

    @precondition(lambda self: self.streaming is None)
    @rule(is_copied=st.booleans())
    def export_and_import(self, is_copied: bool) -> None:
        text = to_json(self.session.conversation)
        read = from_json(text)
        assert to_json(read) == text
        if is_copied and self.tree.nodes:
            read.id = new_id()
            self.session.open_chat(read)
            self.writer.save_conversation(read)
            self.safe = {}

    @precondition(lambda self: self.streaming is None)
    @rule()
    def save(self) -> None:
        assert self.writer.flush(LIMIT)
        self.safe = dict(self.tree.nodes)

    @precondition(lambda self: self.streaming is None)
    @rule()
    def reopen(self) -> None:
        chat_id = self.session.conversation.id
        assert self.session.close(LIMIT)
        self.start()
        if self.tree.nodes:
            self.session.open_chat(self.session.load_chat(chat_id))
            assert not self.session.is_read_only

    @rule()
    def crash(self) -> None:
        chat_id = self.session.conversation.id
        self.writer.die()
        self.backend.go.set()
        self.session.close(LIMIT)
        self.streaming = None
        self.start()
        assert self.writer.wait_ready(LIMIT) and self.writer.flush(LIMIT)
        assert self.writer.notices == ()
        assert check(self.database).problems == ()
        with self.writer.reader() as reader:
            saved = next((c.id for c in reader.list_chats() if c.id == chat_id), None)
            stored = reader.load(chat_id) if saved else Conversation()
        self.look_at_what_is_left(stored)
        self.session.open_chat(stored)
        self.take_over(stored)

    def look_at_what_is_left(self, stored: Conversation) -> None:
        """Nothing that was saved is missing, and nothing is there that was never said."""
        for message in stored.messages():
            node = self.tree.nodes[message.id]
            assert (message.parent_id, message.role) == (node.parent, node.role)
            assert node.text.startswith(message.text)
            assert not message.is_unfinished
        for message_id, node in self.safe.items():
            assert message_id in stored and stored[message_id].text == node.text

    def take_over(self, stored: Conversation) -> None:
        """Go on from what the database has."""
        tree = self.tree = PlainTree()
        for message in stored.messages():
            tree.nodes[message.id] = Node(
                message.parent_id, message.role, message.text, message.deleted,
                message.marks.rating,
            )  # fmt: skip
        tree.leaf = stored.leaf_id
        history = stored.history_values()
        tree.done = [_step(values) for values in history.get("undo", [])]
        tree.undone = [_step(values) for values in history.get("redo", [])]
        self.safe = dict(tree.nodes)

    # What is always true

    @invariant()
    def has_the_tree_of_the_model(self) -> None:
        type(self).steps += self.has_begun
        self.has_begun = True
        conversation = self.session.conversation
        if self.streaming is not None:
            self.session.message(self.streaming)
        assert conversation.leaf_id == self.tree.leaf
        assert [m.id for m in conversation.messages()] == list(self.tree.nodes)
        for message in conversation.messages():
            node = self.tree.nodes[message.id]
            assert Node(message.parent_id, message.role, message.text, message.deleted,
                        message.marks.rating) == node  # fmt: skip
        assert [m.id for m in self.session.messages()] == self.tree.path()


def _step(values: dict[str, object]) -> Step:
    before, after = values["leaf"]  # type: ignore[misc]  # JSON that the session wrote
    ratings = {
        i: (old.get("rating", 0), new.get("rating", 0))
        for i, (old, new) in values["marks"].items()  # type: ignore[attr-defined]  # the same
    }
    return Step((before, after), tuple(values["deleted"]), ratings)  # type: ignore[arg-type]  # the same


def test_whatever_happens_the_session_has_the_tree_that_it_should() -> None:
    SessionMachine.steps = 0
    run_state_machine_as_test(
        SessionMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert SessionMachine.steps >= STEPS
    print(f"{SessionMachine.steps} steps")
