"""The mapping between a message and the fields of a node in Open Assistant's format.

`node_fields` converts a message to a node, `message_of_node` does the reverse. Fields of an
imported node that a `Message` cannot hold are kept in `Marks.extra`, and an export writes them
again as long as they agree with the message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from tui_chat.chat.conversation import Message, Role, now
from tui_chat.chat.marks import Marks, Report
from tui_chat.storage.database.records import utc_text, utc_time

KEY = "oasst"
"""Key in `extra` for the data of this format."""
RANKED = "ranked_replies"
"""Key for the imported order of replies that have ranks but no ranking event.

It is in the data under `KEY` and not a field of the format.
"""
NODE_FIELDS = (
    "message_id", "parent_id", "user_id", "created_date", "text", "role", "lang", "review_count",
    "review_result", "deleted", "rank", "synthetic", "model_name", "emojis", "labels", "events",
    "detoxify",
)  # fmt: skip
EVENT_FIELDS = {
    "emoji": ("type", "user_id", "emoji"),
    "rating": ("type", "user_id", "rating"),
    "ranking": (
        "type", "user_id", "ranking", "ranked_message_ids", "ranking_parent_id",
        "message_tree_id", "not_rankable",
    ),
    "report": ("type", "user_id", "report_type", "reason"),
    "score": ("type", "user_id", "score"),
}  # fmt: skip
"""Fields of an event, by its kind."""
ROLES: Mapping[str, Role] = {"prompter": "user", "assistant": "assistant"}
_ROLE_NAMES = {"user": "prompter", "assistant": "assistant"}
_NOT_GIVEN = ("message_id", "parent_id", "text", "role", "replies", "message_tree_id", "tree_state")
"""Fields that never go into `extra`: a `Message` always holds them, or they belong to the tree."""


def given_fields(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the imported fields of this format from the `extra` of a message or chat."""
    given = extra.get(KEY)
    return given if isinstance(given, Mapping) else {}


def node_fields(message: Message, lang: str) -> dict[str, Any]:
    """Return a message as the fields of a node.

    Its replies and rankings made in this program are not included; see `rankings`.

    Args:
        message: A message with the role `user` or `assistant`.
        lang: BCP 47 tag for a message that was not imported with one.
    """
    marks, given = message.marks, given_fields(message.marks.extra)
    node: dict[str, Any] = {
        "message_id": message.id,
        "parent_id": message.parent_id,
        "user_id": None,
        "created_date": utc_text(message.created),
        "text": message.text,
        "role": _ROLE_NAMES[message.role],
        "lang": lang,
        "review_count": None,
        "review_result": None,
        "deleted": message.deleted,
        "rank": marks.rank,
        "synthetic": message.role == "assistant" and not marks.edited,
        "model_name": message.model or None,
        "emojis": {},
        "labels": _labels(marks, given.get("labels")),
        "events": _events(marks, given.get("events")),
        "detoxify": None,
    }
    for name, value in given.items():
        if name in ("labels", "events"):  # merged above, unless the file had another type there
            if not node[name] and not isinstance(value, Mapping):
                node[name] = value
        elif name != RANKED and _still_fits(name, value, message, node):
            node[name] = value
    return node


def _still_fits(name: str, value: Any, message: Message, node: Mapping[str, Any]) -> bool:
    """Return whether an imported value still agrees with the message."""
    if name == "synthetic" and message.role == "user":
        return True
    read = _READ.get(name)
    return read is None or bool(read(value) == read(node[name]))


def message_of_node(node: Mapping[str, Any], parent_id: str | None) -> Message:
    """Return the message of a node, without its replies.

    Args:
        node: The fields of the node, in the form of the JSON files or of a row of the Hugging Face
            dataset.
        parent_id: The id of the parent; None for a root.

    Raises:
        ValueError: If the id, the text or the role is missing or wrong.
    """
    node = {**node}
    for name in ("emojis", "labels"):
        if name in node:
            node[name] = _from_columns(node[name])
    identifier, text, role = said_in(node)
    events = node.get("events")
    marks = Marks(
        rating=_rating(events),
        rank=_rank(node.get("rank")),
        labels=_label_values(node.get("labels")),
        reports=_reports(events),
        edited=role == "assistant" and node.get("synthetic") is False,
    )
    model = node.get("model_name")
    message = Message(
        identifier,
        parent_id,
        role,
        text,
        _moment(node.get("created_date")) or now(),
        model=model if isinstance(model, str) else "",
        deleted=node.get("deleted") is True,
        marks=marks,
    )
    return with_given(message, node)


def said_in(node: Mapping[str, Any]) -> tuple[str, str, Role]:
    """Return the id, the text and the role of a node.

    Raises:
        ValueError: If one of them is missing or wrong.
    """
    identifier, text, role = (node.get(name) for name in ("message_id", "text", "role"))
    if not isinstance(identifier, str) or not 0 < len(identifier) <= 200:
        raise ValueError("it has no message_id")
    if not isinstance(text, str):
        raise ValueError("it has no text")
    if not isinstance(role, str) or role not in ROLES:
        raise ValueError("its role is neither prompter nor assistant")
    return identifier, text, ROLES[role]


def with_given(message: Message, node: Mapping[str, Any]) -> Message:
    """Return the message with `extra` set to the fields of its node that it cannot hold itself."""
    plain = node_fields(message, "")
    given = {
        name: value
        for name, value in node.items()
        if name not in _NOT_GIVEN and not (name in plain and _same(value, plain[name]))
    }
    if not given:
        return message
    return replace(message, marks=replace(message.marks, extra={KEY: given}))


def _labels(marks: Marks, given: object) -> dict[str, Any]:
    """Return the labels of a message; an imported label whose value is unchanged stays as it was.

    Imported labels whose value could not be read are kept as well.
    """
    known = given if isinstance(given, Mapping) else {}
    read = _label_values(known)
    labels: dict[str, Any] = {}
    for name in [n for n in known if n in marks.labels or n not in read]:
        same = name not in read or read[name] == marks.labels[name]
        labels[name] = known[name] if same else {"value": marks.labels[name], "count": 1}
    for name, value in marks.labels.items():
        labels.setdefault(name, {"value": value, "count": 1})
    return labels


def _events(marks: Marks, given: object) -> dict[str, Any]:
    """Return the imported events, with scores and reports replaced if the marks have changed."""
    known = given if isinstance(given, Mapping) else {}
    events = {**known}
    if _rating(known) != marks.rating:
        events.pop("score", None)
        if marks.rating:
            events["score"] = [{"type": "score", "user_id": None, "score": marks.rating}]
    if _reports(known) != marks.reports:
        events.pop("report", None)
        if marks.reports:
            events["report"] = [
                {"type": "report", "user_id": None, "report_type": r.kind, "reason": r.reason}
                for r in marks.reports
            ]
    return events


def events_of_kind(events: object, kind: str) -> list[Mapping[str, Any]]:
    """Return the events of a kind that are JSON objects, oldest first."""
    found = events.get(kind) if isinstance(events, Mapping) else None
    return [e for e in found if isinstance(e, Mapping)] if isinstance(found, list) else []


def _rating(events: object) -> int:
    """Return the last score, 1 or -1; 0 if there is none."""
    scores = [event.get("score") for event in events_of_kind(events, "score")]
    last = scores[-1] if scores else 0
    return last if isinstance(last, int) and last in (1, -1) and last is not True else 0


def _reports(events: object) -> tuple[Report, ...]:
    return tuple(
        Report(_text(event.get("report_type")), _text(event.get("reason")))
        for event in events_of_kind(events, "report")
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _rank(value: object) -> int | None:
    is_rank = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_rank else None  # type: ignore[return-value]  # an int, as just checked


def _label_values(labels: object) -> dict[str, float]:
    if not isinstance(labels, Mapping):
        return {}
    values = {
        name: label.get("value") for name, label in labels.items() if isinstance(label, Mapping)
    }
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    }


def _moment(value: object) -> datetime | None:
    try:
        return utc_time(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _from_columns(value: object) -> object:
    """Convert the parallel lists of a Hugging Face dataset row to a dictionary by name.

    Any other value is returned unchanged.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), list):
        return value
    columns = {key: column for key, column in value.items() if isinstance(column, list)}
    rows: dict[str, Any] = {}
    for index, name in enumerate(columns.pop("name")):
        row = {key: column[index] for key, column in columns.items() if index < len(column)}
        rows[str(name)] = row["count"] if list(row) == ["count"] else row
    return rows


def _same(one: object, other: object) -> bool:
    """Return whether two JSON values are written the same way; 1, 1.0 and true are different."""
    return one == other and json.dumps(one) == json.dumps(other)


_READ: Mapping[str, Callable[[Any], object]] = {
    "deleted": lambda value: value is True,
    "rank": _rank,
    "synthetic": lambda value: value is not False,
    "model_name": _text,
}
"""Functions that reduce a field to what a message holds of it.

An export writes the imported value as long as this reduced value is unchanged.
"""
