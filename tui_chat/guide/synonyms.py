"""Words that may stand for each other in a question: `corpus/synonyms.toml`, bent as needed.

Owns the replacing of single words, so that training meets far more words than the wordings hold.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable
from functools import cache

from tui_chat.guide import grammar
from tui_chat.guide.corpus_files import CORPUS

FILE = "synonyms.toml"
_WORD = re.compile(r"[a-z]+")
_BENDINGS: tuple[Callable[[str], str], ...] = (
    str,
    grammar.third_person,
    grammar.gerund,
    grammar.past,
)


@cache
def table() -> dict[str, tuple[str, ...]]:
    """Every word that can be replaced, in each of its forms, with what may replace it."""
    tables = tomllib.loads((CORPUS / FILE).read_text("utf-8"))
    found: dict[str, list[str]] = {}
    for word, line in tables["verbs"].items():
        for bend in _BENDINGS:
            found.setdefault(bend(word), []).extend(bend(other) for other in line.split("|"))
    for word, line in tables["nouns"].items():
        for bend in (str, grammar.plural):
            found.setdefault(bend(word), []).extend(bend(other) for other in line.split("|"))
    for word, line in tables["others"].items():
        found.setdefault(word, []).extend(line.split("|"))
    return {word: tuple(dict.fromkeys(others)) for word, others in found.items()}


def exchanged(text: str, rng: random.Random, share: float) -> str:
    """Replace about that share of the words that can be replaced.

    A word beside a slash, a dash or a sign is part of a name, as in `/stop`, and stays.
    """
    words = text.split(" ")
    for at, word in enumerate(words):
        bare = word.rstrip(",.?!:")
        others = table().get(bare) if _WORD.fullmatch(bare) else None
        if others and rng.random() < share:
            words[at] = rng.choice(others) + word[len(bare) :]
    return " ".join(words)
