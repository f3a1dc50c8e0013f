"""Writers under test: a fault to put on and off, a turn to save, and what was stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.storage.chats import short_chat
from tests.storage.faults import failing_connection
from tui_chat.chat.conversation import Conversation
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.saving.writer import TranscriptWriter

FAST = (0.005, 0.02)
"""Seconds before the first retry, and at most."""
LONG = 20.0
"""Seconds within which everything happens, on a slow machine too."""

Start = Callable[..., TranscriptWriter]
"""`start(path, **options)`: a writer that runs; see the fixture."""


class Switch:
    """A fault that can be put on and off while a writer runs."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.factory = failing_connection(lambda _, __: self.error)


def until(condition: Callable[[], object], limit: float = LONG) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def stored(path: Path, chat_id: str) -> Conversation:
    with read_transcripts(path) as reader:
        return reader.load(chat_id)


def one_turn(writer: TranscriptWriter) -> Conversation:
    """Everything that is saved in one turn, in the order in which a session does it."""
    chat = short_chat(turns=1)
    question = chat.append("user", "And then?")
    reply = chat.append("assistant", "", status="streaming")
    writer.save_header(chat, {"top_k": 1})
    for message in chat.messages():
        writer.save_message(chat.id, message)
    for piece in ("It ", "went ", "on."):
        reply = chat.update(reply.id, text=reply.text + piece)
        writer.checkpoint(chat.id, reply)
    writer.save_message(chat.id, chat.update(reply.id, status="complete"))
    chat.update(question.id, status="complete")
    writer.save_message(chat.id, chat[question.id])
    writer.save_header(chat)
    return chat
