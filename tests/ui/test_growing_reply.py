"""A reply that grows: at every step it is what it would be if it had been shown at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it.token import Token
from textual.pilot import Pilot

from tests.ui.chat_app import NOON
from tests.ui.painted import rows
from tests.ui.piece_app import PieceApp, until
from tui_chat import ui
from tui_chat.chat.conversation import Message
from tui_chat.safe_text import safe_text
from tui_chat.ui.app import TuiChat
from tui_chat.ui.transcript import blocks as blocks_module
from tui_chat.ui.transcript import drawing, shown_message
from tui_chat.ui.transcript.blocks import Block, Blocks, pieces
from tui_chat.ui.transcript.drawing import content_of
from tui_chat.ui.transcript.markdown import new_parser
from tui_chat.ui.transcript.message_list import MessageList

SIZE = (44, 30)
STYLES = [Path(ui.__file__).parent / name for name in (*TuiChat.FIRST_CSS, *TuiChat.LATER_CSS)]
PARSER = new_parser()
TEXTS = {
    "paragraphs": """\
A first paragraph that is long enough to need several lines of the screen.

A second one with **bold words that go on** and `code` in it, and then some more.
""",
    "list": """\
Before:

- one
- two with **bold** text that goes on over the end of its line
- three

  and a paragraph of its own
- four

After.
""",
    "numbers": "".join(f"{number}. item {number}\n" for number in range(7, 13)) + "\nEnd.\n",
    "nested": """\
- a
  - b one
  - b two
    1. c first
    2. c second is longer than a line is
  - b three
- d
""",
    "list with code": """\
1. Do this:

   ```python
   def f(x):
       return x
   ```

2. Then that:

   > quoted words that are too long for one line
   >
   > twice
""",
    "quote": """\
> A quotation that goes on over the end of its line, and on.
>
> - with a list
> - of two

After it.
""",
    "table": """\
| a | b |
|---|---|
| one | two |
| three | four |

After the table.
""",
    "table in a list": """\
- first

  | a | b |
  |---|---|
  | one | two |
  | three | 4 |
- last
""",
    "headings": """\
# One

Text

## Two

---

Under
=====

- item

  ### Three

  words
""",
    "list that was none": """\
words
- a
- b

*emphasis*
* c
* d [link](http://e.org) end
""",
    "code": """\
Look:

```
plain code

more of it
```

and

    indented code

end
""",
    "html": "<b>shown</b> as text\n\n<div>\nas well\n</div>\n\nend\n",
    "other ends of lines": "a\r\n\r\nb\u2028c\x0bd\r\n- e\n- f\r\n\r\ng\r\n",
    "formulas": "So $a_b$ is \\( x_1 \\):\n\n\\[\n\\frac{a}{b} \\\\\nx\n\\]\n\n$$\ny\n$$\n\nend\n",
}
LONG_TEXTS = {
    "fence": "a\n\n```py\n" + "".join(f"line {n}\n" for n in range(300)) + "```\n\n```\nx\n```\n",
    "tildes": "~~~\n" + "".join(f"line {n}\n```\n" for n in range(100)) + "~~~\nend\n",
    "lines of code": "```\n" + "x y " * 3000 + "\n" + "`z" * 5000 + "\n```\nafter",
    "indented code": "a\n\n" + "".join(f"    line {n}\n" for n in range(300)) + "\nend",
    "table": "a\n\n| a | bb |\n|---|--:|\n" + "| one | 2 |\n" * 200 + "| three | 3 |\n\nend",
    "paragraph of one line": "Some **bold** words. " * 600 + "\n\nend *here*",
    "paragraph of many lines": "Some **bold** words.\n" * 600 + "\n- end *here*\n",
    "paragraph without spaces": "x" * 9_500 + "\n- a\n\nend",
    "brackets": "[a] " * 500 + "\n\nend",
    "heading": "# " + "word " * 2000 + "\n\nend\n",
    "numbers": "".join(f"{n}. item {n}\n   - below it\n" for n in range(1, 200)),
    "deep": "".join("  " * n + f"- level {n}\n" for n in range(60)) + "\nend",
    "all sorts": (
        "words **x**\n\n- a\n- b\n\n1. c\n2. d\n\n> q\n\n```\ncode\n```\n\n"
        "| a | b |\n|---|---|\n| c | d |\n\n---\n\n"
    )
    * 12,
}  # fmt: skip
PIECES = [
    "word ", "long words that go on ", "- ", "* ", "1. ", "2", ". ", "\n", "\n\n", "  ", "   ",
    "> ", "```\n", "`code`", "**", "# ", "---\n", "| a | b |\n", "|---|---|\n", "[a](b)", "\r\n",
    "\u2028", "日本語", "<b>", "[x]: http://e.org\n", "[x]", "10. ", "3) ", "      - ", "    ",
    "===\n", "~~~py\n", "| a \\| b | c | d |\n", "[^1]: note\n", "\\", "![p](q)", "\t",
]  # fmt: skip
FORMULA_PIECES = ["$", "$$", "\\[", "\\]", "\\(", "\\)", "$$\n", "\\[\n", "+ b\n", "+ c\n"]
STEPS = st.lists(st.lists(st.sampled_from(PIECES), min_size=1).map("".join), min_size=2, max_size=8)
ALL_STEPS = st.lists(
    st.lists(st.sampled_from([*PIECES, *FORMULA_PIECES]), min_size=1).map("".join),
    min_size=2, max_size=8,
)  # fmt: skip
SMALL = {"SLICE": 7, "PIECE_CHARACTERS": 12, "PIECE_LINES": 2}


# What a message is made of ------------------------------------------------------------------------


def read(*texts: str) -> Blocks:
    """The blocks after one text was shown after the other."""
    made = Blocks(PARSER)
    for text in texts:
        made.show(text)
        made.read_all()
    return made


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
        assert made.code_count == count


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


# Everything that is said can be seen --------------------------------------------------------------

ADDRESSES = re.compile(r"\]\([^()\n]*\)")
NUMBERS = re.compile(r"\d+[.)]")
"""Of items, which are counted by their lists."""


def seen(text: str) -> str:
    """What is to be seen of a reply; the language of code stands beside it."""
    made = read(safe_text(text))
    shown = (f"{b.lead} {b.info} {content_of(b, made.env).plain}" for b in made.list)
    return "\n".join(shown)


def unseen(text: str) -> str:
    """What of the letters and digits of a text can't be seen, in order: the first, and the rest."""
    source = NUMBERS.sub("", ADDRESSES.sub("]", text))
    wanted = [character for character in source if character.isalnum()]
    rest = iter(seen(text))
    for number, character in enumerate(wanted):
        if character not in rest:
            return "".join(wanted[number:])
    return ""


SEEN_TEXTS = {
    "twelve levels": "".join("  " * n + f"- level {n}\n" for n in range(12)) + " " * 24 + "- END\n",
    "two hundred levels": "".join("  " * n + f"- level {n}\n" for n in range(200)) + "\nEND\n",
    "two hundred at once": "- " * 200 + "END",
    "twenty quotes": "> " * 20 + "END",
    "two hundred quotes": "> " * 200 + "END\n\nafter",
    "definitions": "[x]: http://e.org 'title'\n\n- [y]: /url\n  words\n\n> [z]: <a b> (t)\n> m\n",
    "two definitions": "[x]: /one\n[x]: /two\n",
    "footnotes": "Words[^1] here.\n\n[^1]: The note.\n    More of it.\n",
    "formula on a line": "\\[ a \\\\ b \\]",
    "formulas in words": "\\( x_1 \\), $$y_2 * z * 3$$ and $a_b$, for $5 or $6",
    "formula of lines": "$$\na_1 \\\\\n+ b_2\n$$\n\\[\nc*d*e\n\\]\n",
    "percent": "see http://e.org/%41%20b and <http://e.org/%E4%F6>, 100%25",
    "too many cells": "| a | b |\n|---|---|\n| 1 | 2 | 3 | 4 |\n",
    "too many in a list": "- | a | b |\n  |---|---|\n  | 1 | 2 | 3 |\n",
    "pipes in cells": "| a |\n|---|\n| x \\| y | z |\n| `p|q` |\n",
    "html": "<div>\nfoo\n</div>\n<!-- comment -->\n<a href='x'>y</a>",
    "tasks": "- [ ] open\n- [x] done\n",
    "unclosed fence": "```python\ncode",
    "brackets": "[" * 600 + "x" + "]" * 600,
    "emphasis": "*a " * 150 + "x" + "*" * 150,
    "images": "![words *two*](u) and ![](address)",
    "headings": "a\n===\n\nb\n---\n\n#tag\n\n####### seven\n",
    "a long line": "word7 " * 2000 + "END",
}  # fmt: skip


@pytest.mark.parametrize("text", SEEN_TEXTS.values(), ids=SEEN_TEXTS)
def test_everything_that_is_said_can_be_seen(text: str) -> None:
    assert not unseen(text)


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(
        st.sampled_from([
            *PIECES, *FORMULA_PIECES, "ab", "c1 ", "      - d ", "~~", "| f | g |\n", "`", "*", "_",
            "| h | i | j | k |\n", "|", "[l](/)", "[+]", "[+]: /n 'o'\n", " [^q]", "[^q]: r\n",
            "</div>\n", "<!-- u -->", "www.e.org", "http://e.org/%41", "[", "]", "!", "- [x] ",
        ]),
        max_size=14,
    ).map("".join)
)  # fmt: skip
def test_everything_that_is_said_in_any_text_can_be_seen(text: str) -> None:
    text = text.replace("[x]:", "[+]:").replace("[x]", "x ")  # labels of links are not seen
    assert not unseen(text)


def test_marks_without_words_are_seen() -> None:
    made = read("#\n\n- \n- x\n-\n\n1.\n\n>\n\n```\n```\n\n---\n")
    assert [(block.kind, block.lead, block.text) for block in made.list] == [
        ("source", "", "#"), ("text", "• ", ""), ("text", "• ", "x"), ("text", "• ", ""),
        ("text", "1. ", ""), ("text", "▎ ", ""), ("code", "", ""), ("rule", "", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\[ a \\\\ b \\]", "\\[ a \\\\ b \\]"),
        ("\\( x_1 * y * z \\)", "\\( x_1 * y * z \\)"),
        ("$$a_1 * b * c$$", "$$a_1 * b * c$$"),
        ("$x_1$ and $y_1$", "$x_1$ and $y_1$"),
        ("for $5 or *maybe* $6", "for $5 or maybe $6"),
        ("a\\[0\\] and \\*no\\*", "a\\[0\\] and *no*"),
        ("C:\\\\dir", "C:\\\\dir"),
    ],
)
def test_formulas_are_shown_as_they_are_written(text: str, expected: str) -> None:
    made = read(text)
    assert [content_of(block, made.env).plain for block in made.list] == [expected]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("[a](http://e.org/%41%20b)", "http://e.org/%41%20b"),
        ("http://e.org/%41%E4", "http://e.org/%41%E4"),
        ("<http://E.org/ä?x=%25>", "http://E.org/ä?x=%25"),
        ("[a]\n\n[a]: http://e.org/%7e", "http://e.org/%7e"),
        ("![a](p%20q.png)", "p%20q.png"),
    ],
)
def test_addresses_are_what_was_written(text: str, address: str) -> None:
    made = read(text)
    content = content_of(made.list[0], made.env)
    metas = [span.style.meta for span in content.spans if not isinstance(span.style, str)]
    assert [meta["link"] for meta in metas if "link" in meta] == [address]


# On the screen ------------------------------------------------------------------------------------


class ReplyApp(PieceApp):
    """One reply in a place that scrolls, with the styles of the chat."""

    CSS_PATH: ClassVar[Any] = STYLES

    def __init__(self, text: str, is_framed: bool = False) -> None:
        self.message = Message("1", None, "assistant", text, NOON, status="streaming")
        self.list = MessageList(clock=lambda: NOON, is_framed=is_framed)
        self.path = [self.message]
        self.list.set_path(self.path)
        self.list.hold((self.message.id, 0))
        super().__init__(self.list)

    def become(self, text: str) -> None:
        """Show another text."""
        self.message = self.path[0] = replace(self.message, text=text)
        self.list.show_message(self.message)


async def painted(app: ReplyApp, pilot: Pilot[Any]) -> list[str]:
    """All rows of the reply once it is laid out, from its start to its end."""
    await until(pilot, lambda: app.list.size.width)
    await until(pilot, lambda: app.list.opened(0).is_read)
    found: list[str] = []
    app.list.hold((app.message.id, 0))
    while True:
        top, page = app.list.scroll_offset.y, rows(app.list)
        found += page[max(0, len(found) - top) :]
        if top >= app.list.max_scroll_y:
            break
        app.list.scroll_relative(y=app.list.size.height - 2)
    app.list.hold((app.message.id, 0))
    return found


async def at_once(texts: Sequence[str]) -> list[list[str]]:
    """What is painted of each of some texts, each by a widget of its own."""
    found = []
    for text in texts:
        app = ReplyApp(text)
        async with app.run_test(size=SIZE) as pilot:
            found.append(await painted(app, pilot))
    return found


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


async def test_a_long_reply_is_shown_to_its_end_and_is_never_plain_text() -> None:
    text = "".join(f"- item **{number}**\n" for number in range(5_000)) + "\nThe *end*."
    app = ReplyApp(text)
    async with app.run_test(size=SIZE) as pilot:
        found = await painted(app, pilot)
    items = [f"• item {number}" for number in range(5_000)]
    assert [row.strip() for row in found if row.strip()] == [*items, "The end."]


@pytest.mark.parametrize("text", ["a" * 40_000, "|" * 60 + "\n" + "|-" * 60 + "\n"])
async def test_what_is_no_markdown_to_read_is_shown_as_it_is_written(text: str) -> None:
    app = ReplyApp(text)
    async with app.run_test(size=SIZE) as pilot:
        found = await painted(app, pilot)
    assert "".join("".join(found).split()) == "".join(text.split())


async def test_a_reply_that_cannot_be_read_is_shown_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = ReplyApp("The **begin")
    async with app.run_test(size=SIZE) as pilot:
        await painted(app, pilot)

        def broken(*_: object) -> None:
            raise RuntimeError("no layout for this")

        monkeypatch.setattr(blocks_module, "block_tokens", broken)
        for text in ("The **beginning**", "The **beginning** and the end"):
            app.become(text)
            found = " ".join(" ".join(await painted(app, pilot)).split())
            assert text in found and "can't be laid out" in found
        assert "no layout for this" in caplog.text


async def test_a_block_that_cannot_be_drawn_is_shown_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no rows for this")

    monkeypatch.setattr(drawing, "_table_rows", broken)
    app = ReplyApp("**before**\n\n| a | b |\n|---|---|\n| c | d |\n\n**after**")
    async with app.run_test(size=SIZE) as pilot:
        found = await painted(app, pilot)
    assert [row.split() for row in found if row] == [
        ["before"], ["a", "b"], ["c", "d"], ["after"],
    ]  # fmt: skip
    assert shown_message.log.name in {record.name for record in caplog.records}


async def test_a_rule_is_drawn() -> None:
    ((first, _, rule, *_),) = await at_once(["a\n\n---\n\nb"])
    assert first.strip() == "a" and set(rule.strip()) == {"─"}


def test_what_was_drawn_is_kept_as_a_text_grows() -> None:
    grown, text = Blocks(PARSER), "[x]: http://e.org\n\n"
    for _ in range(60):
        text += "Some **words** of a [link][x].\n\n- an item\n- another\n\n"
        grown.show(text)
        grown.read_all()
        assert sum(block.drawn is None for block in grown.list) <= 5
        for block in grown.list:
            block.drawn = "as it was"
