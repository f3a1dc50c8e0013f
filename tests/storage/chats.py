"""Chats for the tests of the store: made by hand, made by hypothesis, and compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tui_chat.chat.conversation import Conversation, Message

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

any_text = st.text(st.characters(exclude_categories=()), max_size=40)
"""Any code points, lone surrogates too."""
clean_text = st.text(max_size=60)
moments = st.datetimes(
    min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)
)
ids = st.text("0123456789abcdef", min_size=8, max_size=32)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | clean_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(clean_text, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@st.composite
def messages(draw: st.DrawFn, message_id: str, parent_id: str | None, text: Any) -> Message:
    """A message with any value in every field."""
    return Message(
        id=message_id,
        parent_id=parent_id,
        role=draw(st.sampled_from(["system", "user", "assistant"])),
        text=draw(text),
        created=draw(moments),
        status=draw(
            st.sampled_from(
                ["complete", "waiting", "streaming", "stopped", "interrupted", "failed"]
            )
        ),
        finish_reason=draw(st.sampled_from(["", "eos", "stop", "length", "cancelled"])),
        error=draw(text),
        token_ids=tuple(draw(st.lists(st.integers(0, 2**40), max_size=5))),
        tokenizer=draw(text),
        model=draw(text),
        precision=draw(st.sampled_from(["", "fp16", "8bit"])),
        seed=draw(st.none() | st.integers(0, 2**64 - 1)),
        params=draw(st.dictionaries(clean_text, json_values, max_size=3)),
        stats=draw(st.dictionaries(clean_text, json_values, max_size=3)),
        deleted=draw(st.booleans()),
    )


@st.composite
def conversations(draw: st.DrawFn, text: Any = clean_text, max_messages: int = 8) -> Conversation:
    """A tree of messages with any active leaf."""
    conversation = Conversation(draw(ids), draw(text), draw(text), draw(text))
    message_ids = draw(st.lists(ids, max_size=max_messages, unique=True))
    for index, message_id in enumerate(message_ids):
        parent = draw(st.sampled_from([None, *message_ids[:index]]))
        conversation.add(draw(messages(message_id, parent, text)))
    conversation.set_leaf(draw(st.sampled_from([None, *message_ids])))
    conversation.created = draw(moments)
    conversation.updated = conversation.created + timedelta(seconds=draw(st.integers(0, 10**6)))
    return conversation


def facts(conversation: Conversation) -> dict[str, Any]:
    """Everything that must survive saving and exporting."""
    return {
        "header": (
            conversation.id,
            conversation.title,
            conversation.system,
            conversation.model,
            conversation.created,
            conversation.updated,
            conversation.leaf_id,
        ),
        "messages": list(conversation.messages()),
        "children": {
            message.id: [child.id for child in conversation.children(message.id)]
            for message in conversation.messages()
        },
    }


def short_chat(title: str = "Rivers", turns: int = 2, start: datetime = START) -> Conversation:
    """A finished chat of some turns."""
    conversation = Conversation(title=title, system="Be brief.", model="guide")
    for turn in range(turns):
        asked = start + timedelta(minutes=turn)
        conversation.update(conversation.append("user", f"Question {turn}?").id, created=asked)
        reply = conversation.append(
            "assistant", f"Answer {turn}.", token_ids=(1, 2, 3), seed=7, params={"top_k": 50}
        )
        conversation.update(reply.id, created=asked + timedelta(seconds=2))
    conversation.created = start
    conversation.updated = start + timedelta(minutes=turns)
    return conversation
