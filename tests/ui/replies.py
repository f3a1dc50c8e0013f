"""Replies of every kind of Markdown: their texts, their blocks, and an app that shows one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual.pilot import Pilot

from tests.ui.chat_app import NOON
from tests.ui.painted import rows
from tests.ui.piece_app import PieceApp, until
from tui_chat import ui
from tui_chat.chat.conversation import Message
from tui_chat.ui.app import TuiChat
from tui_chat.ui.transcript.blocks import Blocks
from tui_chat.ui.transcript.markdown import new_parser
from tui_chat.ui.transcript.message_list import MessageList

SIZE = (44, 30)
STYLES = [Path(ui.__file__).parent / name for name in TuiChat.CSS_PATH]
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


def read(*texts: str) -> Blocks:
    """The blocks after one text was shown after the other."""
    made = Blocks(PARSER)
    for text in texts:
        made.show(text)
        made.read_all()
    return made


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
