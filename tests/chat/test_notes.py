"""Notes in prompts: what is sent, what is counted, and how they are asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.chat.conversation import Conversation
from tui_chat.chat.marks import NO_MARKS, Marks, Note
from tui_chat.chat.note_prompts import most_tokens, next_part
from tui_chat.chat.notes import divided, is_note_id, with_note
from tui_chat.chat.prompt import PromptComposer, group_turns
from tui_chat.chat.templates import PromptMessage, template_named
from tui_chat.engine.contract.scripted import WordEncoder
from tui_chat.errors import ContextError

THEN = datetime(2026, 5, 4, 12, 4, tzinfo=UTC)
TEMPLATES = ["oasst", "oasst-prefix", "chatml", "llama2", "mistral", "vicuna", "raw"]
EXACT = ("oasst", "oasst-prefix", "chatml")
"""Templates in which no text touches another, so that sizes add up to the token."""


def chat_of(sizes: list[int]) -> Conversation:
    chat = Conversation()
    for number, size in enumerate(sizes):
        words = " ".join(["word"] * size)
        chat.append("user", f"question {number} {words}")
        chat.append("assistant", f"answer {number} {words}")
    return chat


def put_note(chat: Conversation, index: int, text: str = "the note") -> None:
    message = chat.path()[index]
    chat.mark("Compact", {message.id: replace(message.marks, note=Note(text, THEN, "guide"))})


@pytest.mark.parametrize("name", TEMPLATES)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=14),
    noted=st.integers(1, 13),
    pinned=st.integers(0, 13),
    has_system=st.booleans(),
)
def test_the_note_is_sent_and_counted_and_what_it_stands_for_is_not(
    name: str, sizes: list[int], noted: int, pinned: int, has_system: bool
) -> None:
    chat = chat_of(sizes)
    noted, pinned = min(noted, len(sizes) - 1), min(pinned, len(sizes) - 1)
    chat.mark("Pin", {chat.path()[2 * pinned].id: Marks(pinned=True)})
    put_note(chat, 2 * noted - 1)
    history = with_note(chat.path())
    composer = PromptComposer(template_named(name), WordEncoder(), context=600, reserve=100)
    view = composer.view(history, "Be brief." * has_system, "last question")
    chat.append("user", "last question")
    prompt = composer.compose(with_note(chat.path()), "Be brief." * has_system)
    text = composer.encoder.decode(prompt.ids)
    assert len(prompt.ids) <= 500 and text.count("the note") == 1
    assert text.index("the note") < text.index("last question")
    for number in range(noted):
        assert (f"question {number} " in text) == (number == pinned)
    stands_for = noted - (pinned < noted)
    assert prompt.noted_turns == view.noted_turns == stands_for
    assert view.dropped_turns == prompt.dropped_turns >= stands_for
    assert view.system + view.history + view.draft + view.reserve + view.free == 600
    if name in EXACT:
        assert view.prompt_tokens == len(prompt.ids)
        assert view.dropped_tokens == prompt.dropped_tokens


def test_of_several_notes_the_last_one_counts_and_a_path_without_one_is_as_it_was() -> None:
    chat = chat_of([1, 1, 1])
    assert with_note(chat.path()) == chat.path() and divided(chat.path())[0] is None
    put_note(chat, 1, "first")
    put_note(chat, 3, "second")
    path = with_note(chat.path())
    note, before, after = divided(path)
    assert note is not None and note.text == "second" and is_note_id(note.id)
    assert [m.text.split()[1] for m in (*before, *after)] == ["0", "0", "1", "1", "2", "2"]
    assert not any(is_note_id(m.id) for m in chat.messages())


def test_a_chat_that_is_all_note_has_nothing_to_be_answered() -> None:
    chat = chat_of([1, 1])
    put_note(chat, 3)
    composer = PromptComposer(template_named("oasst"), WordEncoder(), context=600, reserve=100)
    with pytest.raises(ContextError, match="note stands for the whole chat"):
        composer.compose(with_note(chat.path()))
    view = composer.view(with_note(chat.path()), "", "Go on")
    assert (view.noted_turns, view.dropped_turns, view.first_kept_id) == (2, 2, None)


@pytest.mark.parametrize("name", TEMPLATES)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=12), context=st.integers(120, 600))
def test_every_turn_is_asked_about_once_and_every_request_fits(
    name: str, sizes: list[int], context: int
) -> None:
    encoder, template = WordEncoder(), template_named(name)
    turns = [
        tuple(PromptMessage(m.id, m.role, m.text) for m in turn)
        for turn in group_turns(chat_of(sizes).path())
    ]
    tokens = most_tokens(context, context // 4)
    asked, before = [], ""
    while turns:
        part = next_part(template, encoder, turns, before, context, tokens)
        assert len(part.ids) + tokens <= context and part.turns >= 1
        text = encoder.decode(part.ids)
        assert before in text
        asked.append(text)
        del turns[: part.turns]
        before = f"summary {len(asked)}"
    for number in range(len(sizes)):
        assert sum(f"question {number} " in text for text in asked) <= 1
    assert sum(text.count("question ") for text in asked) <= len(sizes)


def test_a_context_without_room_for_a_request_is_told() -> None:
    turns = [(PromptMessage("a", "user", "Hi"), PromptMessage("b", "assistant", "Hello"))]
    with pytest.raises(ContextError, match="no room to write a note"):
        next_part(template_named("oasst"), WordEncoder(), turns, "", 24, 16)


def test_a_note_is_written_down_and_read_back() -> None:
    marks = replace(NO_MARKS, pinned=True, note=Note("Fine.", THEN, "guide", "bf16", 3, True))
    assert Marks.from_values(marks.to_values()) == marks
    for wrong in (None, "x", {}, {"text": " "}, {"text": 3}):
        assert Marks.from_values({"note": wrong}).note is None
    odd = Marks.from_values({"note": {"text": "x", "created": "never", "tokens": -1}}).note
    assert odd is not None and odd.tokens == 0 and odd.created.year == 1970
