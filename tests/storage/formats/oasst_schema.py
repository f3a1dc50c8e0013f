"""Open Assistant's JSON lines as a JSON schema, and a validator of what the schema uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TEXT = {"type": "string"}
_ID = {"type": "string", "minLength": 1}
_MAYBE_TEXT = {"type": ["string", "null"]}
_MAYBE_BOOL = {"type": ["boolean", "null"]}
_COUNT = {"type": ["integer", "null"], "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    names = list(properties) if required is None else required
    return {
        "type": "object", "properties": properties, "required": names,
        "additionalProperties": False,
    }  # fmt: skip


def _event(kind: str, **fields: Any) -> dict[str, Any]:
    event = _object({"type": {"enum": [kind]}, "user_id": _MAYBE_TEXT, **fields})
    return {"type": "array", "items": event}


EVENTS = _object(
    {
        "emoji": _event("emoji", emoji=_TEXT),
        "rating": _event("rating", rating=_TEXT),
        "ranking": _event(
            "ranking",
            ranking={"type": "array", "items": {"type": "integer", "minimum": 0}},
            ranked_message_ids={"type": "array", "items": _ID},
            ranking_parent_id=_ID,
            message_tree_id=_ID,
            not_rankable=_MAYBE_BOOL,
        ),
        "report": _event("report", report_type=_TEXT, reason=_TEXT),
        "score": _event("score", score={"type": "integer", "minimum": -1, "maximum": 1}),
    },
    required=[],
)
LABEL = _object({"value": _SHARE, "count": {"type": "integer", "minimum": 1}})
_DETOXIFY = (
    "toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat",
    "sexual_explicit",
)  # fmt: skip
FIELDS: dict[str, Any] = {
    "message_id": _ID, "parent_id": _MAYBE_TEXT, "user_id": _MAYBE_TEXT,
    "created_date": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*[+Z]"},
    "text": _TEXT, "role": {"enum": ["prompter", "assistant"]},
    "lang": {"type": "string", "pattern": r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$"},
    "review_count": _COUNT, "review_result": _MAYBE_BOOL, "deleted": _MAYBE_BOOL, "rank": _COUNT,
    "synthetic": _MAYBE_BOOL, "model_name": _MAYBE_TEXT,
    "emojis": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
    "labels": {"type": "object", "additionalProperties": LABEL},
    "events": EVENTS,
    "detoxify": {**_object(dict.fromkeys(_DETOXIFY, _SHARE)), "type": ["object", "null"]},
}  # fmt: skip
STATE = {
    "enum": [
        "initial_prompt_review", "growing", "ranking", "ready_for_scoring", "ready_for_export",
        "aborted_low_grade", "halted_by_moderator", "scoring_failed", "backlog_ranking",
        "prompt_lottery_waiting", "not_applicable",
    ]
}  # fmt: skip
NODE = _object({**FIELDS, "replies": {"type": "array"}})
MESSAGE = _object({**FIELDS, "message_tree_id": _ID, "tree_state": STATE})
TREE = _object(
    {
        "message_tree_id": _ID, "tree_state": STATE, "prompt": {"type": "object"},
        "origin": _MAYBE_TEXT,
    }
)  # fmt: skip
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def problems(value: Any, schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """What is wrong with a value."""
    kinds = schema.get("type", list(_TYPES))
    if not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{place} is {value!r}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place} is {value!r}"
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0) or not re.search(
            schema.get("pattern", ""), value
        ):
            yield f"{place} is {value!r}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{place} is {value!r}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(item, schema.get("items", {}), f"{place}[{index}]")
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{place}.{name} is missing"
        for name, item in value.items():
            if name not in known and others is False:
                yield f"{place}.{name} is unknown"
            else:
                yield from problems(item, known.get(name) or others or {}, f"{place}.{name}")


def problems_of_message(row: Any) -> list[str]:
    """What is wrong with a flat message."""
    return list(problems(row, MESSAGE, "message"))


def problems_of_tree(tree: Any) -> list[str]:
    """What is wrong with a tree: its fields, its ids, its order."""
    found = list(problems(tree, TREE, "tree"))
    if found:
        return found
    if tree["message_tree_id"] != tree["prompt"].get("message_id"):
        found.append("the tree is not named after its root")
    stack, seen = [(tree["prompt"], None)], set()
    while stack:
        node, parent = stack.pop()
        found += problems(node, NODE, "node")
        if found:
            return found
        if node["parent_id"] != parent or node["message_id"] in seen:
            found.append(f"{node['message_id']} is in the wrong place")
        seen.add(node["message_id"])
        ranks = [reply.get("rank") for reply in node["replies"]]
        ranked = [rank for rank in ranks if rank is not None]
        if ranks[: len(ranked)] != sorted(ranked):
            found.append("replies are not sorted by rank")
        stack += [(reply, node["message_id"]) for reply in node["replies"]]
    return found
