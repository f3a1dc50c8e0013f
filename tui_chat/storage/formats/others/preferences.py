"""Export of preference pairs: a better and a worse reply to the same prompt.

A reply is better than another if the user chose it among several drafts, ranked it higher, or rated
it good and the other bad. Two replies that are each better than the other by different judgements
make no pair.
"""

from __future__ import annotations

from collections.abc import Iterator

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.storage.formats.others.turns import turns_of
from tui_chat.storage.formats.ours.json_format import json_line
from tui_chat.storage.formats.training import ExportOptions, finished_messages


def to_preferences(conversation: Conversation, options: ExportOptions | None = None) -> str:
    """Return a line `{"prompt": [...], "chosen": [...], "rejected": [...]}` for each pair.

    Each value is a list of `{"role": ..., "content": ...}`. The result is empty if the chat has no
    pair.
    """
    return "".join(f"{line}\n" for line in _lines(conversation))


def _lines(conversation: Conversation) -> Iterator[str]:
    finished = {m.id: m for m in finished_messages(conversation) if not m.deleted and m.text}
    replies: dict[str, list[Message]] = {}
    for message in finished.values():
        parent = message.parent_id
        if message.role == "assistant" and parent in finished and not message.marks.excluded:
            replies.setdefault(parent, []).append(message)
    chosen = {
        (preference.chosen, rejected)
        for preference in conversation.details.preferences
        for rejected in preference.rejected
    }
    for parent, versions in replies.items():
        if len(versions) < 2 or finished[parent].role != "user":
            continue
        path = [m for m in conversation.path(parent) if _is_sent(m, finished)]
        prompt = [{"role": role, "content": text} for role, text, _ in turns_of(conversation, path)]
        for better, worse in _pairs(versions, chosen):
            sides = {"chosen": [_turn(better)], "rejected": [_turn(worse)]}
            yield json_line({"prompt": prompt, **sides})


def _pairs(
    versions: list[Message], chosen: set[tuple[str, str]]
) -> Iterator[tuple[Message, Message]]:
    """Yield each pair of a better and a worse reply whose texts differ.

    Args:
        versions: The replies to one message.
        chosen: Pairs of ids, a chosen reply and one it was preferred to.
    """

    def is_better(one: Message, other: Message) -> bool:
        first, second = one.marks.rank, other.marks.rank
        is_ranked = first is not None and second is not None and first < second
        is_rated = one.marks.rating > 0 > other.marks.rating
        return is_ranked or is_rated or (one.id, other.id) in chosen

    for better in versions:
        for worse in versions:
            if (
                better.text != worse.text
                and is_better(better, worse)
                and not is_better(worse, better)
            ):
                yield better, worse


def _is_sent(message: Message, finished: dict[str, Message]) -> bool:
    return message.id in finished and not message.marks.excluded


def _turn(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.text}
