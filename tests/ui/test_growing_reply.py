"""A reply that grows: at every step it looks as if it had been shown at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.ui.piece_app import PieceApp, until
from tui_chat import ui
from tui_chat.safe_text import safe_text
from tui_chat.ui.app import TuiChat
from tui_chat.ui.widgets.reply_body import ReplyBody
from tui_chat.ui.widgets.reply_markdown import ReplyMarkdown
from tui_chat.ui.widgets.steady_scroll import SteadyScroll

SIZE = (44, 30)
STYLES = [Path(ui.__file__).parent / name for name in (*TuiChat.FIRST_CSS, *TuiChat.LATER_CSS)]
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
}


class ReplyApp(PieceApp):
    """One reply in a place that scrolls, with the styles of the chat."""

    CSS_PATH: ClassVar[Any] = STYLES

    def __init__(self, text: str) -> None:
        self.body = ReplyBody(text)
        super().__init__(SteadyScroll(self.body))


async def shown(pilot: Pilot[Any], text: str) -> list[str]:
    """What the screen shows once a text is laid out."""
    app = pilot.app
    assert isinstance(app, ReplyApp)
    await until(pilot, lambda: app.body.text == safe_text(text))
    await pilot.pause()
    await pilot.wait_for_scheduled_animations()
    return app.lines()


async def at_once(text: str) -> list[str]:
    async with ReplyApp(text).run_test(size=SIZE) as pilot:
        return await shown(pilot, text)


@pytest.mark.parametrize("step", [3, 10, 50])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_reply_that_grows_looks_like_one_shown_at_once(text: str, step: int) -> None:
    ends = [*range(step, len(text), step), len(text)]
    compared = set(ends[:: max(1, len(ends) // 6)]) | {len(text)}
    grown: dict[int, list[str]] = {}
    app = ReplyApp("")
    async with app.run_test(size=SIZE) as pilot:
        for end in ends:
            app.body.show(text[:end])
            lines = await shown(pilot, text[:end])
            if end in compared:
                grown[end] = lines
    for end, lines in grown.items():
        assert lines == await at_once(text[:end]), f"after {text[:end]!r}"


PIECES = [
    "word ", "long words that go on ", "- ", "* ", "1. ", "2", ". ", "\n", "\n\n", "  ", "   ",
    "> ", "```\n", "`code`", "**", "# ", "---\n", "| a | b |\n", "|---|---|\n", "[a](b)", "\r\n",
    "\u2028", "日本語", "<b>",
]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=1), min_size=2, max_size=8))
def test_however_a_reply_grows_it_ends_up_as_if_shown_at_once(steps: list[list[str]]) -> None:
    async def grown() -> list[str]:
        app, text = ReplyApp(""), ""
        async with app.run_test(size=SIZE) as pilot:
            for step in steps:
                text += "".join(step)
                app.body.show(text)
                lines = await shown(pilot, text)
        return lines

    text = "".join(piece for step in steps for piece in step)
    assert asyncio.run(grown()) == asyncio.run(at_once(text))


async def become(app: ReplyApp, pilot: Pilot[Any], text: str) -> list[str]:
    await app.body.become(text)
    return await shown(pilot, text)


@pytest.mark.parametrize("step", [1, 2, 5])
async def test_a_reply_in_the_place_of_another_looks_like_one_shown_at_once(step: int) -> None:
    names = [list(TEXTS)[number * step % len(TEXTS)] for number in range(len(TEXTS))]
    assert len(set(names)) == len(TEXTS)
    app = ReplyApp(TEXTS[names[-1]])
    async with app.run_test(size=SIZE) as pilot:
        seen = {name: await become(app, pilot, TEXTS[name]) for name in names}
    for name, lines in seen.items():
        assert lines == await at_once(TEXTS[name]), name


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES)).map("".join), min_size=2, max_size=6))
def test_whatever_was_shown_before_another_reply_is_shown_as_it_is(texts: list[str]) -> None:
    async def seen() -> list[str]:
        app = ReplyApp(texts[0])
        async with app.run_test(size=SIZE) as pilot:
            for text in texts[1:]:
                lines = await become(app, pilot, text)
        return lines

    assert asyncio.run(seen()) == asyncio.run(at_once(texts[-1]))


async def test_code_is_numbered_anew_in_the_place_of_another_reply() -> None:
    code = "```\n{}\n```\n\nwords\n\n"
    app = ReplyApp("".join(code.format(number) for number in range(20)))
    async with app.run_test(size=SIZE) as pilot:
        for count in (3, 17, 1):
            await become(app, pilot, "".join(code.format(f"new {n}") for n in range(count)))
            blocks = app.body.code_blocks
            assert [block.number for block in blocks] == list(range(1, count + 1))
            assert [block.code.strip() for block in blocks] == [f"new {n}" for n in range(count)]


async def test_a_reply_too_large_for_markdown_and_one_that_is_not_take_turns() -> None:
    app = ReplyApp("short")
    async with app.run_test(size=SIZE) as pilot:
        for text, is_plain in (("a" * 40_000, True), ("**b**", False), ("c" * 40_000, True)):
            await become(app, pilot, text)
            assert app.body.is_plain == is_plain
            assert len(app.body.text_parts) == 1


async def test_an_item_whose_number_comes_in_two_pieces_belongs_to_its_list() -> None:
    app = ReplyApp("")
    async with app.run_test(size=SIZE) as pilot:
        for text in ("1. a\n\n2", "1. a\n\n2. b"):
            app.body.show(text)
            lines = await shown(pilot, text)
    assert lines == await at_once("1. a\n\n2. b")


async def test_a_reply_that_cannot_be_laid_out_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = ReplyApp("The **begin")
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, "The **begin")

        def broken(*_: object) -> None:
            raise RuntimeError("no layout for this")

        monkeypatch.setattr(ReplyMarkdown, "append", broken)
        for text in ("The **beginning**", "The **beginning** and the end"):
            app.body.show(text)
            await shown(pilot, text)
            assert text in " ".join(app.shown().split())
        assert app.body.is_plain
        assert "no layout for this" in caplog.text


async def test_a_rule_is_drawn() -> None:
    lines = await at_once("a\n\n---\n\nb")
    assert set(lines[2].strip()) == {"─"}
