"""Training dialogues drawn from the corpus: single questions, follow-ups and long chats.

Each message says whether the loss counts it. A reply that the user stopped is context only, so that
the model does not learn to break off.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tui_chat.guide.augment import spoken
from tui_chat.guide.topics import Corpus, FollowUp, Topic, digest, held_out_digests

VALIDATION_SHARE = 0.03
SAID_SHARE = 0.6
"""Share of questions drawn from the hand-written wordings, for topics that have some."""
_SYSTEM_MESSAGES = (
    "You are a helpful assistant.", "You are guide, the built-in model of tui-chat.", "Be brief.",
    "Answer in one or two sentences.", "You are a friendly helper.", "Be polite and exact.",
    "You are an expert for this program.", "Answer as shortly as you can.", "Speak like a pirate.",
    "You are a patient teacher who explains everything step by step.", "Always tell the truth.",
    "Today is Monday.", "The user is called Ada.", "Be kind. Use simple words.", "Do not guess.",
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible.",
    "Below is a chat between a person and an assistant.", "Reply in English.", "No small talk.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of a training dialogue."""

    role: str
    """`system`, `prompter` or `assistant`."""
    text: str
    learned: bool = False
    """Whether the loss counts this message and its end token."""


class DialogueSource:
    """A seeded source of dialogues, for training or validation.

    Each topic's wordings are split between the two sides, except for topics with fewer than 20
    wordings, which both sides use.
    """

    def __init__(self, corpus: Corpus, seed: int, validation: bool = False) -> None:
        self._rng = random.Random(f"{seed} {validation}")
        self._plain = validation
        self._topics = [t for t in corpus.topics if t.wordings]
        self._wordings = {t.id: _side(t.wordings, validation) for t in self._topics}
        self._said = {t.id: _side(t.said, validation) for t in self._topics}
        self._topics = [t for t in self._topics if self._wordings[t.id]]
        self._weights = [t.weight for t in self._topics]
        self._follows = {f.kind: f for f in corpus.follow_ups}
        self._follow_wordings = {
            f.kind: _side(f.wordings, validation) or f.wordings for f in corpus.follow_ups
        }
        self._follow_said = {f.kind: _side(f.said, validation) for f in corpus.follow_ups}
        self._held_out = held_out_digests()

    def wordings_of(self, topic_id: str) -> tuple[str, ...]:
        """Return the wordings of a topic on this side of the split."""
        return self._wordings[topic_id]

    def exchange(self) -> list[Turn]:
        """Return a question with its answer, often followed by questions that depend on it."""
        rng = self._rng
        if rng.random() < 0.04:
            return self._follow(rng.choice(list(self._follows.values())), None)
        topic = rng.choices(self._topics, self._weights)[0]
        turns = self._asked(self._wordings[topic.id], self._said[topic.id], topic.answer)
        kinds = list(topic.then)
        while rng.random() < (0.3 if kinds else 0.05):
            kind = rng.choice(kinds) if kinds and rng.random() < 0.85 else rng.choice(
                ("undo", "why", "more", "lost")
            )  # fmt: skip
            turns += self._follow(self._follows[kind], topic)
        return turns

    def dialogue(self, exchanges: int) -> list[Turn]:
        """Return several unrelated exchanges in one chat, with some replies stopped.

        Args:
            exchanges: Number of exchanges, not counting follow-ups.
        """
        turns: list[Turn] = []
        if self._rng.random() < 0.15:
            turns.append(Turn("system", self._rng.choice(_SYSTEM_MESSAGES)))
        for _ in range(exchanges):
            turns += self.exchange()
            if self._rng.random() < 0.06:
                turns[-1] = self._stopped(turns[-1])
        return turns

    def _asked(self, expanded: tuple[str, ...], said: tuple[str, ...], answer: str) -> list[Turn]:
        wordings = said if said and self._rng.random() < SAID_SHARE else expanded
        wording, other = self._rng.choice(wordings), self._rng.choice(wordings)
        question = wording if self._plain else spoken(wording, self._rng, other)
        if digest(question) in self._held_out:
            question = wording
        return [Turn("prompter", question), Turn("assistant", answer, learned=True)]

    def _follow(self, follow: FollowUp, topic: Topic | None) -> list[Turn]:
        answer = topic.then.get(follow.kind, follow.fallback) if topic else follow.fallback
        kind = follow.kind
        return self._asked(self._follow_wordings[kind], self._follow_said[kind], answer)

    def _stopped(self, turn: Turn) -> Turn:
        words = turn.text.split(" ")
        kept = self._rng.randrange(0, len(words))
        return Turn(turn.role, " ".join(words[:kept]))

    def endless(self) -> Iterator[list[Turn]]:
        """Yield dialogues of the training mixture: mostly short, some long."""
        while True:
            draw = self._rng.random()
            if draw < 0.9:
                yield self.dialogue(1)
            elif draw < 0.985:
                yield self.dialogue(self._rng.randint(2, 3))
            else:
                yield self.dialogue(self._rng.randint(5, 9))


def _side(wordings: tuple[str, ...], validation: bool) -> tuple[str, ...]:
    """Return the wordings of one side; the split depends on their hashes only."""
    share = int(VALIDATION_SHARE * 0x1000)
    if len(wordings) < 20:
        return wordings
    return tuple(w for w in wordings if (int(digest(w)[:3], 16) < share) == validation)
