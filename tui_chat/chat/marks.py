"""The user's marks on messages and chats: ratings, labels, ranks, reports, pins, notes and tags.

The label names and their scales are Open Assistant's. The values are independent of the tree that
they belong to, and each class converts itself to and from JSON values.
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
"""Labels that apply to replies only."""
REPORT_TYPES = ("spam", "offensive", "feedback")


@dataclass(frozen=True, slots=True)
class Report:
    """A user's report of a problem with a message."""

    kind: str
    """One of `REPORT_TYPES`, or another value from an imported file."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A summary that replaces all turns up to the message that carries it as a mark."""

    text: str
    created: datetime
    model: str = ""
    """The name of the model that wrote it."""
    precision: str = ""
    tokens: int = 0
    """Its length as written by the model, in tokens; 0 if unknown."""
    edited: bool = False
    """Whether a person has changed it."""

    def to_values(self) -> dict[str, Any]:
        """Return the note as JSON values; the time is in ISO 8601, UTC."""
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
        """Return the note that `to_values` wrote; None if the values have no usable text."""
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
    """All marks on a message: judgements, and how it takes part in the prompt."""

    rating: int = 0
    """1 for good, -1 for bad, 0 for none."""
    rank: int | None = None
    """Place among its siblings, 0 for the best; None if they have not been ranked."""
    all_flawed: bool = False
    """Whether the user called all its siblings and it flawed; then none of them has a rank."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """Values from 0 to 1 by label."""
    reports: tuple[Report, ...] = ()
    pinned: bool = False
    """Whether it is always sent, however long the chat is."""
    excluded: bool = False
    """Whether it is never sent."""
    branch: str = ""
    """The name of the branch that begins with it."""
    edited: bool = False
    """Whether a person wrote or changed the text of a reply."""
    note: Note | None = None
    """The note that replaces the turns up to this message in the prompt."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further values from an imported file, kept for a later export."""

    def __bool__(self) -> bool:
        """Return whether anything is marked."""
        return self != _NONE

    def to_values(self) -> dict[str, Any]:
        """Return the values that differ from their defaults, as JSON values."""
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
        """Return the marks that `to_values` wrote, leaving out invalid values."""
        if not values:
            return NO_MARKS  # the usual case, so a long chat loads without building objects
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
            if known["extra"].get("all_flawed") is True:  # older databases store it here
                known["all_flawed"] = known["extra"].pop("all_flawed")
        return cls(**known)


_NONE = Marks()
_MARKS = tuple(f.name for f in fields(Marks) if f.name not in ("reports", "note"))
NO_MARKS = _NONE
"""Marks of a message that has none."""


@dataclass(frozen=True, slots=True)
class Preference:
    """A user's choice of one reply over others to the same message."""

    chosen: str
    """The id of the chosen reply."""
    rejected: tuple[str, ...]
    """The ids of the other replies."""
    source: str = "best"
    """Where the choice was made: `best` for a best-of."""

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all replies involved."""
        return frozenset((self.chosen, *self.rejected))

    def to_values(self) -> dict[str, Any]:
        """Return the preference as JSON values."""
        return {
            "chosen": self.chosen,
            "rejected": list(self.rejected),
            "source": self.source,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Preference:
        """Return the preference that `to_values` wrote, with defaults for missing values."""
        return cls(
            str(values.get("chosen", "")),
            tuple(str(i) for i in values.get("rejected") or ()),
            str(values.get("source", "best")),
        )


@dataclass(frozen=True, slots=True)
class ChatDetails:
    """The user's marks on a whole chat."""

    tags: tuple[str, ...] = ()
    archived: bool = False
    allow_data_use: bool = True
    """Whether the chat may be exported for training."""
    reviewed: bool = False
    """Whether its owner declared it ready for training."""
    preferences: tuple[Preference, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further values from an imported file."""

    def to_values(self) -> dict[str, Any]:
        """Return the values that differ from their defaults, as JSON values."""
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
        """Return the details that `to_values` wrote, leaving out invalid values."""
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
    """Parse a time in ISO 8601; return the beginning of 1970 if it cannot be read."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None:
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    return datetime(1970, 1, 1, tzinfo=UTC)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
