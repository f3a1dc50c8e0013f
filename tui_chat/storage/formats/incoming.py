"""Chats from a file of another program or of this one: recognised by content, read one by one.

A file of JSON lines is read line by line, so that memory holds one chat at a time; Markdown and
JSON values that span lines are read as a whole. What cannot be read is refused with the number of
its line, and the rest goes on. Refuses to know where chats are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError, UsageError
from tui_chat.safe_text import safe_line
from tui_chat.storage.formats.lines import LONGEST_LINE, LineFile, Refuse
from tui_chat.storage.formats.nested_json import parse_item, parse_json
from tui_chat.storage.formats.oasst.flat_messages import FlatMessages
from tui_chat.storage.formats.oasst.reading import chat_of_thread, chat_of_tree
from tui_chat.storage.formats.others.chatgpt import chat_of_chatgpt
from tui_chat.storage.formats.others.turns import from_chatml, from_openai, from_sharegpt
from tui_chat.storage.formats.ours.json_format import FORMAT, from_json
from tui_chat.storage.formats.ours.markdown_reading import from_markdown

Progress = Callable[[Literal["reading", "importing"], int, int], None]
"""Told what is going on, and how far it is: of how many bytes, or of how many messages.

Messages that stand alone are all read first, and imported as trees after that.
"""
_READERS: Mapping[str, Callable[[Mapping[str, Any]], Conversation]] = MappingProxyType(
    {
        "oasst": chat_of_tree,
        "oasst-thread": chat_of_thread,
        "sharegpt": from_sharegpt,
        "openai": from_openai,
        "chatml": from_chatml,
    }
)
IMPORT_FORMATS = ("md", "json", "oasst", "chatgpt", "sharegpt", "openai", "chatml")
"""What `--format` can name. `oasst` stands for trees, threads and flat messages."""
_LOOKED_AT = 1000
"""Lines at the beginning of a file that may be broken before it is taken for something else."""
_KEYS = (
    ("message_id", "oasst-message"), ("thread_id", "oasst-thread"), ("message_tree_id", "oasst"),
    ("mapping", "chatgpt"), ("conversations", "sharegpt"), ("messages", "openai"),
    ("text", "chatml"),
)  # fmt: skip
"""The key that tells what a JSON object is; the first that is there counts."""


def read_chats(
    path: Path,
    form: str | None,
    refuse: Refuse,
    progress: Progress = lambda stage, done, total: None,
) -> Iterator[tuple[int, Conversation]]:
    """The chats of a file, each with the number of the line where it begins.

    Args:
        path: The file; one compressed with gzip too.
        form: One of `IMPORT_FORMATS`; None recognises it by content.
        refuse: Told what is not imported.
        progress: Told how far the reading is.

    Raises:
        UsageError: If the format is none.
        StoreError: If the file cannot be read, or is none that is known.
    """
    form = form.lower() if form else None
    form = "oasst" if form == "oasst-messages" else form
    if form is not None and form not in IMPORT_FORMATS:
        title = f"There is no import format {safe_line(form, 40)!r}"
        raise UsageError(title, "", f"Use {', '.join(IMPORT_FORMATS)}")
    with LineFile(path) as file, FlatMessages(refuse) as flat:
        reading = _Reading(file, form, refuse, flat)
        if form == "md" or (form is None and _is_markdown(file)):
            yield 1, reading.markdown()
            return
        for number, value, text in reading.values():
            yield from reading.chats_of(number, value, text)
            stage: Literal["reading", "importing"] = "reading" if flat.is_waiting else "importing"
            progress(stage, file.position, file.size)
        yield from flat.chats(lambda done, total: progress("importing", done, total))
        progress("importing", file.size, file.size)


class _Reading:
    """One file on its way in."""

    def __init__(
        self, file: LineFile, form: str | None, refuse: Refuse, flat: FlatMessages
    ) -> None:
        self._file = file
        self._form = form
        self._refuse = refuse
        self._flat = flat

    def markdown(self) -> Conversation:
        """The chat of a Markdown file."""
        self._file.begin()
        try:
            return from_markdown(self._file.whole(LONGEST_LINE))
        except ValueError as error:
            raise self._unknown(str(error)) from None

    def values(self) -> Iterator[tuple[int, Any, str]]:
        """The JSON values of the file, each with its line and its text."""
        if self._is_lines():
            self._file.begin()
            for number, text in self._file.lines(self._refuse):
                try:
                    yield number, parse_json(text), text
                except ValueError as error:
                    self._refuse(number, f"The line is not JSON: {_reason(error)}")
            return
        self._file.begin()
        text = self._file.whole()
        if not text.strip():
            return
        if text.lstrip().startswith("["):
            yield from self._items(text)
            return
        try:
            yield 1, parse_json(text), text
        except json.JSONDecodeError as error:
            raise self._unknown(f"Line {error.lineno} is not JSON: {error.msg}") from None
        except ValueError as error:
            raise self._unknown(str(error)) from None

    def chats_of(self, number: int, value: Any, text: str) -> Iterator[tuple[int, Conversation]]:
        """The chat that a JSON value says; flat messages are collected instead."""
        kind = _kind(value, self._form)
        if kind is None:
            self._refuse(number, "It is no chat in a known format")
            return
        if kind == "oasst-message":
            self._flat.add(number, value)
            return
        try:
            if kind == "json":
                yield number, from_json(text)
                return
            if kind == "chatgpt":
                conversation, refused = chat_of_chatgpt(value)
                for reason in refused:
                    self._refuse(number, reason)
            else:
                conversation = _READERS[kind](value)
        except StoreError as error:
            self._refuse(number, error.one_line)
            return
        except (ValueError, RecursionError) as error:
            self._refuse(number, f"The chat is refused: {_reason(error)}")
            return
        doubled = self._flat.first_doubled(conversation) if kind == "oasst" else None
        if doubled is not None:
            self._refuse(number, f"Message {safe_line(doubled, 80)} is in an earlier tree too")
            return
        yield number, conversation

    def _is_lines(self) -> bool:
        """Whether each line is a value by itself: the first one that is whole or broken off says.

        A line that is neither, because something in it is wrong, says nothing.
        """
        self._file.begin()
        lines = self._file.lines(lambda number, reason: None)
        for looked_at, (_, text) in enumerate(lines, 1):
            if looked_at == 1 and text.startswith("["):
                return False
            try:
                parse_json(text)
                return True
            except json.JSONDecodeError as error:
                if error.pos >= len(text):
                    return False
            except ValueError:
                return True  # it is whole, and not allowed
            if looked_at == _LOOKED_AT:
                break
        return False

    def _items(self, text: str) -> Iterator[tuple[int, Any, str]]:
        """The items of a list with the lines on which they begin."""
        place, line, counted = text.index("[") + 1, 1, 0
        while True:
            while text[place : place + 1] in (" ", "\t", "\r", "\n", ","):
                place += 1
            line += text.count("\n", counted, place)
            counted = place
            if text[place : place + 1] == "]":
                return
            try:
                value, end = parse_item(text, place)
            except ValueError as error:
                self._refuse(line, f"It is not JSON: {_reason(error)}; the rest is not imported")
                return
            yield line, value, text[place:end]
            place = end

    def _unknown(self, reason: str) -> StoreError:
        name = safe_line(str(self._file.path), 200)
        hint = f"Name its format with --format: {', '.join(IMPORT_FORMATS)}"
        return StoreError(f"{name} cannot be imported", safe_line(reason, 300), hint)


def _is_markdown(file: LineFile) -> bool:
    """Whether a file is text and not JSON, as its first line says."""
    file.begin()
    for _, text in file.lines(lambda number, reason: None):
        return text.startswith(("---", "#"))
    return False


def _kind(value: object, form: str | None) -> str | None:
    """What a JSON value is; None for nothing that is known or was asked for."""
    if not isinstance(value, Mapping):
        return None
    if value.get("format") == FORMAT:
        return "json" if form in (None, "json") else None
    if form is not None and not form.startswith("oasst"):
        return form
    kind = next((kind for key, kind in _KEYS if key in value), None)
    return kind if form is None or (kind or "").startswith("oasst") else None


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return safe_line(str(error), 300)
