"""A reply that grows: at every step it is what it would be if it had been shown at once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it.token import Token

from tests.ui.painted import rows
from tests.ui.piece_app import until
from tests.ui.replies import (
    FORMULA_PIECES,
    LONG_TEXTS,
    PARSER,
    PIECES,
    SIZE,
    TEXTS,
    ReplyApp,
    at_once,
    painted,
    read,
)
from tui_chat.safe_text import safe_text
from tui_chat.ui.transcript import blocks as blocks_module
from tui_chat.ui.transcript.blocks import Block, Blocks, pieces

STEPS = st.lists(st.lists(st.sampled_from(PIECES), min_size=1).map("".join), min_size=2, max_size=8)
ALL_STEPS = st.lists(
    st.lists(st.sampled_from([*PIECES, *FORMULA_PIECES]), min_size=1).map("".join),
    min_size=2, max_size=8,
)  # fmt: skip
SMALL = {"SLICE": 7, "PIECE_CHARACTERS": 12, "PIECE_LINES": 2}


# What a message is made of ------------------------------------------------------------------------


def after(steps: Iterable[str]) -> Blocks:
    """The blocks of a text that has grown."""
    text, texts = "", []
    for step in steps:
        text += step
        texts.append(text)
    return read(*texts)


def parts(made: Blocks) -> list[tuple[Block, Block | None]]:
    """Everything that is known of the blocks; of a piece of a table, also where that began."""
    return [(block, block.first) for block in made.list]


def addresses(made: Blocks) -> dict[str, str]:
    """Where the link definitions of a text lead."""
    return {name: known["href"] for name, known in made.env.get("references", {}).items()}


def cut(text: str, step: int) -> list[str]:
    return [text[at : at + step] for at in range(0, len(text), step)]


@contextmanager
def small_pieces(**more: int) -> Any:
    """Everything is cut into pieces that a short test has many of."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SMALL | more).items():
            patch.setattr(blocks_module, name, value)
        yield


@pytest.mark.parametrize("step", [1, 3, 10, 50])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_that_grows_has_the_blocks_of_one_that_is_read_at_once(text: str, step: int) -> None:
    made, steps = Blocks(PARSER), cut(safe_text(text), step)
    for number in range(len(steps)):
        so_far = "".join(steps[: number + 1])
        made.show(so_far)
        made.read_all()
        assert parts(made) == parts(read(so_far)), so_far


@pytest.mark.parametrize("step", [37, 700, 9_000])
@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_a_long_text_that_grows_has_the_blocks_of_one_that_is_read_at_once(
    text: str, step: int
) -> None:
    assert parts(after(cut(text, step))) == parts(read(text))


@settings(max_examples=1000, deadline=None)
@given(STEPS)
@example(["> \r\n- \r\n  ", "word "])
@example(["- a\n1. >\n", "word"])
def test_however_a_text_grows_its_blocks_are_those_of_one_that_is_read_at_once(
    steps: list[str],
) -> None:
    steps = [safe_text(step) for step in steps]
    assert parts(after(steps)) == parts(read("".join(steps)))


@settings(max_examples=500, deadline=None)
@given(STEPS)
@example(["- ===\n-    > \n", "word "])
def test_however_a_text_is_cut_its_blocks_are_those_of_one_that_is_read_at_once(
    steps: list[str],
) -> None:
    steps = [safe_text(step) for step in steps]
    with small_pieces():
        assert parts(after(steps)) == parts(read("".join(steps)))


@settings(max_examples=1000, deadline=None)
@given(ALL_STEPS)
@example(["\\[\na\n+ b\n", "\\]"])
@example(["$$\n# a\n", "$$"])
@example(["a\n$$b\n$$", "word"])
def test_however_formulas_grow_their_blocks_are_those_of_ones_that_are_read_at_once(
    steps: list[str],
) -> None:
    steps = [safe_text(step) for step in steps]
    assert parts(after(steps)) == parts(read("".join(steps)))


@pytest.mark.parametrize("step", [1, 7])
def test_a_link_leads_where_its_definition_says_however_that_has_grown(step: int) -> None:
    text = "See [x].\n\n[x]: http://example.org/page\n\nMore."
    assert addresses(after(cut(text, step))) == {"X": "http://example.org/page"}


def test_a_long_paragraph_ends_where_a_list_begins() -> None:
    lines = ("x" * 3999 + "\n") * 2
    assert parts(after([lines + "*", " word"])) == parts(read(f"{lines}* word"))


def test_a_long_table_that_turns_out_to_have_too_many_cells_is_shown_as_it_is_written() -> None:
    table = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 200 + "| 1 | 2 | 3 |\n"
    assert parts(after(cut(table, 50))) == parts(read(table))


@settings(max_examples=300, deadline=None)
@given(st.lists(ALL_STEPS.map("".join).map(safe_text), min_size=2, max_size=4))
def test_whatever_was_read_before_another_text_is_read_as_it_is(texts: list[str]) -> None:
    made, alone = read(*texts[:-1], texts[-1] + "."), read(texts[-1] + ".")
    if not (texts[-1] + ".").startswith(texts[-2]):
        assert (parts(made), addresses(made)) == (parts(alone), addresses(alone))


def test_code_is_numbered_anew_in_another_text() -> None:
    code = "```\n{}\n```\n\nwords\n\n"
    made = read("".join(code.format(number) for number in range(20)))
    for count in (3, 17, 1):
        made.show("".join(code.format(f"new {n}") for n in range(count)))
        made.read_all()
        numbers = [(block.number, block.text) for block in made.list if block.kind == "code"]
        assert numbers == [(n + 1, f"new {n}") for n in range(count)]
        assert max((b.number for b in made.list), default=0) == count


def test_an_item_whose_number_comes_in_two_pieces_belongs_to_its_list() -> None:
    made = after(["1. a\n\n2", ". b"])
    assert [(block.lead, block.text) for block in made.list] == [("1. ", "a"), ("2. ", "b")]


@pytest.mark.parametrize(
    ("begin", "more", "most"),
    [
        ("", "A paragraph of **some** words.\n\n", 800),
        ("", "- item *number* one of many\n", 800),
        ("> ", "quoted words\n>\n> ", 800),
        ("```\n", "a line of code\n", 8_000),
        ("| a | b |\n|---|---|\n", "| one | two |\n", 8_000),
        ("", "words without an end ", 16_000),
    ],
    ids=["paragraphs", "list", "quote", "code", "table", "words"],
)
def test_what_is_parsed_for_a_step_does_not_depend_on_what_is_there(
    begin: str, more: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    original = blocks_module.block_tokens

    def counted(parser: Any, source: str, env: dict[str, Any]) -> list[Token]:
        parsed.append(len(source))
        return original(parser, source, env)

    monkeypatch.setattr(blocks_module, "block_tokens", counted)
    made, text = Blocks(PARSER), begin
    while len(text) < 40_000:
        text += more * 5
        made.show(text)
        made.read_all()
    assert max(parsed) < most


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(["a", "bc ", "\n", " ", "x" * 11, "y" * 12, "\n\n"])).map("".join))
def test_the_pieces_of_a_text_are_all_of_it(text: str) -> None:
    with small_pieces():
        cuts = list(pieces(text))
        assert "".join(text[begin:end] + after for begin, end, after in cuts) == text
        assert all(end - begin <= 12 for begin, end, _ in cuts)
        assert all(text.count("\n", begin, end) < 2 for begin, end, _ in cuts)


def test_no_row_is_added_where_a_line_is_as_long_as_a_piece() -> None:
    line = "a" * blocks_module.PIECE_CHARACTERS
    made = read(f"```\n{line}\nb\n```\n")
    assert [block.text for block in made.list] == [line, "b"]


# On the screen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [3, 50])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_reply_that_grows_looks_like_one_shown_at_once(text: str, step: int) -> None:
    ends = [*range(step, len(text), step), len(text)]
    compared = {ends[len(ends) // 3], ends[2 * len(ends) // 3], len(text)}
    grown: dict[str, list[str]] = {}
    app = ReplyApp("")
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.list.size.width)
        for end in ends:
            app.become(text[:end])
            if end in compared:
                grown[text[:end]] = await painted(app, pilot)
            else:
                rows(app.list)  # each step is painted
    assert list(grown.values()) == await at_once(list(grown))


async def test_replies_in_the_place_of_others_look_like_ones_shown_at_once() -> None:
    texts = [*TEXTS.values(), *list(TEXTS.values())[::-3]]
    app = ReplyApp("")
    seen = []
    async with app.run_test(size=SIZE) as pilot:
        for text in texts:
            app.become(text)
            seen.append(await painted(app, pilot))
    alone = dict(zip(TEXTS.values(), await at_once(list(TEXTS.values())), strict=True))
    assert seen == [alone[text] for text in texts]


def test_what_was_drawn_is_kept_as_a_text_grows() -> None:
    grown, text = Blocks(PARSER), "[x]: http://e.org\n\n"
    for _ in range(60):
        text += "Some **words** of a [link][x].\n\n- an item\n- another\n\n"
        grown.show(text)
        grown.read_all()
        assert sum(block.drawn is None for block in grown.list) <= 5
        for block in grown.list:
            block.drawn = "as it was"
