"""Noise for the user's side of training dialogues, in the ways in which people really type.

It varies case, punctuation, politeness, typos, word order and missing words. Answers stay as they
are.
"""

from __future__ import annotations

import random
import re

from tui_chat.guide.synonyms import exchanged


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_QUESTION_STARTS = _words(
    "how what which where why when who can could is are does do will would should may am was were "
    "whats what's who's where's did has have"
)
_OPENERS = (
    "hey,", "hi,", "hello,", "please", "quick question:", "so", "ok,", "ok so", "and", "sorry,",
    "hmm,", "excuse me,", "one more thing:", "um,", "also,", "well,", "now", "tell me,", "hi!",
    "hello guide,", "question:", "hi there,", "another question:", "i was wondering,", "say,",
    "just curious,", "oh and", "but", "i'm new here,", "could you tell me", "do you know",
    "please tell me", "i have a question:", "let's say", "right,", "good,", "thanks,", "great,",
)  # fmt: skip
_CLOSERS = (
    "please", "pls", "thanks", "here", "in this program", "in tui-chat", "in this app", "exactly",
    "then", "again", "somehow", "on my machine", "right now", "now", "in the chat", "with you",
    "anyway", "actually", "with the keyboard", "today", "quickly", "in this chat", "in here",
    "if possible", "thank you", "from here", "in this tool", "by the way", "at all", "myself",
    "by typing", "with a command", "as a command", "with a slash command", "if that is possible",
    "when i am done", "for me", "the easy way", "without the mouse", "or not", "or what",
)  # fmt: skip
_FILLERS_TEXT = (
    "actually basically really just simply quite maybe perhaps still already even rather "
    "though honestly currently usually suddenly always ever often quickly well ok uh like "
    "dear kindly somehow certainly apparently finally mostly today tomorrow sometimes"
)
_FILLERS = tuple(_FILLERS_TEXT.split())
_SHORTER = (
    (r"\bhow do i\b", "how'd i"), (r"\bwhat is\b", "what's"), (r"\bi am\b", "i'm"),
    (r"\bdo not\b", "don't"), (r"\bdoes not\b", "doesn't"), (r"\bcannot\b", "can't"),
    (r"\byou\b", "u"), (r"\bplease\b", "pls"), (r"\bmessage\b", "msg"), (r"\bwhere is\b", "wheres"),
    (r"\bwant to\b", "wanna"), (r"'", ""), (r"\band\b", "&"), (r"\bparameters\b", "params"),
)  # fmt: skip
_ABBREVIATION = re.compile(
    r"\b(ttft|kv|gpu|cpu|json|cuda|bpe|llm|osc|eos|tui|vram|ram|oom|ai|ssh|mps|api|cli|gb|id|ids|hf|"
    r"tv|usa|dna|html|sql|f[1-9])\b"
)
_KEY = re.compile(r"(?<![/\w-])(ctrl|shift|alt|esc|enter|delete|backspace|pgup|pgdn)(\+\w+)?\b")
_SMALL_WORDS = _words(
    "the a an to of in on is are do does i my me it this that for with from by one some can"
)
_NEIGHBOURS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "r": "et",
    "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "y": "tu",
}  # fmt: skip


def _typo(word: str, rng: random.Random) -> str:
    if len(word) < 4 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    near = _NEIGHBOURS.get(word[at].lower(), word[at])
    return word[:at] + rng.choice(near) + word[at + 1 :]


def _drop_words(text: str, rng: random.Random) -> str:
    words = text.split()
    if len(words) < 5:
        return text
    small = [i for i, word in enumerate(words) if word.lower() in _SMALL_WORDS]
    if not small or rng.random() < 0.3:
        # Names such as `/retry`, `top_k` or `F2` stay: the question means nothing without them.
        small = [i for i, word in enumerate(words) if word.isalpha()] or [0]
    drop = rng.choice(small)
    return " ".join(word for i, word in enumerate(words) if i != drop)


def _punctuated(text: str, rng: random.Random) -> str:
    first = text.split(" ", 1)[0].lower().strip(",:")
    asks = first in _QUESTION_STARTS or rng.random() < 0.3
    draw = rng.random()
    if asks:
        return text + ("?" if draw < 0.68 else "??" if draw < 0.7 else " ?" if draw < 0.73 else "")
    return text + ("." if draw < 0.3 else "!" if draw < 0.36 else "")


def _named(text: str, rng: random.Random) -> str:
    """Write names and abbreviations as many people do: `KV cache`, `Ctrl+R`, `Paris`."""
    if rng.random() < 0.65:
        text = _ABBREVIATION.sub(lambda match: match.group().upper(), text)
    if rng.random() < 0.5:
        text = _KEY.sub(lambda match: match.group().title(), text)
    if rng.random() < 0.1:
        words = text.split(" ")
        at = rng.randrange(len(words))
        words[at] = words[at][:1].upper() + words[at][1:]
        text = " ".join(words)
    return text


def _cased(text: str, rng: random.Random) -> str:
    text = _named(text, rng)
    draw = rng.random()
    if draw < 0.03:
        return text.upper()
    if draw < 0.4:
        return text.lower() if draw < 0.1 else text
    text = re.sub(r"\bi\b(?!/)", "I", text)
    return text[:1].upper() + text[1:]


def _blended(text: str, other: str, rng: random.Random) -> str:
    """Mix two wordings: one after the other, or the start of one with the end of the other."""
    if rng.random() < 0.5:
        return f"{text}{rng.choice((',', '.', '?', ' -', ', i mean', ', or', ' and'))} {other}"
    first, second = text.split(" "), other.split(" ")
    return " ".join(
        first[: max(1, round(len(first) * rng.uniform(0.4, 0.8)))]
        + second[round(len(second) * rng.uniform(0.2, 0.6)) :]
    )


def _reordered(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    if len(words) < 3:
        return text
    if rng.random() < 0.5:
        at = rng.randrange(1, len(words))
        return " ".join(words[at:] + words[:at])
    at = rng.randrange(len(words) - 1)
    words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def _scattered(text: str, rng: random.Random) -> str:
    """Shuffle all words, as the meaning of a question hardly depends on their order."""
    words = text.split(" ")
    rng.shuffle(words)
    return " ".join(words)


def _thinned(text: str, rng: random.Random) -> str:
    """Drop a fifth of the plain words, so that no single word determines the answer."""
    words = text.split(" ")
    kept = [word for word in words if not word.isalpha() or rng.random() > 0.2]
    return " ".join(kept) if len(kept) > 1 else text


def _keywords(text: str) -> str:
    kept = [w for w in text.split(" ") if w not in _SMALL_WORDS and w not in _QUESTION_STARTS]
    return " ".join(kept) if len(kept) > 1 else text


def spoken(wording: str, rng: random.Random, other: str = "") -> str:
    """Turn a plain wording into something that a person might type.

    Args:
        wording: The question.
        rng: The source of the noise.
        other: Another wording of the same question, to be mixed in at times; empty for none.
    """
    text = wording
    if other and rng.random() < 0.25:
        text = _blended(text, other, rng)
    if rng.random() < 0.5:
        text = exchanged(text, rng, 0.35)
    if rng.random() < 0.1:
        text = _reordered(text, rng)
    if rng.random() < 0.07:
        text = _keywords(text)
    if rng.random() < 0.3:
        text = _thinned(text, rng)
    if rng.random() < 0.12:
        text = _scattered(text, rng)
    if rng.random() < 0.16:
        text = f"{rng.choice(_OPENERS)} {text}"
    if rng.random() < 0.12:
        text = f"{text} {rng.choice(_CLOSERS)}"
    if rng.random() < 0.1:
        pattern, short = rng.choice(_SHORTER)
        text = re.sub(pattern, short, text)
    return _cased(_punctuated(_worn(text, rng), rng), rng)


def _worn(text: str, rng: random.Random) -> str:
    """Drop words, insert fillers and misspell."""
    for _ in range(rng.choices((0, 1, 2, 3), (70, 16, 9, 5))[0]):
        text = _drop_words(text, rng)
    words = text.split(" ")
    if rng.random() < 0.12:
        words.insert(rng.randrange(len(words) + 1), rng.choice(_FILLERS))
    if rng.random() < 0.12:
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(len(words))
            words[at] = _typo(words[at], rng)
    return " ".join(words)
