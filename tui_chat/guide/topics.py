"""The corpus as topics, each a question in many wordings with its answer.

`build` reads `corpus/*.toml`, expands the wordings and adds the topics of `declared`; `facts` fills
in placeholders. A question of the held-out set never becomes a wording.
"""

from __future__ import annotations

import hashlib
import random
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tui_chat.chat.params import PARAM_SPECS, find_spec
from tui_chat.guide import declared, grammar, synonyms
from tui_chat.guide.corpus_files import CORPUS
from tui_chat.guide.facts import fill, first_key, named_action

HELD_OUT_HASHES = "held_out.sha256"
_NOT_WORD = re.compile(r"[^a-z0-9+/<>^]+")
_KNOWN = frozenset({"ask", "do", "noun", "term", "answer", "then", "weight", "per_line"})


class CorpusError(ValueError):
    """A corpus file that breaks the rules; the message names the topic."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A question in many wordings, with its answer."""

    id: str
    wordings: tuple[str, ...]
    answer: str
    then: Mapping[str, str] = field(default_factory=dict)
    """Answers to follow-up questions, by kind."""
    weight: float = 1.0
    said: tuple[str, ...] = ()
    """Wordings from `corpus/said`: hand-written, with a far larger vocabulary."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A kind of question that depends on the turn before, such as `and how do I undo that`."""

    kind: str
    wordings: tuple[str, ...]
    fallback: str
    """The answer if the topic of the turn before has none for this kind."""
    said: tuple[str, ...] = ()
    """Wordings from `corpus/said/follow.toml`."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """All topics and follow-ups, from which training dialogues are drawn."""

    topics: tuple[Topic, ...]
    follow_ups: tuple[FollowUp, ...]

    def wordings(self) -> Iterable[str]:
        """Yield every wording of every topic and follow-up."""
        for topic in self.topics:
            yield from (*topic.wordings, *topic.said)
        for follow in self.follow_ups:
            yield from (*follow.wordings, *follow.said)

    def answers(self) -> Iterable[str]:
        """Yield every answer, including answers to follow-ups."""
        for topic in self.topics:
            yield topic.answer
            yield from topic.then.values()
        yield from (follow.fallback for follow in self.follow_ups)


def normalised(text: str) -> str:
    """Return a wording without case and punctuation, for comparing questions.

    Slash, plus, caret and angle brackets stay: `/stop` and `stop` are different questions.
    """
    return _NOT_WORD.sub(" ", text.lower()).strip()


def digest(text: str) -> str:
    """Return the hash of a normalised question, in the form stored in `held_out.sha256`."""
    return hashlib.sha256(normalised(text).encode()).hexdigest()[:24]


def held_out_digests() -> frozenset[str]:
    """Return the hashes of the questions that must not become wordings."""
    path = CORPUS / HELD_OUT_HASHES
    return frozenset(path.read_text("ascii").split()) if path.is_file() else frozenset()


def _read_tables() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    topics: dict[str, dict[str, Any]] = {}
    words: dict[str, dict[str, Any]] = {"slots": {}, "frames": {}, "names": {}, "follow": {}}
    for path in sorted(CORPUS.glob("*.toml")):
        if path.name == synonyms.FILE:
            continue
        tables = tomllib.loads(path.read_text("utf-8"))
        for name in ("slots", "frames", "names"):
            words[name].update(tables.pop(name, {}))
        if path.stem == "follow":
            words["follow"] = tables
            continue
        for topic_id, table in tables.items():
            unknown = set(table) - _KNOWN
            if unknown or topic_id in topics or "answer" not in table:
                raise CorpusError(f"{path.name} [{topic_id}]: {unknown or 'twice, or no answer'}")
            topics[topic_id] = table
    return topics, words


def _read_said() -> dict[str, tuple[str, ...]]:
    """Return the hand-written wordings by topic; those of follow-ups have the key `follow.KIND`."""
    held_out = held_out_digests()
    said: dict[str, tuple[str, ...]] = {}
    for path in sorted((CORPUS / "said").glob("*.toml")):
        prefix = "follow." if path.stem == "follow" else ""
        for name, text in tomllib.loads(path.read_text("utf-8")).items():
            if prefix + name in said:
                raise CorpusError(f"{path.name} [{name}]: twice")
            lines = (line for line in _lines(text) if digest(line) not in held_out)
            said[prefix + name] = tuple(lines)
    return said


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines() if line.strip()]


class _Expander:
    """A seeded expander of wording lines that leaves out held-out questions and duplicates."""

    def __init__(self, words: Mapping[str, Mapping[str, Any]], seed: int) -> None:
        self._slots = words["slots"]
        self._frames = {name: _lines(text) for name, text in words["frames"].items()}
        self._seed = seed
        self._taken = set[str]()
        self._held_out = held_out_digests()

    def expand(self, topic_id: str, groups: list[tuple[list[str], int]]) -> tuple[str, ...]:
        """Draw up to the given number of different wordings from each group of lines."""
        rng = random.Random(f"{self._seed} {topic_id}")
        wordings: list[str] = []
        for lines, wanted in groups:
            choices = [grammar.parse(line, self._slots) for line in lines]
            wordings += self._draw(rng, choices, wanted)
        return tuple(wordings)

    def _draw(self, rng: random.Random, choices: list[grammar.Choice], wanted: int) -> list[str]:
        drawn: list[str] = []
        tries = wanted * 3
        while choices and len(drawn) < wanted and tries > 0:
            tries -= 1
            wording = grammar.tidy(choices[tries % len(choices)].sample(rng))
            key = normalised(wording)
            if not key or key in self._taken or digest(wording) in self._held_out:
                continue
            self._taken.add(key)
            drawn.append(wording)
        return drawn

    def framed(self, kind: str, line: str) -> list[str]:
        """Put a phrase into every sentence frame of a kind."""
        return [frame.replace("{}", f"({line})") for frame in self._frames[kind]]

    def tasks(self, topic_id: str, lines: list[str], wanted: int) -> list[str]:
        """Return questions of how to do something, from verb phrases such as `stop a reply`."""
        rng = random.Random(f"{self._seed} do {topic_id}")
        phrases = [grammar.parse(line, self._slots) for line in lines]
        forms = (
            ("base", 12, None), ("third", 2, grammar.third_person),
            ("gerund", 3, grammar.gerund), ("terse", 1, None),
        )  # fmt: skip
        pool = [form for form in forms for _ in range(form[1])]
        sentences: list[str] = []
        for number in range(wanted if phrases else 0):
            kind, _, inflect = rng.choice(pool)
            phrase = grammar.tidy(phrases[number % len(phrases)].sample(rng))
            frame = rng.choice(self._frames[kind])
            sentences.append(frame.replace("{}", inflect(phrase) if inflect else phrase))
        return sentences


def _groups(
    expander: _Expander, topic_id: str, table: Mapping[str, Any], term: str
) -> list[tuple[list[str], int]]:
    """Return a topic's wording lines in groups, with the number of wordings to draw from each."""
    asks = _lines(table.get("ask", ""))
    do = _lines(table.get("do", ""))
    nouns, terms = table.get("noun", ""), "|".join(filter(None, (table.get("term", ""), term)))
    per_line = table.get("per_line", 14)
    tasks = expander.tasks(topic_id, do, 160 + 40 * len(do))
    return [
        (asks, len(asks) * per_line),
        (tasks, len(tasks)),
        (expander.framed("noun", nouns) if nouns else [], 24 + 12 * (nouns.count("|") + 1)),
        (expander.framed("term", terms) if terms else [], 60 + 16 * (terms.count("|") + 1)),
    ]


def _then(topic_id: str, table: Mapping[str, Any]) -> dict[str, str]:
    answer = table["answer"]
    then: dict[str, str] = {}
    if key_action := named_action(answer, "key"):
        then["key"] = f"The key is {first_key(key_action)}."
    if slash_action := named_action(answer, "slash"):
        then["command"] = f"The command is `{slash_action.command}`."
    specs = {spec.name: spec for spec in PARAM_SPECS} | {"stop_strings": find_spec("stop")}
    if topic_id in specs:
        then |= declared.param_facts(specs[topic_id])
    then |= table.get("then", {})
    return {kind: fill(text) for kind, text in then.items()}


def build(seed: int = 0) -> Corpus:
    """Read the corpus and expand it.

    Raises:
        CorpusError: If a file has an unknown key, a duplicate topic or a topic without an answer,
            or if wordings are given for a topic that does not exist.
        GrammarError: If a wording cannot be parsed.
        FactError: If an answer names a key, command or parameter that does not exist.
    """
    tables, words = _read_tables()
    said = _read_said()
    expander = _Expander(words, seed)
    follow_ups = []
    for kind, table in words["follow"].items():
        lines = _lines(table["ask"])
        wordings = expander.expand(f"then {kind}", [(lines, len(lines) * 14)])
        written = said.pop(f"follow.{kind}", ())
        follow_ups.append(FollowUp(kind, wordings, fill(table["fallback"]), written))
    topics: list[Topic] = []
    for topic_id, table in tables.items():
        term = words["names"].get("stop" if topic_id == "stop_strings" else topic_id, "")
        term = term if topic_id != "stop" else ""
        wordings = expander.expand(topic_id, _groups(expander, topic_id, table, term))
        topic = Topic(topic_id, wordings, fill(table["answer"]), _then(topic_id, table))
        written = said.pop(topic_id, ())
        topics.append(replace(topic, weight=table.get("weight", 1.0), said=written))
    for source in declared.sources(words["names"]):
        lines = [frame.replace("{}", f"({source.names})") for frame in source.frames]
        wordings = expander.expand(source.id, [(lines, len(lines) * 5)])
        then = {kind: fill(text) for kind, text in source.then.items()}
        topics.append(Topic(source.id, wordings, fill(source.answer), then, source.weight))
    if said:
        raise CorpusError(f"corpus/said has wordings for what is no topic: {', '.join(said)}")
    return Corpus(tuple(topics), tuple(follow_ups))
