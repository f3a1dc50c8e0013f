"""The steps of a random walk: what each does, and how a seed makes scenes of them.

A walk is a list of steps; the n-th depends on the seed and on n alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.e2e.painted_terminal import COLUMNS, ROWS

BLOCK = 12
"""Steps that are made together, as a scene on one of the screens."""
CHECK_EVERY = 5
"""Blocks from one check to the next."""


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

ESC = b"\x1b"
_ENTER, _TAB = b"\r", b"\t"
_ARROWS = (b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D")
_SPECIAL = (
    *_ARROWS, _ENTER, ESC, _TAB, b"\x1b[Z", b"\x7f", b"\x1b[3~", b"\x1b[5~", b"\x1b[6~",
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

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

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
            yield Send(ESC)
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
            return Send(ESC)
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
            yield self.one_of(ESC, b"/stop\r", b"\x0e")
        if self.chance.random() < 0.5:
            yield Rest()
        if self.chance.random() < 0.3:
            yield Send(self.typed() + b"\n" + self.typed() + _ENTER)

    def reading(self) -> Iterator[Step]:
        keys = (b"\x1b[5~", b"\x1b[6~", b"\x1b[5~" * 3, b"\x1b[<64;30;12M" * 5,
                b"\x1b[<65;30;12M" * 2, b"\x1b[1;3A", b"\x1b[1;3B", b"\x1b[1;5F")  # fmt: skip
        yield from self.several(keys, 4, BLOCK)

    def transcript(self) -> Iterator[Step]:
        yield Send(ESC)
        keys = (
            *(c.encode() for c in "jjkkkgGyuer>zZ+-pxfjk"), b"\x1b[D", b"\x1b[C", b"\x1b[D",
            b"\x1b[3~", b"\x1b[A", b"\x1b[B", b"\x1b[F", b"jk", b"kk", b"zz", b"u\x1b[C",
        )  # fmt: skip
        yield from self.several(keys, 3, BLOCK - 3)
        yield from self.maybe_esc()

    def editing(self) -> Iterator[Step]:
        yield Send(ESC)
        yield from self.several((b"k", b"j"), 0, 2)
        yield Send(b"e")
        yield Send(self.typed())
        yield self.one_of(_ENTER, _ENTER, ESC, b"\x1b[A", b"\x0e")
        yield from self.several((b"\x1b[D", b"\x1b[C", ESC, b"z", b"\x1b[5~"), 0, 4)

    def commands(self) -> Iterator[Step]:
        for _ in range(3):
            yield Send(self.chance.choice(_COMMANDS).encode() + _ENTER)
            yield from self.several((*_ARROWS, ESC, _ENTER, b"\x1b[6~"), 0, 2)
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
        yield self.one_of(_ENTER, ESC)
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
        if self.chance.random() < 0.3:
            yield Send(_ENTER + _ENTER)
        yield self.one_of(_ENTER, _ENTER, ESC)
        yield Rest()
        yield from self.maybe_esc()

    def tree(self) -> Iterator[Step]:
        yield Send(b"\x14")
        keys = (*_ARROWS, *(c.encode() for c in "jkhlnNbpzZgG "), _TAB, b"\x1b[3~", b"\x1b[6~")
        yield from self.several(keys, 1, 7)
        yield self.one_of(_ENTER, ESC, b"\x14")
        yield from self.maybe_esc()

    def search(self) -> Iterator[Step]:
        yield Send(b"/search\r")
        yield self.one_of(b"the", b"table", b"hel", b"zzz", "語".encode())
        yield from self.several((b"\x1b[B", b"\x1b[A", b"e", b"\x7f", b"\x1b[6~"), 1, 5)
        yield Rest()
        yield self.one_of(_ENTER, ESC)
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
        yield self.one_of(_ENTER, ESC, ESC)
        yield Rest()
        yield from self.maybe_esc()

    def best(self) -> Iterator[Step]:
        if self.chance.random() < 0.8:
            yield Send(b"/set temperature=0.8\r")
        yield Send(self.typed())
        yield self.one_of(b"\x1b[17~", b"\x01\x0b/best 3\r")
        keys = (b"\x1b[C", b"\x1b[D", b"j", b"k", b"\x1b[6~", b"s", b"g", b"G", b" ")
        yield from self.several(keys, 0, 5)
        yield self.one_of(b"1", b"2", _ENTER, ESC)
        yield from self.maybe_esc()

    def judging(self) -> Iterator[Step]:
        """The menu of a message, ranks, labels."""
        yield Send(ESC)
        yield from self.several((b"k", b"j"), 0, 2)
        yield self.one_of(_ENTER, b"o", b"l", _ENTER, b"l")
        keys = (*_ARROWS, b"1", b"2", b"3", b" ", _TAB, b"J", b"K", b"a", b"r", b"z", b"words")
        yield from self.several(keys, 1, 6)
        yield self.one_of(_ENTER, ESC)
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
        yield Stop(self.chance.choice(("STOP", "TSTP")), self.chance.randint(1, 60))
        yield Send(self.typed())
        yield Continue()
        yield self.special()

    def pastes(self) -> Iterator[Step]:
        for _ in range(2):
            rubbish = self.chance.choice(_RUBBISH)
            if self.chance.random() < 0.5:
                rubbish = self.chance.choice(_WILD_RUBBISH)
            yield Send(b"\x1b[200~" + rubbish.encode() + b"\x1b[201~")
            if self.chance.random() < 0.3:
                yield Send(self.chance.choice(_NO_UTF8))
            yield self.one_of(_ENTER, ESC, b"\x7f", b"\x1a", b"\x1b[A")
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


def steps_of(seed: int, count: int) -> list[Step]:
    """The first steps of the walk of a seed.

    Args:
        seed: Any number.
        count: How many.
    """
    steps: list[Step] = []
    for number in range(-(-count // BLOCK)):
        scene = _Scenes(random.Random(f"{seed}/{number}")).scene()
        if number % CHECK_EVERY == CHECK_EVERY - 1:
            scene[-1] = Check()
        steps += scene
    return steps[:count]
