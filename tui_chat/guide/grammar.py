"""The small wording language of the corpus: alternatives, options, slots and verb forms.

It turns one line such as `how do i (stop|halt) [the] <reply>` into many sentences, whatever they
are about.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

_SLOT = re.compile(r"<([a-z][a-z0-9_]*)>")
_SPACES = re.compile(r"\s+")


class GrammarError(ValueError):
    """A wording that cannot be parsed; the message contains the line."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice between sequences, each a tuple of literal texts and further choices."""

    options: tuple[tuple[str | Choice, ...], ...]

    def sample(self, rng: random.Random) -> str:
        """Return a random sentence; every option of a choice is equally likely."""
        option = self.options[rng.randrange(len(self.options))]
        return "".join(p if isinstance(p, str) else p.sample(rng) for p in option)

    def count(self) -> int:
        """Return how many sentences this can become, counting duplicates."""
        total = 0
        for option in self.options:
            product = 1
            for part in option:
                product *= 1 if isinstance(part, str) else part.count()
            total += product
        return total


def parse(line: str, slots: Mapping[str, str]) -> Choice:
    """Parse a line: `(a|b)` is a choice, `[a]` and `(a)?` are optional, `<name>` is a named slot.

    Raises:
        GrammarError: If brackets do not match or a slot has no entry.
    """
    text = _fill_slots(line, slots)
    choice, end = _parse_until(text, 0, "")
    if end != len(text):
        raise GrammarError(f"unexpected {text[end]!r} in: {line}")
    return choice


def _fill_slots(line: str, slots: Mapping[str, str]) -> str:
    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in slots:
            raise GrammarError(f"there is no slot <{name}>, used in: {line}")
        return f"({slots[name]})"

    for _ in range(6):
        filled = _SLOT.sub(fill, line)
        if filled == line:
            return line
        line = filled
    raise GrammarError(f"slots refer to themselves: {line[:80]}")


def _parse_until(text: str, start: int, closing: str) -> tuple[Choice, int]:
    options: list[tuple[str | Choice, ...]] = []
    parts: list[str | Choice] = []
    literal: list[str] = []
    position = start

    def flush() -> None:
        if literal:
            parts.append("".join(literal))
            literal.clear()

    while position < len(text):
        char = text[position]
        if char in ")]":
            break
        if char in "([":
            flush()
            inner, position = _parse_until(text, position + 1, ")" if char == "(" else "]")
            optional = char == "["
            if text[position + 1 : position + 2] == "?":
                optional, position = True, position + 1
            if optional:
                inner = Choice((*inner.options, ()))
            parts.append(inner)
        elif char == "|":
            flush()
            options.append(tuple(parts))
            parts = []
        else:
            literal.append(char)
        position += 1
    flush()
    options.append(tuple(parts))
    found = text[position] if position < len(text) else ""
    if found != closing:
        raise GrammarError(f"expected {closing or 'the end'!r}, found {found!r} in: {text[:80]}")
    return Choice(tuple(options)), position


def tidy(sentence: str) -> str:
    """Collapse the spaces that omitted options leave behind."""
    return _SPACES.sub(" ", sentence).strip().replace(" ,", ",")


_DOUBLED_TEXT = (
    "stop get quit put set cut let run begin flip drop forget step swap skip trim permit shut "
    "plan hit sit win rid scrap log spot tap grab fit split wrap strip chop nap jot"
)
_DOUBLED = frozenset(_DOUBLED_TEXT.split())
_IRREGULAR = {"have": ("has", "having"), "be": ("is", "being"), "see": ("sees", "seeing")}


def third_person(phrase: str) -> str:
    """Return a verb phrase in the third person: `copy a reply` becomes `copies a reply`."""
    verb, space, rest = phrase.partition(" ")
    if verb in _IRREGULAR:
        form = _IRREGULAR[verb][0]
    elif verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        form = verb + "es"
    elif verb.endswith("y") and verb[-2:-1] not in "aeiou":
        form = verb[:-1] + "ies"
    else:
        form = verb + "s"
    return form + space + rest


def gerund(phrase: str) -> str:
    """Return a verb phrase as a gerund: `stop a reply` becomes `stopping a reply`."""
    verb, space, rest = phrase.partition(" ")
    if verb in _IRREGULAR:
        form = _IRREGULAR[verb][1]
    elif verb in _DOUBLED:
        form = verb + verb[-1] + "ing"
    elif verb.endswith("ie"):
        form = verb[:-2] + "ying"
    elif verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        form = verb[:-1] + "ing"
    else:
        form = verb + "ing"
    return form + space + rest


def past(phrase: str) -> str:
    """Return a verb phrase in the past tense: `stop a reply` becomes `stopped a reply`."""
    verb, space, rest = phrase.partition(" ")
    if verb in _PAST:
        form = _PAST[verb]
    elif verb in _DOUBLED:
        form = verb + verb[-1] + "ed"
    elif verb.endswith("e"):
        form = verb + "d"
    elif verb.endswith("y") and verb[-2:-1] not in "aeiou":
        form = verb[:-1] + "ied"
    else:
        form = verb + "ed"
    return form + space + rest


def plural(noun: str) -> str:
    """Return the plural of a noun: `reply` becomes `replies`."""
    if noun.endswith("s"):
        return noun
    if noun.endswith(("x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


_PAST = {
    "begin": "began", "break": "broke", "bring": "brought", "build": "built", "choose": "chose",
    "come": "came", "cut": "cut", "do": "did", "draw": "drew", "fall": "fell", "feel": "felt",
    "find": "found", "forget": "forgot", "get": "got", "give": "gave", "go": "went", "have": "had",
    "hit": "hit", "hold": "held", "keep": "kept", "know": "knew", "leave": "left", "let": "let",
    "lose": "lost", "make": "made", "mean": "meant", "pay": "paid", "put": "put", "quit": "quit",
    "read": "read", "rebuild": "rebuilt", "run": "ran", "say": "said", "see": "saw",
    "send": "sent", "set": "set", "show": "showed", "shut": "shut", "speak": "spoke",
    "spell": "spelled", "stand": "stood", "stick": "stuck", "strike": "struck", "take": "took",
    "tell": "told", "think": "thought", "throw": "threw", "undo": "undid", "write": "wrote",
    "rewrite": "rewrote", "redo": "redid", "be": "was", "understand": "understood",
    "shrink": "shrank", "unmake": "unmade", "remake": "remade", "work": "worked", "wind": "wound",
}  # fmt: skip
