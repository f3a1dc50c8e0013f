"""A random walk through the real program: keys, mouse, sizes and stops while replies stream.

Come here for what a step is, how steps are made of a seed, and what is checked after them. A walk
is a list of steps; the n-th depends on the seed and on n alone. `make walk STEPS=100000` runs as
many as wanted, `test_walk` some thousands.
"""

from __future__ import annotations

import argparse
import codecs
import json
import os
import pickle
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from wcwidth import wcwidth

from tests.e2e.pseudo_terminal import PseudoTerminal, environment
from tui_chat.chat.conversation import Message
from tui_chat.safe_text import safe_line, safe_text
from tui_chat.storage.reading import read_transcripts
from tui_chat.ui.transcript.blocks import Blocks
from tui_chat.ui.transcript.drawing import content_of
from tui_chat.ui.transcript.markdown import new_parser
from tui_chat.ui.transcript.message_notes import (
    mark_text,
    meta_text,
    note_text,
    side_text,
    time_text,
)

LEFT_OUT: frozenset[str] = frozenset()
"""Kinds of steps that are known to fail, with the reason. Take one out when it is mended."""
_KNOWN = {
    "closing-list": r"ScreenStackError|ScreenError: Can't await screen\.dismiss",
    "palette-esc": r"NoMatches",
    "model-path": r"ModelNotFoundError",
    "palette-click": r"IndexError: list index out of range \(_on_click",
    "row-not-laid-out": r"AssertionError \(_compose",
}
"""Faults that are taken for those of a kind that is left out: they come with other steps too."""

ROWS, COLUMNS = 30, 100
"""The size at which what is painted is compared."""
BLOCK = 12
"""Steps that are made together, as a scene on one of the screens."""
CHECK_EVERY = 5
"""Blocks from one check to the next."""
HOVER_S = 1.0
"""Seconds after which the mouse is moved again."""
HANG_S = 20.0
"""How long nothing may happen after a key, on a machine that is busy with other things."""
PAINT_S = 10.0
"""How long the painted rows may differ from the text."""
START_S = 60.0
REPLY_S = 60.0
KEPT_BYTES = 1 << 16
"""Bytes of output that are kept for a report."""


# Steps --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes from the terminal to the program, in one write: keys, mouse, pastes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """Another size of the window."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the process, and have it continue soon."""

    signal: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Continue:
    """A SIGCONT that nothing has stopped the process before."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Wait until nothing is painted any more."""


@dataclass(frozen=True, slots=True)
class Check:
    """Leave all screens, type a word, and compare what is painted with the text."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave the program, and start it again on the same home."""

    data: bytes


Step = Send | Resize | Stop | Continue | Rest | Check | Quit

_ESC, _ENTER, _TAB = b"\x1b", b"\r", b"\t"
_ARROWS = (b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D")
_SPECIAL = (
    *_ARROWS, _ENTER, _ESC, _TAB, b"\x1b[Z", b"\x7f", b"\x1b[3~", b"\x1b[5~", b"\x1b[6~",
    b"\x1b[H", b"\x1b[F", b"\x1b[1;5F", b"\x1b[1;5H", b"\x1b[1;3A", b"\x1b[1;3B", b"\x1b[1;2A",
    b"\x1b[1;2B", b"\x1b[1;2C", b"\x1b[1;2D", b"\x1b[1;5C", b"\x1b[1;5D", b"\x1b\r",
    b"\x1b[13;2u", b"\x1bOP", b"\x1bOQ", b"\x1bOR", b"\x1bOS", b"\x1b[15~", b"\x1b[17~",
    b"\x1b[18~", b"\x1b[19~", b"\x1b[20~", b"\x1b[21~", b"\x1b[23~", b"\x1b[24~", b"\x1b[I",
    b"\x1b[O\x1b[I", b"\x1b[2~", b" ",
    *(bytes([code]) for code in range(0x1B) if code not in (0x03, 0x11)),
    b"\x1c", b"\x1d", b"\x1e", b"\x1f",
)  # fmt: skip
"""Every key of `tui_chat.actions` that does not leave, and others that terminals have."""
_WORDS = (
    "hello there", "why", "tell me about tables", "日本語 で 書く", "naïve café", "x", "42",
    "a longer question that goes on for a while, so that it takes more than one row of the prompt "
    "and of the transcript when the window is not very wide at all", "[/P] [b]markup[/b]",
    "[@click=app.quit]quit[/]", "**bold** `code`", "one two three", "https://example.org/a_b",
    "# no heading", "$x^2$", "مرحبا", "ok?", "what about $5 and $6?",
)  # fmt: skip
_COMMANDS = (
    "/help", "/new", "/open", "/open last", "/open nosuch", "/save", "/export chat.md",
    "/export chat.json", "/export chat.html", "/export chat.jsonl", "/export", "/model",
    "/model guide", "/model oasst-12b", "/model nosuch", "/precision", "/precision fp32",
    "/precision nosuch", "/set temperature=0.8", "/set temperature=0", "/set max_new_tokens=40",
    "/set max_new_tokens=256", "/set top_k=abc", "/set stop=[]", "/preset greedy", "/preset k50",
    "/preset", "/system Be brief.", "/system", "/theme ember", "/theme nosuch", "/theme",
    "/retry", "/stop", "/title Another [b]title", "/title", "/tag work", "/tag -work", "/tag",
    "/archive", "/datause on", "/datause off", "/datause", "/compact", "/compact 1", "/search",
    "/search table", "/find", "/find the", "/find 日本", "/best 2", "/best 3", "/best", "/tree",
    "/fork", "/rank", "/label", "/nosuch", "/", "//", "/the\t",
)  # fmt: skip
_RUBBISH = (
    "plain words", "two\nlines", "one\n\n\ntwo\n", "[/P][/]", "[@click=app.quit]x[/]", "\t\ttabs",
    "日本語" * 40, "a" * 3000, "line\n" * 120, "", "zero\u200bwidth\u202eturned", "{}[]()<>\\",
)  # fmt: skip
_WILD_RUBBISH = ("one\n\x1b[32mtwo\x1b[0m\x07\r\nthree", "a\x1b\x1b[Ab\r\r", "\x03\x11\x1b", "\x07")
_NO_UTF8 = (b"keep \xe9\xff\x9b this", b"\xc3", b"\xf0\x9f", b"\x80\x80", b"\xed\xa0\x80")


class _Scenes:
    """Makes the steps of a scene; all chance comes from one generator."""

    def __init__(self, chance: random.Random, left_out: frozenset[str]) -> None:
        self.chance = chance
        self.left_out = left_out

    def scene(self) -> list[Step]:
        """`BLOCK` steps."""
        kinds: dict[Callable[[], Iterator[Step]], int] = {
            self.talk: 14, self.reading: 8, self.transcript: 14, self.commands: 8, self.panel: 4,
            self.pickers: 5, self.texts: 4, self.chats: 5, self.tree: 5, self.search: 3,
            self.find: 4, self.palette: 3, self.best: 4, self.judging: 4, self.mouse: 9,
            self.sizes: 5, self.stops: 2, self.pastes: 4, self.anything: 8, self.editor: 1,
            self.editing: 4,
        }  # fmt: skip
        if self.chance.random() < 0.012:
            return self._filled(self.leaving())
        kind = self.chance.choices(list(kinds), list(kinds.values()))[0]
        return self._filled(kind())

    def _filled(self, steps: Iterator[Step]) -> list[Step]:
        made = [step for step, _ in zip(steps, range(BLOCK), strict=False)]
        return [*made, *(self.any_step() for _ in range(BLOCK - len(made)))]

    # Parts

    def one_of(self, *keys: bytes) -> Send:
        return Send(self.chance.choice(keys))

    def several(self, keys: Sequence[bytes], least: int, most: int) -> Iterator[Step]:
        for _ in range(self.chance.randint(least, most)):
            if self.chance.random() < 0.12:
                yield self.any_step()
            else:
                yield Send(self.chance.choice(keys))

    def typed(self) -> bytes:
        return self.chance.choice(_WORDS).encode()

    def maybe_esc(self, likely: float = 0.8) -> Iterator[Step]:
        while self.chance.random() < likely:
            yield Send(_ESC)
            likely /= 2

    def special(self) -> Send:
        return Send(self.chance.choice(_SPECIAL))

    def any_step(self) -> Step:
        kind = self.chance.random()
        if kind < 0.35:
            return Send(self.mouse_bytes())
        if kind < 0.6:
            return self.special()
        if kind < 0.7:
            return Send(self.typed())
        if kind < 0.75:
            return Resize(*self.size())
        if kind < 0.8:
            return Send(_ESC)
        return Rest() if kind < 0.9 else self.one_of(b"\x1b[5~", b"\x1b[6~", b"\x1b[1;5F")

    def size(self) -> tuple[int, int]:
        kind = self.chance.random()
        if kind < 0.1:
            return self.chance.randint(1, 8), self.chance.randint(1, 30)
        if kind < 0.4:
            return ROWS, COLUMNS
        return self.chance.randint(5, 50), self.chance.randint(20, 160)

    def mouse_bytes(self) -> bytes:
        """One thing that is done with the mouse, with its cells mostly inside."""
        column, row = self.chance.randint(1, 104), self.chance.randint(1, 32)
        if self.chance.random() < 0.1:
            column, row = self.chance.choice(((1, 1), (100, 30), (100, 1), (1, 30), (300, 200)))
        other = self.chance.randint(1, 104), self.chance.randint(1, 32)

        def event(button: int, at: tuple[int, int], end: str = "M") -> str:
            return f"\x1b[<{button};{at[0]};{at[1]}{end}"

        here = (column, row)
        press, release = event(0, here), event(0, here, "m")
        middle = (column + other[0]) // 2, (row + other[1]) // 2
        ways = (
            press + release,
            (press + release) * 2,
            (press + release) * 3,
            press,
            release,
            event(35, here),
            event(64, here) * self.chance.randint(1, 6),
            event(65, here) * self.chance.randint(1, 6),
            press + event(32, middle) + event(32, other) + event(0, other, "m"),
            press + event(32, middle) + event(32, other),
            event(32, here),
            event(2, here) + event(2, here, "m"),
            event(68, here),
        )
        weights = (5, 2, 1, 1, 1, 4, 4, 3, 4, 1, 1, 1, 1)
        return self.chance.choices(ways, weights)[0].encode()

    # Scenes

    def talk(self) -> Iterator[Step]:
        words = self.typed()
        if self.chance.random() < 0.4:
            yield Send(words + _ENTER)
        elif self.chance.random() < 0.3:
            yield Send(words + _ENTER + self.typed() + _ENTER)
        else:
            yield Send(words)
            yield Send(_ENTER)
        keys = (b"\x1b[5~", b"\x1b[6~", b"\x1b[1;5F", b"\x1b[<64;40;10M" * 3, b"\x1b[<65;40;10M")
        yield from self.several(keys, 1, 5)
        if self.chance.random() < 0.25:
            yield self.one_of(_ESC, b"/stop\r", b"\x0e")
        if self.chance.random() < 0.5:
            yield Rest()
        if self.chance.random() < 0.3:
            yield Send(self.typed() + b"\n" + self.typed() + _ENTER)

    def reading(self) -> Iterator[Step]:
        keys = (b"\x1b[5~", b"\x1b[6~", b"\x1b[5~" * 3, b"\x1b[<64;30;12M" * 5,
                b"\x1b[<65;30;12M" * 2, b"\x1b[1;3A", b"\x1b[1;3B", b"\x1b[1;5F")  # fmt: skip
        yield from self.several(keys, 4, BLOCK)

    def transcript(self) -> Iterator[Step]:
        yield Send(_ESC)
        keys = (
            *(c.encode() for c in "jjkkkgGyuer>zZ+-pxfjk"), b"\x1b[D", b"\x1b[C", b"\x1b[D",
            b"\x1b[3~", b"\x1b[A", b"\x1b[B", b"\x1b[F", b"jk", b"kk", b"zz", b"u\x1b[C",
        )  # fmt: skip
        yield from self.several(keys, 3, BLOCK - 3)
        yield from self.maybe_esc()

    def editing(self) -> Iterator[Step]:
        yield Send(_ESC)
        yield from self.several((b"k", b"j"), 0, 2)
        yield Send(b"e")
        yield Send(self.typed())
        yield self.one_of(_ENTER, _ENTER, _ESC, b"\x1b[A", b"\x0e")
        yield from self.several((b"\x1b[D", b"\x1b[C", _ESC, b"z", b"\x1b[5~"), 0, 4)

    def commands(self) -> Iterator[Step]:
        for _ in range(3):
            yield Send(self.chance.choice(_COMMANDS).encode() + _ENTER)
            yield from self.several((*_ARROWS, _ESC, _ENTER, b"\x1b[6~"), 0, 2)
            yield from self.maybe_esc()

    def panel(self) -> Iterator[Step]:
        yield Send(b"\x1bOQ")
        keys = (
            *_ARROWS, *_ARROWS, b"\x1b[1;2C", b"\x1b[1;2D", b"\x7f", b"1", b"0", b".5", _ENTER,
            _TAB, b"\x1b[Z", b"\x1b[6~", b"\x1b[F", b"\x1b[H", b"abc", b"\x1bOP",
        )  # fmt: skip
        yield from self.several(keys, 3, BLOCK - 3)
        yield from self.maybe_esc()

    def pickers(self) -> Iterator[Step]:
        yield self.one_of(b"\x1bOR", b"\x1bOS", b"\x1b[20~")
        yield from self.several((*_ARROWS, b"\x1b[F", b"\x1b[H", b"g", b"\x1b[6~"), 1, 5)
        yield self.one_of(_ENTER, _ESC)
        yield from self.maybe_esc()

    def texts(self) -> Iterator[Step]:
        yield self.one_of(b"\x1b[15~", b"\x1bOP", b"\x0c")
        keys = (*_ARROWS, b"\x1b[6~", b"\x1b[5~", b"\x1b[F", b"\x1b[H", b"y", b"G", _TAB, b"/")
        yield from self.several(keys, 1, 7)
        yield from self.maybe_esc(0.9)

    def chats(self) -> Iterator[Step]:
        yield Send(b"\x0f")
        keys = (b"\x1b[A", b"\x1b[B", b"\x1b[B", b"r", b"\x1b[3~", b"z", b"/", b"hel", b"\x1b[6~")
        yield from self.several(keys, 0, 5)
        if "closing-list" not in self.left_out and self.chance.random() < 0.3:
            yield Send(_ENTER + _ENTER)
        yield self.one_of(_ENTER, _ENTER, _ESC)
        yield Rest()
        yield from self.maybe_esc()

    def tree(self) -> Iterator[Step]:
        yield Send(b"\x14")
        keys = (*_ARROWS, *(c.encode() for c in "jkhlnNbpzZgG "), _TAB, b"\x1b[3~", b"\x1b[6~")
        yield from self.several(keys, 1, 7)
        yield self.one_of(_ENTER, _ESC, b"\x14")
        yield from self.maybe_esc()

    def search(self) -> Iterator[Step]:
        yield Send(b"/search\r")
        yield self.one_of(b"the", b"table", b"hel", b"zzz", "語".encode())
        yield from self.several((b"\x1b[B", b"\x1b[A", b"e", b"\x7f", b"\x1b[6~"), 1, 5)
        yield Rest()
        yield self.one_of(_ENTER, _ESC)
        yield from self.maybe_esc()

    def find(self) -> Iterator[Step]:
        yield Send(b"\x06")
        yield self.one_of(b"the", b"a", b"row", b"zzz", "語".encode())
        yield from self.several((_ENTER, b"\x1b[A", b"\x1b[B", b"\x7f", b"o", b"\x06"), 1, 6)
        yield from self.maybe_esc(0.9)

    def palette(self) -> Iterator[Step]:
        yield Send(b"\x10")
        yield self.one_of(b"the", b"tree", b"lab", b"par", b"zzz", b"a", b"find")
        yield from self.several((b"\x1b[B", b"\x1b[A", b"e", b"\x7f"), 0, 4)
        if "palette-esc" in self.left_out:
            yield Rest()
        yield self.one_of(_ENTER, _ESC, _ESC)
        yield Rest()
        yield from self.maybe_esc()

    def best(self) -> Iterator[Step]:
        if self.chance.random() < 0.8:
            yield Send(b"/set temperature=0.8\r")
        yield Send(self.typed())
        yield self.one_of(b"\x1b[17~", b"\x01\x0b/best 3\r")
        keys = (b"\x1b[C", b"\x1b[D", b"j", b"k", b"\x1b[6~", b"s", b"g", b"G", b" ")
        yield from self.several(keys, 0, 5)
        yield self.one_of(b"1", b"2", _ENTER, _ESC)
        yield from self.maybe_esc()

    def judging(self) -> Iterator[Step]:
        """The menu of a message, ranks, labels."""
        yield Send(_ESC)
        yield from self.several((b"k", b"j"), 0, 2)
        yield self.one_of(_ENTER, b"o", b"l", _ENTER, b"l")
        keys = (*_ARROWS, b"1", b"2", b"3", b" ", _TAB, b"J", b"K", b"a", b"r", b"z", b"words")
        yield from self.several(keys, 1, 6)
        yield self.one_of(_ENTER, _ESC)
        yield from self.maybe_esc()

    def mouse(self) -> Iterator[Step]:
        for _ in range(self.chance.randint(4, BLOCK - 2)):
            yield Send(self.mouse_bytes())
        yield from self.maybe_esc(0.6)

    def sizes(self) -> Iterator[Step]:
        for _ in range(self.chance.randint(2, 6)):
            yield Resize(*self.size())
            if self.chance.random() < 0.3:
                yield self.any_step()
        if self.chance.random() < 0.7:
            yield Resize(ROWS, COLUMNS)

    def stops(self) -> Iterator[Step]:
        ways = ("TSTP",) if "lone-cont" in self.left_out else ("STOP", "TSTP")
        yield Stop(self.chance.choice(ways), self.chance.randint(1, 60))
        yield Send(self.typed())
        if "lone-cont" not in self.left_out:
            yield Continue()
        yield self.special()

    def pastes(self) -> Iterator[Step]:
        for _ in range(2):
            rubbish = self.chance.choice(_RUBBISH)
            if "paste-keys" not in self.left_out and self.chance.random() < 0.5:
                rubbish = self.chance.choice(_WILD_RUBBISH)
            yield Send(b"\x1b[200~" + rubbish.encode() + b"\x1b[201~")
            if "no-utf8" not in self.left_out and self.chance.random() < 0.3:
                yield Send(self.chance.choice(_NO_UTF8))
            yield self.one_of(_ENTER, _ESC, b"\x7f", b"\x1a", b"\x1b[A")
            yield self.any_step()

    def anything(self) -> Iterator[Step]:
        while True:
            yield self.any_step()

    def editor(self) -> Iterator[Step]:
        yield Send(b"\x07")
        yield Rest()
        yield self.one_of(_ENTER, b"\x03")

    def leaving(self) -> Iterator[Step]:
        yield Quit(self.chance.choice((b"\x11", b"/quit\r", b"\x03\x03", b"\x03")))


def steps_of(seed: int, count: int, left_out: frozenset[str] = LEFT_OUT) -> list[Step]:
    """The first steps of the walk of a seed.

    Args:
        seed: Any number.
        count: How many.
        left_out: Kinds that are left out, see `LEFT_OUT`.
    """
    steps: list[Step] = []
    for number in range(-(-count // BLOCK)):
        scene = _Scenes(random.Random(f"{seed}/{number}"), left_out).scene()
        if number % CHECK_EVERY == CHECK_EVERY - 1:
            scene[-1] = Check()
        steps += scene
    return [*_kept(steps, left_out)][:count]


def _kept(steps: Sequence[Step], left_out: frozenset[str]) -> Iterator[Step]:
    """The steps, with pauses where two of them together are a kind that is left out."""
    after_palette = False
    for step in steps:
        if isinstance(step, Send):
            keys = step.data
            if "palette-esc" in left_out:
                if after_palette and keys == _ESC:
                    step = Rest()
                after_palette = b"\x10" in keys or (after_palette and keys != _ENTER)
        yield step


# The replies --------------------------------------------------------------------------------------

_PIECES = (
    "# A heading\n\nA paragraph with *some* **marks**, `code` and a [link](https://example.org/).",
    "- one\n  - two\n    - three\n      - four\n- five\n\n  more of five\n- six",
    "1. first\n2. second\n   - inner\n3. third\n\n10. ten",
    "| name | size |\n|---|---:|\n| ant | 1 |\n| whale | 30000 |\n| `a\\|b` | *no* |",
    "```python\ndef f(x):\n    return x + 1  # a comment\n\n\nprint(f(2))\n```",
    "```\nplain code\n\twith a tab\n" + "very long line of code " * 8 + "\n```",
    "> a quotation\n> of two lines\n>\n> > and one inside\n\nafter it",
    "The sum is $a^2 + b^2 = c^2$ and\n\n$$\n\\int_0^1 x\\,dx = \\frac12\n$$\n\n\\[ e = mc^2 \\]",
    "Long" + "word" * 60 + " and then short ones.",
    "日本語の文章です。とても長いので、折り返されることになります。" * 4,
    "Ein Absatz mit Umlauten äöüß, naïve café, Ελληνικά, русский текст.\n\n\n\nAfter empty lines.",
    "a long paragraph " + "of many words that goes on and on " * 12 + "until its end.",
    "one  \nhard break\\\nanother\n\n---\n\nbelow a rule\n\nSetext\n======\n\n***bold italic***",
    "<div>raw html</div> and 1 < 2 & 3 > 2\n\n    indented code\n\n* star\n+ plus",
    "- [ ] open\n- [x] done\n\nTerm[^1]\n\n[^1]: A note.\n\n~~gone~~ https://example.com/x?y=z",
)


def replies_of(seed: int, count: int = 40) -> list[str]:
    """What the script says: every kind of Markdown, in lengths from a word to some screens."""
    chance = random.Random(f"replies/{seed}")
    made = ["ok", "Yes.\n\n\n", "\n\nlate start"]
    while len(made) < count:
        pieces = [chance.choice(_PIECES) for _ in range(chance.choice((1, 1, 2, 3, 5)))]
        made.append("\n\n".join(pieces) + chance.choice(("", "", "\n", "\n\n  \n")))
    chance.shuffle(made)
    return made


# The terminal -------------------------------------------------------------------------------------

_OUTPUT = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<private>[<>=?]?)(?P<numbers>[0-9;:]*)(?P<between>[ !\"$']*)(?P<final>[@-~])"
    r"|\x1b\](?P<command>[0-9]+);[^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|(?P<control>[\r\n\x07\b\t])"  # the last two are what the system echoes while nobody reads
    r"|(?P<keypad>\x1b[=>78cM])"
)
_BEGUN = re.compile(r"\x1b(?:\[[<>=?]?[0-9;:]*[ !\"$']*|\][^\x07\x1b]*\x1b?)?\Z")
_WIDE_FILL = ""


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    return wcwidth(character)


class Painted:
    """What a terminal shows: characters alone, strictly and quickly.

    Args:
        rows: Its height.
        columns: Its width.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.unknown = ""
        """The first output that no terminal should get."""
        self._row = self._column = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._begun = ""

    @property
    def lines(self) -> list[str]:
        """The rows as texts."""
        return ["".join(row).rstrip() for row in self.cells]

    def resize(self, rows: int, columns: int) -> None:
        """Another size; what is inside stays."""
        kept = [[*row[:columns], *[" "] * (columns - len(row))] for row in self.cells[:rows]]
        self.cells = [*kept, *([" "] * columns for _ in range(rows - len(kept)))]
        self.rows, self.columns = rows, columns
        self._move(self._row, self._column)

    def feed(self, data: bytes) -> None:
        """Take output of the program."""
        text = self._begun + self._decoder.decode(data)
        begun = _BEGUN.search(text)
        end = begun.start() if begun else len(text)
        self._begun = text[end:]
        at = 0
        while at < end:
            found = _OUTPUT.match(text, at, end)
            if found is None:
                self.unknown = self.unknown or text[max(0, at - 20) : at + 40]
                at += 1
                continue
            at = found.end()
            if found["text"] is not None:
                self._put(found["text"])
            elif found["final"] is not None:
                self._obey(found["private"], found["numbers"], found["final"])
            elif found["control"] == "\r":
                self._column = 0
            elif found["control"] == "\n":
                self._move(self._row + 1, self._column)
            elif found["control"] == "\b":
                self._move(self._row, self._column - 1)

    def _move(self, row: int, column: int) -> None:
        self._row = max(0, min(row, self.rows - 1))
        self._column = max(0, min(column, self.columns - 1))

    def _put(self, text: str) -> None:
        row, at = self.cells[self._row], self._column
        if text.isascii() and at + len(text) <= self.columns:
            self._free(row, at, at + len(text))
            row[at : at + len(text)] = text
            self._column = at + len(text)
            return
        for character in text:
            width = _width(character)
            if width <= 0:
                before = max(0, at - 1)
                before -= row[before] == _WIDE_FILL and before > 0
                row[before] += character
                continue
            at = min(at, self.columns - width)
            if at < 0:
                break
            self._free(row, at, at + width)
            row[at : at + width] = [character, *[_WIDE_FILL] * (width - 1)]
            at += width
        self._column = at

    def _free(self, row: list[str], start: int, end: int) -> None:
        """Take away the halves of wide characters that are written over."""
        if start < len(row) and row[start] == _WIDE_FILL:
            row[start - 1] = " "
        if end < len(row) and row[end] == _WIDE_FILL:
            row[end] = " "

    def _obey(self, private: str, numbers: str, final: str) -> None:
        if private:
            return
        values = [int(n) for n in numbers.split(";") if n.isdigit()]
        if final in "Hf":
            row, column = [*values, 1, 1][:2] if values else (1, 1)
            self._move(row - 1, column - 1)
        elif final == "J" and (values or [0])[0] in (2, 3):
            self.cells = [[" "] * self.columns for _ in range(self.rows)]
        elif final == "K":
            way = (values or [0])[0]
            row = self.cells[self._row]
            first = self._column if way == 0 else 0
            last = self._column + 1 if way == 1 else self.columns
            row[first:last] = [" "] * (last - first)
        elif final in "ABCD":
            count = (values or [1])[0] or 1
            down, right = {"A": (-1, 0), "B": (1, 0), "C": (0, 1), "D": (0, -1)}[final]
            self._move(self._row + down * count, self._column + right * count)
        elif final not in "mhlutnc" and final != "p":
            self.unknown = self.unknown or f"CSI {numbers}{final}"


class WalkTerminal(PseudoTerminal):
    """A program in a pseudo-terminal that can go on for hours.

    Args:
        file: The script of the program, see `scripted_program`.
        environ: The whole environment.
        home: Where the program runs.
    """

    def __init__(self, file: Path, environ: dict[str, str], home: Path) -> None:
        super().__init__(
            [str(file)],
            environ,
            (ROWS, COLUMNS),
            (sys.executable, "-m", "tests.e2e.scripted_program"),
            home,
        )
        self.painted = Painted(ROWS, COLUMNS)
        self.is_open = True
        self.taken = 0
        """Bytes that have come."""
        self.sent: deque[tuple[float, bytes]] = deque(maxlen=24)
        """What was written last, and when."""

    @property
    def lines(self) -> list[str]:
        """The screen, read anew."""
        self.read()
        return self.painted.lines

    def _feed(self, data: bytes) -> None:
        self.taken += len(data)
        self.output = self.output[-KEPT_BYTES:]
        self.painted.feed(data)

    def read(self, wait_s: float = 0.0) -> bool:
        """Take what the program has written; False once it has closed the terminal."""
        if self.is_open:
            self.is_open = super().read(wait_s)
        return self.is_open

    def send(self, data: bytes) -> None:
        """Write to the program, while reading what it paints.

        Raises:
            Fault: If it takes nothing for a long time.
        """
        limit = time.monotonic() + HANG_S
        self.sent.append((time.monotonic(), data))
        descriptor = self.child.child_fd
        while data and self.is_open:
            if select.select([], [descriptor], [], 0.01)[1]:
                try:
                    data = data[os.write(descriptor, data[:1024]) :]
                except OSError:
                    self.is_open = False
            self.read()
            if time.monotonic() > limit:
                raise Fault("hang", "the program reads no keys")

    def resize(self, rows: int, columns: int) -> None:
        """Another size of the window."""
        if self.is_open:
            self.painted.resize(rows, columns)
            self.child.setwinsize(rows, columns)

    def rest(self, quiet_s: float = 0.05, most_s: float = 1.0) -> None:
        """Read until nothing has come for a while."""
        limit = time.monotonic() + most_s
        before = -1
        while before != self.taken and self.is_open and time.monotonic() < limit:
            before = self.taken
            self.read(quiet_s)


# Comparing ----------------------------------------------------------------------------------------


def letters(text: str) -> str:
    """The letters and digits of a text."""
    return "".join(c for c in text if c.isalnum())


@cache
def _body(text: str, is_reply: bool) -> str:
    blocks = Blocks(new_parser() if is_reply else None)
    blocks.show(safe_text(text))
    blocks.read_all()
    return letters("".join(b.lead + content_of(b, blocks.env).plain for b in blocks.list))


@dataclass(slots=True)
class Expected:
    """What the end of a chat has to look like."""

    text: str = ""
    """Letters and digits, top to bottom."""
    sides: set[str] = field(default_factory=set)
    """What may stand at the right of a row, beside a message."""


def expected(messages: Sequence[tuple[Message, tuple[int, int]]]) -> Expected:
    """What messages have to look like.

    Args:
        messages: The end of the path, each with its version.
    """
    now = datetime.now().astimezone()
    result = Expected()
    for message, version in messages:
        is_reply = message.role == "assistant"
        if message.is_note:
            result.text += letters(note_text(message))
        result.text += _body(message.text, is_reply)
        side = side_text(message, version)
        if is_reply:
            result.text += letters(safe_line(mark_text(message)) + meta_text(message, now))
        else:
            who = f"you  {time_text(message, now)}"
            side = f"{side}  {who}" if side else who
        if side:
            result.sides.add(side)
    return result


_LABEL = re.compile(r"(?:\S+  )?\d+ ⧉$")


def painted_letters(rows: Sequence[str], sides: set[str]) -> str:
    """Letters and digits of painted rows of the transcript, without what stands beside them."""
    result: list[str] = []
    for row in rows:
        row = row.rstrip(" ▁▂▃▄▅▆▇█▔▕▐")
        if row.startswith("┄┄"):
            continue
        for side in sorted(sides, key=len, reverse=True):
            if row.endswith(f"   {side}"):
                row = row[: -len(side)].rstrip()
                break
        result.append(letters(_LABEL.sub("", row)))
    return "".join(result)


def transcript_rows(lines: Sequence[str]) -> list[str]:
    """The rows between the title and the rule above the prompt."""
    rules = [i for i, line in enumerate(lines) if line == "─" * COLUMNS]
    return list(lines[1 : rules[-1]]) if rules else []


def difference(lines: Sequence[str], state: dict[str, Any]) -> str:
    """How the painted rows differ from the end of the chat; empty if they do not."""
    wanted = expected(state["messages"])
    rows = transcript_rows(lines)
    if not rows:
        return "there is no rule above the prompt"
    shown = painted_letters(rows, wanted.sides)
    is_whole = state["count"] == len(state["messages"])
    if shown == wanted.text and is_whole:
        return ""
    if shown and wanted.text.endswith(shown):
        if any(rows[:3]) and (len(shown) < len(wanted.text) or not is_whole):
            return ""
        return f"the text above is missing: {wanted.text[: -len(shown)][-80:]!r}"
    return f"painted  ...{shown[-400:]}\nexpected ...{wanted.text[-400:]}"


# Walking ------------------------------------------------------------------------------------------


class Fault(AssertionError):
    """Something that the program must not do.

    Args:
        kind: In few words; two faults of one kind are taken for the same.
        detail: What is known of it.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}\n{detail}")
        self.kind = kind
        self.detail = detail


_LOG_FAULT = re.compile(r"^(?:.*Traceback \(most.*|\S+ \S+ (?:ERROR|CRITICAL) .*)$", re.MULTILINE)
_RAISED = re.compile(r"^([A-Za-z_.]*(?:Error|Exception|Matches|Interrupt|Exit)\b.*)$", re.MULTILINE)
_AT = re.compile(
    r'((?:tui_chat|textual|rich|asyncio)/[\w/]*\.py)[":]\S* (?:line )?(?:\d+,? )?in (\w+)'
)
_MOUSE = re.compile(rb"\x1b\[<(\d+);(\d+);(\d+)([Mm])")
_CLICKS = re.compile(rb"(\x1b\[<0[^m]*m)\x1b\[<0")
_CLOSES = re.compile(rb"\x1b\Z|\r|\x1b\[<[02];")
"""Keys that may close a screen."""
_LEAVES = (b"\x03", b"\x11", b"/q", b"\x10")
"""What may leave the program: the keys, the command, and the palette that has it."""


class Walk:
    """A program that is walked through.

    Args:
        home: An empty folder.
        seed: Of the replies.
        model: A real model; the script if it is empty.
        left_out: Kinds of faults that are known, see `LEFT_OUT`.
    """

    def __init__(
        self, home: Path, seed: int, model: str = "", left_out: frozenset[str] = LEFT_OUT
    ) -> None:
        self.home = home
        self.left_out = left_out
        self.known: Counter[str] = Counter()
        """How often faults of the kinds that are left out came all the same."""
        self.seed = seed
        self._model = model
        self._log = home / "tui-chat" / "logs" / "tui-chat.log"
        self._log_at = 0
        self._report = home / "report.pickle"
        self._number = 0
        self._words = self._hovers = 0
        self._recent: deque[bytes] = deque(maxlen=8)
        self.comparisons = self.starts = 0
        self.terminal = self._start()

    def _start(self) -> WalkTerminal:
        self.home.mkdir(parents=True, exist_ok=True)
        editor = self.home / "editor"
        editor.write_text('#!/bin/sh\nprintf "edited outside" > "$1"\n')
        editor.chmod(0o755)
        script = self.home / "script.json"
        options: dict[str, Any] = {"report": str(self._report), "toast_s": 0.3}
        if self._model:
            options["model"] = self._model
        else:
            options |= {"replies": replies_of(self.seed), "token_s": 0.003, "prefill_s": 0.01,
                        "load_s": 0.003}  # fmt: skip
        script.write_text(json.dumps(options))
        variables = environment(self.home, EDITOR=str(editor), BROWSER="true", NO_AT_BRIDGE="1")
        terminal = WalkTerminal(script, variables, self.home)
        self.starts += 1
        self._number = 0
        self._report.unlink(missing_ok=True)
        self._recent.clear()
        limit = time.monotonic() + START_S
        while "Type a message" not in "\n".join(terminal.lines):
            terminal.read(0.02)
            if not terminal.is_open or time.monotonic() > limit:
                self.terminal = terminal
                raise self._ended() if not terminal.is_open else Fault("does not start")
        return terminal

    def close(self) -> None:
        """End the program by force."""
        self.terminal.__exit__()

    # Steps

    def take(self, step: Step) -> None:
        """Do a step.

        Raises:
            Fault: If the program does what it must not.
        """
        try:
            self._take(step)
        except Fault as fault:
            for name in self.left_out & _KNOWN.keys():
                if re.search(_KNOWN[name], fault.kind):
                    self.known[f"{name}: {fault.kind}"] += 1
                    self._again()
                    return
            raise

    def _again(self) -> None:
        """Start the program again, whatever its state."""
        self.terminal.__exit__()
        self._log_at = self._log.stat().st_size if self._log.exists() else 0
        self.terminal = self._start()

    def _take(self, step: Step) -> None:
        terminal = self.terminal
        match step:
            case Send(data):
                self._recent.append(data)
                for part in self._apart(self._inside(data)):
                    terminal.send(part)
                if "closing-list" in self.left_out and _CLOSES.search(data):
                    terminal.rest(0.02, 0.1)
                else:
                    self._pace()
            case Resize(rows, columns):
                terminal.resize(rows, columns)
                if "mouse-beyond" in self.left_out:
                    terminal.rest(0.03, 0.3)
                else:
                    self._pace()
            case Stop(name, milliseconds):
                os.kill(terminal.pid, signal.Signals[f"SIG{name}"])
                terminal.rest(milliseconds / 1000, milliseconds / 1000)
                self._continue()
            case Continue():
                os.kill(terminal.pid, signal.SIGCONT)
                self._pace()
            case Rest():
                terminal.rest()
            case Check():
                self.check()
            case Quit(data):
                self._quit(data)
        if not self.terminal.is_open:
            self._take_end()
        if self.terminal.painted.unknown:
            raise Fault("the terminal was sent what it must not be", self.terminal.painted.unknown)

    def _apart(self, data: bytes) -> Iterator[bytes]:
        """The bytes, with a moment between clicks if what a click closes must be closed first."""
        while "closing-list" in self.left_out and (clicks := _CLICKS.match(data)):
            yield clicks[1]
            self.terminal.rest(0.02, 0.1)
            data = data[clicks.end(1) :]
        yield data

    def _inside(self, data: bytes) -> bytes:
        """The bytes with what the mouse does moved into the window, if it has to be there."""
        if "mouse-beyond" not in self.left_out:
            return data
        painted = self.terminal.painted

        def moved(found: re.Match[bytes]) -> bytes:
            column, row = min(int(found[2]), painted.columns), min(int(found[3]), painted.rows)
            return b"\x1b[<%b;%d;%d%b" % (found[1], column, row, found[4])

        return _MOUSE.sub(moved, data)

    def _continue(self) -> None:
        """Continue the process, once it has stopped; a stop that is on its way would win."""
        limit = time.monotonic() + HANG_S
        while _state(self.terminal.pid) != "T":
            self.terminal.read(0.002)
            if time.monotonic() > limit or not self.terminal.is_open:
                return
        os.kill(self.terminal.pid, signal.SIGCONT)
        while self.terminal.is_open and self.terminal.has_its_modes_back():
            self.terminal.read(0.002)
            if time.monotonic() > limit:
                raise Fault("hang", "the terminal is not taken again after a stop")
        self._pace()

    def _pace(self) -> None:
        """Go on as soon as something was painted, and soon in any case."""
        self.terminal.read(0.006)

    def _quit(self, data: bytes) -> None:
        state = self._come_home(is_patient=False)
        if state is None:
            return
        if data == b"\x03":  # twice, with what it says in between
            self.terminal.send(data)
            self.terminal.rest()
        self.terminal.send(data)
        self._recent.append(b"\x11")
        self._wait(lambda: not self.terminal.is_open, "the program does not end")
        self._take_end(state)

    def _take_end(self, state: dict[str, Any] | None = None) -> None:
        """The program has ended: see that it was asked to, and start it again."""
        fault = self._ended()
        if fault.kind:
            raise fault
        if state is not None:
            self._compare_saved(state)
        self.terminal.__exit__()
        self.terminal = self._start()

    def _ended(self) -> Fault:
        """How the program ended; of no kind if all is well."""
        child = self.terminal.child
        limit = time.monotonic() + HANG_S
        while child.isalive():
            if time.monotonic() > limit:
                return Fault("the terminal is closed, and the program goes on")
            select.select([], [], [], 0.01)
        code = -child.signalstatus if child.signalstatus is not None else child.exitstatus
        self._read_log()
        said = self.terminal.output.rpartition(b"\x1b[?1049l")[2].decode(errors="replace")
        if code:
            return Fault(f"exit code {code}", said)
        if "Traceback" in said or "Error" in said:
            return Fault("a traceback at the end", said)
        if not any(word in b"".join(self._recent) for word in _LEAVES):
            return Fault("it left without being asked", said)
        return Fault("")

    def _compare_saved(self, state: dict[str, Any]) -> None:
        """Nothing that was said may be lost."""
        said = [m for m, _ in state["messages"] if m.role != "system" and not m.is_note]
        if not said:
            return
        with read_transcripts(self.home / "tui-chat" / "transcripts.db") as reader:
            saved = reader.load(state["chat"])
        for message in said:
            if message.id not in saved:
                raise Fault("a message is not saved", repr(message))
            text = saved[message.id].text
            is_kept = text.startswith(message.text) if message.is_unfinished else (
                text == message.text
            )  # fmt: skip
            if not is_kept:
                raise Fault("a message is saved as another one", f"{message!r}\n{text!r}")

    # Checking

    def check(self) -> None:
        """Leave all screens, type a word, and compare what is painted with the text."""
        state = self._come_home()
        if state is None:
            return
        self._probe()
        if not self.terminal.is_open:
            return
        self.terminal.send(b"\x1b[1;5F")
        limit = time.monotonic() + PAINT_S
        while True:
            state = self._state()
            if state is None:
                return
            if state["is_busy"] or state["state"] == "loading":
                limit = time.monotonic() + PAINT_S
            self.terminal.read(0.01)
            wrong = "" if not state["messages"] else difference(self.terminal.lines, state)
            if not wrong:
                break
            if time.monotonic() > limit:
                raise Fault("painted rows differ", f"{wrong}\n{_short(state)}")
        self.comparisons += 1
        self._read_log()

    def _probe(self) -> None:
        """Type a word, see it, and take it away again."""
        self._words += 1
        word = f"zq{self._words}x"
        self.terminal.send(word.encode())
        self._wait(lambda: f"› {word}" in self.terminal.text, f"{word} is not painted")
        self.terminal.send(b"\x03")
        self._wait(lambda: "› Type a message" in self.terminal.text, f"{word} is not cleared")

    def _come_home(self, is_patient: bool = True) -> dict[str, Any] | None:
        """Leave all screens with keys that a person would press; None if the program ended.

        Args:
            is_patient: Wait for replies and models.
        """
        terminal = self.terminal
        terminal.send(b"\x1b[<0;1;1m\x1b[I")  # no button is held, and the terminal has the focus
        if (terminal.painted.rows, terminal.painted.columns) != (ROWS, COLUMNS):
            terminal.resize(ROWS, COLUMNS)
        self._catch_up()
        limit = time.monotonic() + REPLY_S
        pressed: list[tuple[bytes, str]] = []
        in_vain, is_sure = 0, False
        while (state := self._state()) is not None:
            if time.monotonic() > limit or len(pressed) > 16:
                tried = "\n".join(f"{key!r} {before}" for key, before in pressed[-8:])
                raise Fault("the prompt is out of reach", f"{tried}\n{_short(state)}")
            is_busy = state["is_busy"] or state["state"] == "loading"
            is_main = state["screen"] == "ChatScreen"
            if state["size"] != (COLUMNS, ROWS):
                terminal.read(0.01)
                continue
            if is_main and is_busy and is_patient:
                terminal.read(0.02)
                continue
            is_home = state["focus"] == "prompt" and not (
                state["is_editing"] or state["is_completing"] or state["has_panel"]
                or state["has_find_bar"] or state["has_notice"]
            )  # fmt: skip
            if is_main and is_home and not state["draft"]:
                if is_sure:
                    return state
                is_sure = True  # but what was pressed before may still open something
                terminal.rest(0.06, 0.4)
                self._catch_up()
                continue
            is_sure = False
            key = _ESC
            if is_main and state["focus"] == "prompt" and state["draft"]:
                is_stuck = state["selected"][1] and "selected-draft" in self.left_out
                key = b"\x1b[F" if is_stuck else b"\x03"
                key = _ESC if state["is_editing"] or state["is_completing"] else key
            elif is_main and state["has_find_bar"] and state["focus"] == "prompt":
                key = b"\x06"
            if in_vain >= 4 and "lost-focus" in self.left_out and is_main:
                in_vain = 0
                row = next((i for i, r in enumerate(terminal.lines) if r.startswith(" › ")), 0)
                key = b"\x1b[<0;9;%dM\x1b[<0;9;%dm" % (row + 1, row + 1)
                self.known["lost-focus"] += 1
            pressed.append((key, _short(state)))
            self._recent.append(key)  # Ctrl+C on a draft that was just cleared may leave
            terminal.send(key)
            self._catch_up()
            before = _place(state)
            soon = time.monotonic() + 0.3
            while (after := self._state()) is not None and _place(after) == before:
                terminal.read(0.01)
                if time.monotonic() > soon:
                    in_vain += 1
                    break
            else:
                in_vain = 0
        return None

    def _catch_up(self) -> None:
        """Wait until the program has read all that was sent: it says where it saw the mouse."""
        if self.terminal.sent and self.terminal.sent[-1][1].endswith(_ESC):
            self.terminal.rest(0.04, 0.2)
        self._hovers = self._hovers % 90 + 1
        self.terminal.send(b"\x1b[<35;%d;1M" % (self._hovers + 1))
        limit = time.monotonic() + HANG_S
        again = time.monotonic() + HOVER_S
        while (state := self._state()) is not None and state["mouse"] != (self._hovers, 0):
            if time.monotonic() > again:  # an editor may have had the terminal, and read it
                again += HOVER_S
                self.terminal.send(b"\x1b[<35;%d;1M" % (self._hovers + 1))
            if time.monotonic() > limit:
                raise Fault("hang", f"a move of the mouse is not read: {_short(state)}")
            self.terminal.read(0.005)
        self.terminal.rest(0.03, 0.3)

    def _state(self) -> dict[str, Any] | None:
        """What the program says of its screens; None if it has ended.

        Raises:
            Fault: If its loop does not answer.
        """
        limit = time.monotonic() + HANG_S
        if not self.terminal.read() or _state(self.terminal.pid) == "Z":
            self.terminal.is_open = False
            return None
        os.kill(self.terminal.pid, signal.SIGUSR1)
        while True:
            if self._report.exists():
                state: dict[str, Any] = pickle.loads(self._report.read_bytes())
                if state["number"] > self._number:
                    self._number = state["number"]
                    return state
            if not self.terminal.read(0.003):
                return None
            if time.monotonic() > limit:
                raise Fault("hang", "the loop of the program does not answer")

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + HANG_S
        while self.terminal.is_open and not is_so():
            self.terminal.read(0.01)
            if time.monotonic() > limit:
                raise Fault("a key has no effect", what)

    def _read_log(self) -> None:
        """See that nothing went wrong that only the log tells of."""
        if not self._log.exists():
            return
        size = self._log.stat().st_size
        with self._log.open(errors="replace") as file:
            file.seek(self._log_at if size >= self._log_at else 0)
            text = file.read()
        self._log_at = size
        if _LOG_FAULT.search(text):
            raised = [r for r in _RAISED.findall(text) if not r.startswith("Traceback")]
            places = _AT.findall(text)
            where = " in ".join(reversed(places[-1])) if places else ""
            first = raised[-1] if raised else _LOG_FAULT.findall(text)[-1][20:]
            raise Fault(f"logged: {first[:100]} ({where})", text[-6000:])

    def explanation(self) -> str:
        """The last screen, what was printed, and the end of the log."""
        terminal = self.terminal
        child = terminal.child
        tail = self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""
        now = time.monotonic()
        sent = "\n".join(f"{at - now:8.3f} {data!r}" for at, data in terminal.sent)
        size = f"{terminal.painted.columns}x{terminal.painted.rows}"
        return (
            f"exit status: {child.exitstatus}, signal: {child.signalstatus}\n"
            f"--- screen {size}\n" + "\n".join(terminal.painted.lines) + "\n"
            f"--- sent\n{sent}\n--- output\n{terminal.output[-300:]!r}\n--- log\n{tail}"
        )


def _place(state: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(state[k] for k in state if k not in ("number", "messages", "count", "mouse"))


def _short(state: dict[str, Any]) -> str:
    return repr({k: v for k, v in state.items() if k != "messages"})


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@dataclass(slots=True)
class Outcome:
    """How a walk went."""

    taken: int
    """Steps."""
    fault: Fault | None = None
    explanation: str = ""
    comparisons: int = 0
    starts: int = 0
    known: dict[str, int] = field(default_factory=dict)
    """How often faults of the kinds that are left out came."""


def run_steps(
    steps: Sequence[Step], seed: int, model: str = "", left_out: frozenset[str] = LEFT_OUT
) -> Outcome:
    """Take steps in a fresh home, then check.

    Args:
        steps: Them.
        seed: Of the replies.
        model: A real model; the script if it is empty.
        left_out: Kinds of faults that are known, see `LEFT_OUT`.
    """
    home = Path(tempfile.mkdtemp(prefix="walk-"))
    walk: Walk | None = None
    taken = 0
    try:
        walk = Walk(home / "home", seed, model, left_out)
        for step in steps:
            taken += 1
            walk.take(step)
        walk.take(Check())
        walk.take(Quit(b"\x11"))
        return Outcome(taken, None, "", walk.comparisons, walk.starts, dict(walk.known))
    except Fault as fault:
        shown = "" if walk is None else walk.explanation()
        return Outcome(taken, fault, shown)
    finally:
        if walk is not None:
            walk.close()
        shutil.rmtree(home, ignore_errors=True)


def shrunk(
    steps: Sequence[Step],
    seed: int,
    kind: str,
    model: str = "",
    limit_s: float = 120.0,
    left_out: frozenset[str] = LEFT_OUT,
) -> list[Step]:
    """Fewer steps that lead to a fault of the same kind: the end of them, then without parts.

    Args:
        steps: Those up to the fault.
        seed: Of the replies.
        kind: Of the fault.
        model: A real model; the script if it is empty.
        limit_s: How long to try.
        left_out: Kinds of faults that are known, see `LEFT_OUT`.
    """
    limit = time.monotonic() + limit_s

    def fails(some: Sequence[Step]) -> bool:
        if time.monotonic() > limit:
            return False
        fault = run_steps(some, seed, model, left_out).fault
        return fault is not None and fault.kind == kind

    best = list(steps)
    length = 3
    while length < len(best):
        if fails(best[-length:]):
            best = best[-length:]
            break
        length *= 4
    parts = 2
    while len(best) > 1 and time.monotonic() < limit:
        size = -(-len(best) // parts)
        for start in range(0, len(best), size):
            fewer = best[:start] + best[start + size :]
            if fewer and fails(fewer):
                best, parts = fewer, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(best), parts * 2)
    return best


def report(seed: int, steps: Sequence[Step], outcome: Outcome, small: Sequence[Step]) -> str:
    """What to say of a fault."""
    assert outcome.fault is not None
    code = "".join(f"    {step!r},\n" for step in small)
    return (
        f"seed {seed}, step {outcome.taken} of {len(steps)}: {outcome.fault.kind}\n"
        f"{outcome.fault.detail}\n{outcome.explanation}\n"
        f"--- {len(small)} steps lead to it:\nSTEPS = [\n{code}]\n"
        f"run_steps(STEPS, {seed})\n"
    )


def walk_or_fail(
    seed: int,
    count: int,
    model: str = "",
    shrink_s: float = 120.0,
    left_out: frozenset[str] = LEFT_OUT,
) -> Outcome:
    """Walk; a fault is shrunk and told.

    Raises:
        AssertionError: If there was a fault.
    """
    steps = steps_of(seed, count, left_out)
    outcome = run_steps(steps, seed, model, left_out)
    if outcome.fault is not None:
        small = steps[: outcome.taken]
        if shrink_s:
            small = shrunk(small, seed, outcome.fault.kind, model, shrink_s, left_out)
        raise AssertionError(report(seed, steps, outcome, small))
    return outcome


def main() -> int:
    """`make walk`: walk after walk, each with the next seed, until there were enough steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000, help="how many in all")
    parser.add_argument("--seed", type=int, default=None, help="of the first walk")
    parser.add_argument("--each", type=int, default=1000, help="steps of one walk")
    parser.add_argument("--model", default="", help="a real model, as guide; else a script")
    parser.add_argument("--shrink", type=float, default=300.0, help="seconds for each fault")
    parser.add_argument("--keep-in", default="", help="kinds that are left out, to be kept in")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    left_out = LEFT_OUT - frozenset(options.keep_in.split(","))
    faults, done = 0, 0
    while done < options.steps:
        count = min(options.each, options.steps - done)
        began = time.monotonic()
        try:
            outcome = walk_or_fail(seed, count, options.model, options.shrink, left_out)
            took = time.monotonic() - began
            known = "".join(f"\n    {n} x {what}" for what, n in outcome.known.items())
            print(
                f"seed {seed}: {count} steps, {outcome.comparisons} comparisons, "
                f"{outcome.starts} starts, {took:.1f} s{known}",
                flush=True,
            )
        except AssertionError as error:
            faults += 1
            print(f"{error}\n{'=' * 100}", flush=True)
        done += count
        seed += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
