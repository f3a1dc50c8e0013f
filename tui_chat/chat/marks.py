"""What is said about messages and chats: ratings, labels, ranks, pins, notes, tags.

Owns the names and value scales of Open Assistant's labels, and how such judgements are written
down. Refuses to know the tree they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

LabelKind = Literal["yes_no", "flag", "scale"]
"""`yes_no` and `flag` are 0 or 1; `scale` has the five steps of `SCALE`."""
SCALE = (0.0, 0.25, 0.5, 0.75, 1.0)

LABELS: Mapping[str, LabelKind] = MappingProxyType({
    "spam": "yes_no", "fails_task": "yes_no",
    "lang_mismatch": "flag", "pii": "flag", "not_appropriate": "flag", "hate_speech": "flag",
    "sexual_content": "flag", "moral_judgement": "flag", "political_content": "flag",
    "quality": "scale", "toxicity": "scale", "humor": "scale", "helpfulness": "scale",
    "creativity": "scale", "violence": "scale",
})  # fmt: skip
"""Open Assistant's text labels, in the order of its forms."""
OF_REPLIES = frozenset({"fails_task", "helpfulness"})
"""Labels that only replies have."""
REPORT_TYPES = ("spam", "offensive", "feedback")


@dataclass(frozen=True, slots=True)
class Report:
    """Somebody says that something is wrong with a message."""

    kind: str
    """One of `REPORT_TYPES`, or what an imported file says."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A summary that stands for all turns up to the message that it is a mark of."""

    text: str
    created: datetime
    model: str = ""
    """The name of the model that wrote it."""
    precision: str = ""
    tokens: int = 0
    """As the model wrote it; 0 if not known."""
    edited: bool = False
    """Whether a person has changed it."""

    def to_values(self) -> dict[str, Any]:
        """The note as JSON values; the time in ISO 8601, UTC."""
        return {
            "text": self.text,
            "created": self.created.astimezone(UTC).isoformat(timespec="microseconds"),
            "model": self.model,
            "precision": self.precision,
            "tokens": self.tokens,
            "edited": self.edited,
        }

    @classmethod
    def from_values(cls, values: object) -> Note | None:
        """What `to_values` wrote; None where that cannot be meant."""
        if not isinstance(values, Mapping):
            return None
        text, tokens = values.get("text"), values.get("tokens")
        if not isinstance(text, str) or not text.strip():
            return None
        return cls(
            text,
            _moment(values.get("created")),
            str(values.get("model", "")),
            str(values.get("precision", "")),
            tokens if isinstance(tokens, int) and tokens >= 0 else 0,
            values.get("edited") is True,
        )


@dataclass(frozen=True, slots=True)
class Marks:
    """All judgements about a message, and how it takes part in the prompt."""

    rating: int = 0
    """1 for good, -1 for bad, 0 for none."""
    rank: int | None = None
    """Place among its siblings, 0 for the best; None while they are not ranked."""
    all_flawed: bool = False
    """Whether it was called no good together with all its siblings; none has a rank then."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """Values 0 to 1, by label."""
    reports: tuple[Report, ...] = ()
    pinned: bool = False
    """Always sent, however long the chat is."""
    excluded: bool = False
    """Never sent."""
    branch: str = ""
    """The name of the branch that begins here."""
    edited: bool = False
    """Whether a person wrote or changed the text of a reply."""
    note: Note | None = None
    """What is sent instead of the turns up to here."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What an imported file said beyond this, to be given back when it is exported."""

    def __bool__(self) -> bool:
        """Whether anything is marked."""
        return self != _NONE

    def to_values(self) -> dict[str, Any]:
        """What is not at its default, as JSON values."""
        values: dict[str, Any] = {}
        for name in _MARKS:
            value = getattr(self, name)
            if value != getattr(_NONE, name):
                values[name] = dict(value) if isinstance(value, Mapping) else value
        if self.reports:
            values["reports"] = [{"kind": r.kind, "reason": r.reason} for r in self.reports]
        if self.note is not None:
            values["note"] = self.note.to_values()
        return values

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Marks:
        """What `to_values` wrote. What cannot be meant is left out."""
        if not values:
            return NO_MARKS  # as most messages of a long chat have
        known: dict[str, Any] = {}
        rating, rank = values.get("rating"), values.get("rank")
        if rating in (1, -1):
            known["rating"] = rating
        if isinstance(rank, int) and not isinstance(rank, bool) and rank >= 0:
            known["rank"] = rank
        labels = values.get("labels")
        if isinstance(labels, Mapping):
            known["labels"] = {str(n): float(v) for n, v in labels.items() if _is_share(v)}
        reports = values.get("reports")
        if isinstance(reports, list):
            known["reports"] = tuple(
                Report(str(r.get("kind", "")), str(r.get("reason", "")))
                for r in reports
                if isinstance(r, Mapping)
            )
        for name in ("all_flawed", "pinned", "excluded", "edited"):
            if values.get(name) is True:
                known[name] = True
        if isinstance(values.get("branch"), str):
            known["branch"] = values["branch"]
        if (note := Note.from_values(values.get("note"))) is not None:
            known["note"] = note
        if isinstance(values.get("extra"), Mapping):
            known["extra"] = dict(values["extra"])
            if known["extra"].get("all_flawed") is True:  # where it was kept before
                known["all_flawed"] = known["extra"].pop("all_flawed")
        return cls(**known)


_NONE = Marks()
_MARKS = tuple(f.name for f in fields(Marks) if f.name not in ("reports", "note"))
NO_MARKS = _NONE
"""Nothing is marked."""


@dataclass(frozen=True, slots=True)
class Preference:
    """One reply was chosen before others to the same message."""

    chosen: str
    """Its id."""
    rejected: tuple[str, ...]
    """The ids of the others."""
    source: str = "best"
    """How it came about: `best` of several drafts."""

    @property
    def ids(self) -> frozenset[str]:
        """All replies that it is about."""
        return frozenset((self.chosen, *self.rejected))

    def to_values(self) -> dict[str, Any]:
        """It as JSON values."""
        return {
            "chosen": self.chosen,
            "rejected": list(self.rejected),
            "source": self.source,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Preference:
        """What `to_values` wrote. What cannot be meant is left out."""
        return cls(
            str(values.get("chosen", "")),
            tuple(str(i) for i in values.get("rejected") or ()),
            str(values.get("source", "best")),
        )


@dataclass(frozen=True, slots=True)
class ChatDetails:
    """What is said about a whole chat."""

    tags: tuple[str, ...] = ()
    archived: bool = False
    allow_data_use: bool = True
    """Whether it may leave through an export for training."""
    reviewed: bool = False
    """Whether its owner has called it ready for training."""
    preferences: tuple[Preference, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What an imported file said beyond this."""

    def to_values(self) -> dict[str, Any]:
        """What is not at its default, as JSON values."""
        values: dict[str, Any] = {}
        if self.tags:
            values["tags"] = list(self.tags)
        for name in ("archived", "allow_data_use", "reviewed"):
            if getattr(self, name) != getattr(_PLAIN_CHAT, name):
                values[name] = getattr(self, name)
        if self.preferences:
            values["preferences"] = [p.to_values() for p in self.preferences]
        if self.extra:
            values["extra"] = dict(self.extra)
        return values

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> ChatDetails:
        """What `to_values` wrote. What cannot be meant is left out."""
        known: dict[str, Any] = {}
        tags = values.get("tags")
        if isinstance(tags, list):
            known["tags"] = tuple(tag for tag in tags if isinstance(tag, str))
        for name in ("archived", "allow_data_use", "reviewed"):
            if isinstance(values.get(name), bool):
                known[name] = values[name]
        preferences = values.get("preferences")
        if isinstance(preferences, list):
            known["preferences"] = tuple(
                Preference.from_values(p) for p in preferences if isinstance(p, Mapping)
            )
        if isinstance(values.get("extra"), Mapping):
            known["extra"] = dict(values["extra"])
        return cls(**known)


_PLAIN_CHAT = ChatDetails()


def _moment(value: object) -> datetime:
    """A moment in ISO 8601; the beginning of 1970 where it cannot be read."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None:
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    return datetime(1970, 1, 1, tzinfo=UTC)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
