"""Drafts, folded pastes and slash commands, without widgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.errors import UsageError
from tui_chat.ui.prompt.prompt_history import (
    Draft,
    PromptHistory,
    draft_of,
    expand,
    is_long_paste,
    paste_label,
)
from tui_chat.ui.prompt.slash import completions, escaped, is_command, literal, parse

TEXT = st.text(max_size=200)


@given(st.lists(TEXT, min_size=1, max_size=5), TEXT)
def test_every_paste_comes_back_to_the_letter(pastes: list[str], between: str) -> None:
    folded: dict[str, str] = {}
    shown = ""
    for text in pastes:
        label = paste_label(text, None, folded)
        folded[label] = text
        shown += label + between
    assert expand(shown, folded) == "".join(text + between for text in pastes)


@given(TEXT)
def test_a_text_from_elsewhere_is_a_draft_of_itself(text: str) -> None:
    draft = draft_of(text)
    assert draft.full == text
    assert "\r" not in draft.text and "\u2028" not in draft.text


@given(TEXT)
def test_every_message_can_be_typed(text: str) -> None:
    assert literal(escaped(text)) == text
    assert not is_command(escaped(text)) or text == "/"


def test_a_paste_with_a_label_in_it_is_not_looked_at_again() -> None:
    first = paste_label("one\n" * 9, None, ())
    second = paste_label(f"{first}\n" * 9, None, {first})
    folded = {first: "one\n" * 9, second: f"{first}\n" * 9}
    assert expand(second, folded) == f"{first}\n" * 9


def test_labels_say_lines_and_tokens() -> None:
    assert paste_label("a\n" * 212, 1930, ()).replace("\u00a0", " ") == (
        "[pasted 212 lines, 1 930 tok]"
    )
    assert paste_label("a" * 2000, None, ()).replace("\u00a0", " ") == "[pasted 1 line]"
    taken = {paste_label("a", 5, ())}
    assert "#2" in paste_label("a", 5, taken)


@pytest.mark.parametrize(
    ("text", "is_long"),
    [
        ("a\n" * 7, True),
        ("a\n" * 6, False),
        ("a" * 1000, True),
        ("a" * 999, False),
        ("a\x0bb", True),
    ],
)
def test_long_pastes_are_folded(text: str, is_long: bool) -> None:
    assert is_long_paste(text) is is_long


def test_history_shows_each_text_once_at_its_newest_place() -> None:
    history = PromptHistory()
    history.open_chat(["one", "two", "one"])
    history.add(Draft("two"))
    own = Draft("mine")
    assert history.previous(own) == Draft("two")
    assert history.previous(Draft("two")) == Draft("one")
    assert history.previous(Draft("one")) is None
    assert history.next() == Draft("two")
    assert history.next() == own
    assert history.next() is None
    assert PromptHistory().previous(own) is None


def test_commands_are_read_and_completed() -> None:
    command = parse("/set temperature = 0.7 ")
    assert (command.action.id, command.argument) == ("set", "temperature = 0.7")
    assert parse("/QUIT").action.id == "quit"
    with pytest.raises(UsageError) as error:
        parse("/modle oasst-12b")
    assert "/model" in error.value.hint
    values = {"/theme": lambda: [("night", ""), ("paper", "")]}
    assert [c.text for c in completions("/th", values)] == ["/theme"]
    assert [c.text for c in completions("/theme p", values)] == ["/theme paper"]
    assert [c.text for c in completions("/set top", {})] == ["/set top_k=", "/set top_p="]
    assert not completions("hello", values) and not completions("/theme paper", values)
