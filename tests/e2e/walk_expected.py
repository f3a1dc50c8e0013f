"""What ought to be painted of the end of a chat, and how painted rows differ from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from tests.e2e.painted_terminal import COLUMNS
from tui_chat.chat.conversation import Message
from tui_chat.safe_text import safe_line, safe_text
from tui_chat.ui.transcript.blocks import Blocks
from tui_chat.ui.transcript.drawing import content_of
from tui_chat.ui.transcript.markdown import new_parser
from tui_chat.ui.transcript.message_notes import (
    mark_text,
    meta_text,
    note_text,
    side_text,
    time_text,
)


def letters(text: str) -> str:
    """The letters and digits of a text."""
    return "".join(c for c in text if c.isalnum())


@cache
def _body(text: str, is_reply: bool) -> str:
    blocks = Blocks(new_parser() if is_reply else None)
    blocks.show(safe_text(text))
    blocks.read_all()
    return letters("".join(b.lead + content_of(b, blocks.env).plain for b in blocks.list))


@dataclass(slots=True)
class Expected:
    """What the end of a chat has to look like."""

    text: str = ""
    """Letters and digits, top to bottom."""
    has_long_foot: bool = False
    """Whether how a reply ended may wrap, so that its figures stand in the middle of the words."""
    sides: set[str] = field(default_factory=set)
    """What may stand at the right of a row, beside a message."""


def expected(messages: Sequence[tuple[Message, tuple[int, int]]]) -> Expected:
    """What messages have to look like.

    Args:
        messages: The end of the path, each with its version.
    """
    now = datetime.now().astimezone()
    result = Expected()
    for message, version in messages:
        is_reply = message.role == "assistant"
        if message.is_note:
            result.text += letters(note_text(message))
        result.text += _body(message.text, is_reply)
        side = side_text(message, version)
        if is_reply:
            mark, facts = safe_line(mark_text(message)), meta_text(message, now)
            result.text += letters(mark + facts)
            result.has_long_foot |= len(mark) + len(facts) > COLUMNS - 10
        else:
            who = f"you  {time_text(message, now)}"
            side = f"{side}  {who}" if side else who
        if side:
            result.sides.add(side)
    return result


MOST_EMPTY = 4
"""Empty rows that follow each other where all is well, as between two functions of a code block."""
_LABEL = re.compile(r"(?:\S+  )?\d+ ⧉$")


def painted_letters(rows: Sequence[str], sides: set[str]) -> str:
    """Letters and digits of painted rows of the transcript, without what stands beside them."""
    result: list[str] = []
    for row in rows:
        row = row.rstrip(" ▁▂▃▄▅▆▇█▔▕▐")
        if row.lstrip().startswith("┄┄"):
            continue
        for side in sorted(sides, key=len, reverse=True):
            if row.endswith(f"   {side}"):
                row = row[: -len(side)].rstrip()
                break
        result.append(letters(_LABEL.sub("", row)))
    return "".join(result)


def transcript_rows(lines: Sequence[str]) -> list[str]:
    """The rows between the title and the rule above the prompt."""
    rules = [i for i, line in enumerate(lines) if line == "─" * COLUMNS]
    return list(lines[1 : rules[-1]]) if rules else []


def difference(lines: Sequence[str], state: dict[str, Any]) -> str:
    """How the painted rows differ from the end of the chat; empty if they do not."""
    wanted = expected(state["messages"])
    rows = transcript_rows(lines)
    if not rows:
        return "there is no rule above the prompt"
    shown = painted_letters(rows, wanted.sides)
    is_whole = state["count"] == len(state["messages"])
    if shown == wanted.text and is_whole:
        return ""
    end = wanted.text[-len(shown) :] if shown else ""
    if shown and (end == shown or (wanted.has_long_foot and sorted(end) == sorted(shown))):
        if any(rows[: MOST_EMPTY + 1]) and (len(shown) < len(wanted.text) or not is_whole):
            return ""
        return f"the text above is missing: {wanted.text[: -len(shown)][-80:]!r}"
    return f"painted  ...{shown[-400:]}\nexpected ...{wanted.text[-400:]}"
