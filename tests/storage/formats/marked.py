"""Chats with marks, and what comes of reading an exported text again."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.storage.chats import any_text, clean_text, ids, moments
from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.marks import LABELS, ChatDetails, Marks, Preference, Report
from tui_chat.storage.formats.incoming import read_chats

all_marks = st.builds(
    Marks,
    rating=st.sampled_from([-1, 0, 1]),
    rank=st.none() | st.integers(0, 3),
    all_flawed=st.booleans(),
    labels=st.dictionaries(st.sampled_from(list(LABELS)), st.sampled_from([0.0, 0.5, 1.0])),
    reports=st.lists(st.builds(Report, st.just("spam"), clean_text), max_size=2).map(tuple),
    edited=st.booleans(),
    excluded=st.booleans(),
)


@st.composite
def marked_chats(draw: st.DrawFn, text: Any = any_text, max_messages: int = 9) -> Conversation:
    """A tree of people and models with any marks, several roots too."""
    chat = Conversation(draw(ids), draw(text), draw(text), "guide")
    names = draw(st.lists(ids, min_size=1, max_size=max_messages, unique=True))
    for index, name in enumerate(names):
        parent = draw(st.sampled_from([None, *names[:index]]))
        role = draw(st.sampled_from(["user", "assistant", "assistant", "system"]))
        status = draw(st.sampled_from(["complete", "complete", "complete", "stopped", "failed"]))
        marks = draw(all_marks)
        made = Message(name, parent, role, draw(text), draw(moments), status, marks=marks)
        chat.add(made)
    chosen, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
    chat.details = ChatDetails(reviewed=True, preferences=(Preference(chosen, (other,)),))
    return chat


class Reading:
    """What a file gives: its chats, and the lines that were refused."""

    def __init__(self, path: Path, form: str | None = None) -> None:
        self.refused: list[tuple[int, str]] = []
        chats = read_chats(path, form, lambda line, why: self.refused.append((line, why)))
        self.chats = [chat for _, chat in chats]

    @property
    def lines(self) -> list[int]:
        """The numbers of the lines that were refused."""
        return [line for line, _ in self.refused]


def reading(text: str, folder: Path, name: str = "file.jsonl", form: str | None = None) -> Reading:
    """What a text gives, from a file with that name."""
    path = folder / name
    text = text or "\n"
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return Reading(path, form)
