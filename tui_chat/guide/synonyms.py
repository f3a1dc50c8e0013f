"""Synonyms for single words of a question, from `corpus/synonyms.toml`, inflected as needed.

They show training far more words than the wordings contain.
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
    """Return the replacements of every replaceable word, in each of its forms."""
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
    """Replace each replaceable word with probability `share`.

    A word next to a slash, a dash or another sign is part of a name such as `/stop`, and stays.
    """
    words = text.split(" ")
    for at, word in enumerate(words):
        bare = word.rstrip(",.?!:")
        others = table().get(bare) if _WORD.fullmatch(bare) else None
        if others and rng.random() < share:
            words[at] = rng.choice(others) + word[len(bare) :]
    return " ".join(words)
