"""Ranking events in Open Assistant's format: events of a message that order its replies.

The newest event counts. An event with `not_rankable` says that all replies it names are flawed,
and their order in it has no meaning. Most files have ranks without an event; an export does not
add an event for such ranks unless the user has changed their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tui_chat.chat.conversation import Message
from tui_chat.storage.formats.oasst.fields import KEY, RANKED, events_of_kind, given_fields


def ranking_events(message: Message, replies: Sequence[Message], tree_id: str) -> list[Any] | None:
    """Return all ranking events of a message; None if the imported ones are still complete.

    Args:
        message: The message.
        replies: Its replies, best first.
        tree_id: Id of the root message.
    """
    given = given_fields(message.marks.extra)
    events = _all_given(given)
    flawed = [r.id for r in replies if r.marks.all_flawed and r.marks.rank is None]
    is_said = set(flawed) == set(flawed_replies(message, replies))
    if not is_said and not flawed:
        while events and isinstance(events[-1], Mapping) and _is_not_rankable(events[-1]):
            events.pop()  # the user has withdrawn this judgement
    order = _ranked(replies)
    if len(order) > 1 and order != given.get(RANKED) and order not in _orders(given):
        events.append(_event(message, order, tree_id, is_flawed=False))
        is_said = not flawed  # only the newest event counts, so a flawed one must follow again
    if flawed and not is_said:
        events.append(_event(message, flawed, tree_id, is_flawed=True))
    return None if events == _all_given(given) else events


def flawed_replies(message: Message, replies: Sequence[Message]) -> list[str]:
    """Return the ids of the unranked replies that the newest imported event calls flawed.

    Args:
        message: The imported message.
        replies: Its replies.
    """
    events = events_of_kind(given_fields(message.marks.extra).get("events"), "ranking")
    if not events or not _is_not_rankable(events[-1]):
        return []
    named = events[-1].get("ranked_message_ids")
    ids = named if isinstance(named, list) else []
    return [reply.id for reply in replies if reply.id in ids and reply.marks.rank is None]


def with_known_order(message: Message, replies: Sequence[Message]) -> Message:
    """Return an imported message with the order that its replies' ranks have in the file.

    `ranking_events` compares against that order, so that ranks from a file do not become an event.
    The message is returned unchanged if it has fewer than two ranked replies or an event that
    gives the same order.
    """
    given = given_fields(message.marks.extra)
    order = _ranked(replies)
    if len(order) < 2 or order in _orders(given):
        return message
    extra = {KEY: {**given, RANKED: order}}
    return replace(message, marks=replace(message.marks, extra=extra))


def _ranked(replies: Sequence[Message]) -> list[str]:
    ranked = [reply for reply in replies if reply.marks.rank is not None]
    return [reply.id for reply in sorted(ranked, key=lambda reply: reply.marks.rank or 0)]


def _orders(given: Mapping[str, Any]) -> list[Any]:
    """Return the orders in the imported events, each as a list of ids."""
    return [
        event.get("ranked_message_ids")
        for event in events_of_kind(given.get("events"), "ranking")
        if not _is_not_rankable(event)
    ]


def _all_given(given: Mapping[str, Any]) -> list[Any]:
    """Return the imported ranking events, malformed ones included."""
    events = given.get("events")
    found = events.get("ranking") if isinstance(events, Mapping) else None
    return list(found) if isinstance(found, list) else []


def _is_not_rankable(event: Mapping[str, Any]) -> bool:
    return event.get("not_rankable") is True


def _event(message: Message, ids: list[str], tree_id: str, *, is_flawed: bool) -> dict[str, Any]:
    return {
        "type": "ranking",
        "user_id": None,
        "ranking": list(range(len(ids))),
        "ranked_message_ids": ids,
        "ranking_parent_id": message.id,
        "message_tree_id": tree_id,
        "not_rankable": is_flawed,
    }
