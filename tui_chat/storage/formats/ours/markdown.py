"""Export of the active path of a chat as Markdown, for reading, printing and version control.

Every message is a section of its own, whatever its text: a CommonMark parser checks that no
heading, open fence or open HTML block of a message affects the document around it. Only lines that
do are escaped; if that does not help, the whole message becomes a code block.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tui_chat.chat.conversation import Conversation, Message, Role, Status
from tui_chat.chat.notes import with_note
from tui_chat.safe_text import safe_line, storable

ROLE_NAMES: dict[Role, str] = {"system": "System", "user": "You", "assistant": "Assistant"}
"""First word of the heading of a message, by its role."""
NOTE = "Note"
"""First word of the heading of a note, the summary that replaces the messages above it."""
STATUS_MARKS: dict[Status, str] = {
    "waiting": "waiting",
    "streaming": "not finished",
    "stopped": "stopped",
    "interrupted": "interrupted",
    "failed": "failed",
}
"""Last part of the heading of a message that is not complete, by its status."""
_CONTROLS: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)},
    0x7F: "␡",
    **dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}"),
}
_MAYBE_STRUCTURE = re.compile(r"^[\s>*+\-\d.)]*(?:[#=<`~]|-[ \t]*$)", re.MULTILINE)
"""Lines that could begin a heading, a fence or HTML; a text without any needs no parser."""
_INLINE_SYNTAX = re.compile(r"([\\`*_\[\]<>#|&~])")
_YAML_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_PROBE = "end of the message"
"""Heading added after a text: if the parser does not see it, a fence or HTML is still open."""


def to_markdown(conversation: Conversation) -> str:
    """Return the active path without deleted messages as Markdown; times are in UTC.

    The front matter has the id, title, model, time of creation and number of turns.
    """
    path = [message for message in with_note(conversation.path()) if not message.deleted]
    title = safe_line(storable(conversation.title)) or "Untitled chat"
    sections = [_front_matter(conversation, title, path), f"# {inline(title)}\n"]
    if conversation.system:
        sections.append(f"## {ROLE_NAMES['system']}\n\n{contained(conversation.system)}")
    sections.extend(_section(message) for message in path)
    return "\n".join(section.rstrip("\n") + "\n" for section in sections)


def _front_matter(conversation: Conversation, title: str, path: list[Message]) -> str:
    turns = sum(message.role == "user" for message in path)
    return (
        "---\n"
        f"id: {_quoted(conversation.id)}\n"
        f"title: {_quoted(title)}\n"
        f"model: {_quoted(safe_line(storable(conversation.model)))}\n"
        f"created: {_quoted(_time(conversation.created))}\n"
        f"turns: {turns}\n"
        "---\n"
    )


def _section(message: Message) -> str:
    parts = [NOTE if message.is_note else ROLE_NAMES[message.role]]
    if message.role != "user" and message.model:
        parts.append(inline(safe_line(storable(message.model), 100)))
    parts.append(_time(message.created))
    if mark := STATUS_MARKS.get(message.status):
        parts.append(mark)
    section = f"## {' · '.join(parts)}\n"
    if message.text:
        section += f"\n{contained(message.text)}"
    if message.error:
        section += f"\n> {inline(safe_line(storable(message.error)))}\n"
    return section


def contained(text: str) -> str:
    """Return a text as Markdown that cannot affect what follows it, ending with a newline.

    Control characters become visible symbols. Headings of levels 1 and 2 are escaped, because the
    document uses them for its own structure.
    """
    text = storable(text).replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)
    text = text.strip("\n") + "\n"
    if not _MAYBE_STRUCTURE.search(text):
        return text
    lines = text.split("\n")[:-1]
    for _ in range(8):  # each correction can expose another problem; give up after a few
        offence = _offence(lines)
        if offence is None:
            return "\n".join(lines) + "\n"
        line, closing = offence
        if closing:
            lines.append(closing)
        elif line is None:
            break
        else:
            for index in line:
                lines[index] = re.sub(r"^(\s*)(\S)", r"\1\\\2", lines[index], count=1)
    return _fenced(text)


def _offence(lines: list[str]) -> tuple[list[int] | None, str] | None:
    """Return what has to be corrected so that a text stays within its section.

    Returns:
        None if nothing has; else the indices of lines to escape, and a fence to append at the end
        or "". With neither, the text cannot be corrected.
    """
    tokens = _parser().parse("\n".join(lines) + f"\n\n## {_PROBE}\n")
    headings = [
        token
        for token in tokens
        if token.type == "heading_open" and token.level == 0 and token.tag in ("h1", "h2")
    ]
    own = [token for token in headings if token.map and token.map[0] < len(lines)]
    if len(headings) > len(own):  # the probe is a heading: nothing is left open
        return ([_marker_line(token) for token in own], "") if own else None
    last = next((token for token in reversed(tokens) if token.level == 0), None)
    if last is not None and last.type == "fence":
        return None, last.markup
    if last is not None and last.type == "html_block" and last.map:
        return [last.map[0]], ""
    return None, ""


def _marker_line(heading: Token) -> int:
    """Return the index of the line to escape: the one with `#`, or the `===` or `---` below."""
    first, end = heading.map or [0, 1]
    return first if heading.markup.startswith("#") else end - 1


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}{fence}\n"


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark")


def inline(text: str) -> str:
    """Return a text for a heading or a quote with all Markdown syntax in it escaped."""
    return _INLINE_SYNTAX.sub(r"\\\1", text)


def _quoted(text: str) -> str:
    """Return a text as a double-quoted YAML string, in the syntax that YAML shares with JSON."""
    quoted = json.dumps(storable(text), ensure_ascii=False)
    return _YAML_UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", quoted)


def _time(moment: datetime) -> str:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{aware.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
