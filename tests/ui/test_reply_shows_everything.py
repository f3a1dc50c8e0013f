"""Everything that is said in a reply can be seen, as it was written where it is no Markdown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ui.replies import FORMULA_PIECES, PIECES, SIZE, ReplyApp, at_once, painted, read
from tui_chat.safe_text import safe_text
from tui_chat.ui.transcript import blocks as blocks_module
from tui_chat.ui.transcript import drawing, shown_message
from tui_chat.ui.transcript.drawing import content_of

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
