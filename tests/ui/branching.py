"""Chats with branches, for the screens that show them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.ui.stage import HOSTILE
from tui_chat.chat.conversation import Conversation, Message, Role
from tui_chat.chat.marks import Marks

_THEN = datetime(2025, 3, 14, 12, 0, tzinfo=UTC)


def add(
    chat: Conversation,
    parent_id: str | None,
    text: str,
    marks: Marks | None = None,
    model: str = "guide",
) -> str:
    """Add a message below another, of the other role, and return its id."""
    is_reply = parent_id is not None and chat[parent_id].role == "user"
    role: Role = "assistant" if is_reply else "user"
    message = Message(
        f"{len(chat):032x}", parent_id, role, text, _THEN + timedelta(minutes=len(chat))
    )
    if is_reply:
        stats = {"completion_tokens": len(text.split())}
        message = replace(message, model=model, precision="bf16", finish_reason="eos", stats=stats)
    return chat.add(replace(message, marks=marks or Marks())).id


def branched() -> Conversation:
    """A chat with three versions of its second reply, one of them with a fork of its own."""
    chat = Conversation()
    asked = add(chat, None, "How do I make the answers less random?")
    said = add(chat, asked, "Lower the temperature: press F2, choose temperature, and step left. "
               "At 0 the model always takes the most probable token.", Marks(rating=1))  # fmt: skip
    undo = add(chat, said, "And how do I undo that?")
    first = add(chat, undo, "Press Backspace on the value; it brings the default back.",
                Marks(rating=1, branch="short"))  # fmt: skip
    thanks = add(chat, first, "Thanks! And the seed?")
    add(chat, thanks, "The seed is the last row of the panel. Empty means a random one.")
    other = add(chat, thanks, "Choose seed and type a number.", model="org/oasst-sft-4-pythia-12b")
    add(chat, undo, "You can not.", Marks(rating=-1))
    third = add(chat, undo, "There are two ways.\n\n1. Backspace on the value.\n"
                "2. Apply the preset again.", Marks(branch="two ways"))  # fmt: skip
    more = add(chat, third, f"漢字でも書けますか? {HOSTILE}")
    add(chat, more, "はい。プロンプトには何でも書けます。 " * 6)
    chat.set_leaf(other)
    return chat


def long_chat(count: int, fork_every: int = 0) -> Conversation:
    """A chat of that many messages, with another short version at every so many."""
    chat, parent = Conversation(), None
    while len(chat) < count:
        at_fork = fork_every and len(chat) % fork_every == 0 and parent is not None
        if at_fork:
            add(chat, parent, f"Another version, number {len(chat)}")
        parent = add(chat, parent, f"Message number {len(chat)} of a long chat")
    return chat
