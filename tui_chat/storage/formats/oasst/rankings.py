"""Rankings in Open Assistant's format: events at a message that tell the order of its replies.

Owns both directions. The newest event counts. One that is `not_rankable` says that the replies it
names are all flawed; the order in which it names them means nothing. Ranks without an event, as
most files have them, are not made into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tui_chat.chat.conversation import Message
from tui_chat.storage.formats.oasst.fields import KEY, RANKED, events_of_kind, given_fields


def ranking_events(message: Message, replies: Sequence[Message], tree_id: str) -> list[Any] | None:
    """The rankings of the replies to a message; None if those that were given say it all.

    Args:
        message: The message they reply to.
        replies: Its replies, best first.
        tree_id: The id of the root.
    """
    given = given_fields(message.marks.extra)
    events = _all_given(given)
    flawed = [r.id for r in replies if r.marks.all_flawed and r.marks.rank is None]
    is_said = set(flawed) == set(flawed_replies(message, replies))
    if not is_said and not flawed:
        while events and isinstance(events[-1], Mapping) and _is_not_rankable(events[-1]):
            events.pop()  # it was taken back
    order = _ranked(replies)
    if len(order) > 1 and order != given.get(RANKED) and order not in _orders(given):
        events.append(_event(message, order, tree_id, is_flawed=False))
        is_said = not flawed
    if flawed and not is_said:
        events.append(_event(message, flawed, tree_id, is_flawed=True))
    return None if events == _all_given(given) else events


def flawed_replies(message: Message, replies: Sequence[Message]) -> list[str]:
    """The ids of the replies that the newest given event calls flawed and that have no rank."""
    events = events_of_kind(given_fields(message.marks.extra).get("events"), "ranking")
    if not events or not _is_not_rankable(events[-1]):
        return []
    named = events[-1].get("ranked_message_ids")
    ids = named if isinstance(named, list) else []
    return [reply.id for reply in replies if reply.id in ids and reply.marks.rank is None]


def with_known_order(message: Message, replies: Sequence[Message]) -> Message:
    """The message of a file, knowing that the ranks of its replies came with it."""
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
    """The orders that were given."""
    return [
        event.get("ranked_message_ids")
        for event in events_of_kind(given.get("events"), "ranking")
        if not _is_not_rankable(event)
    ]


def _all_given(given: Mapping[str, Any]) -> list[Any]:
    """The rankings that were given, also those that cannot be read."""
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
