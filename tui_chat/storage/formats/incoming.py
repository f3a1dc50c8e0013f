"""Import of chats from a file: recognise its format by content and read the chats one by one.

A file of JSON lines is read line by line, so that memory holds one chat at a time; Markdown and
JSON values that span lines are read as a whole. A chat that cannot be read is reported with the
number of its line, and the import continues with the next one.
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
"""Callback with the stage, the amount done and the total amount.

Both amounts count bytes of the file or, while the trees of flat messages are built, messages. Flat
messages are all read first (`reading`) and then imported (`importing`); other chats are imported
as they are read.
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
"""Names for the option `--format`. `oasst` covers trees, threads and flat messages."""
_LOOKED_AT = 1000
"""Number of malformed lines at the beginning of a file that may still be JSON lines."""
_KEYS = (
    ("message_id", "oasst-message"), ("thread_id", "oasst-thread"), ("message_tree_id", "oasst"),
    ("mapping", "chatgpt"), ("conversations", "sharegpt"), ("messages", "openai"),
    ("text", "chatml"),
)  # fmt: skip
"""Keys that identify the kind of a JSON object, most specific first; the first match counts."""


def read_chats(
    path: Path,
    form: str | None,
    refuse: Refuse,
    progress: Progress = lambda stage, done, total: None,
) -> Iterator[tuple[int, Conversation]]:
    """Yield the chats of a file, each with the number of the line on which it begins.

    Args:
        path: The file, which may be compressed with gzip.
        form: One of `IMPORT_FORMATS` or `oasst-messages`, in any case; None recognises the format
            by content.
        refuse: Called for each line or message that is not imported.
        progress: Called as the import advances.

    Raises:
        UsageError: If there is no such format.
        StoreError: If the file cannot be read or is not in a known format.
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
    """The import of one file."""

    def __init__(
        self, file: LineFile, form: str | None, refuse: Refuse, flat: FlatMessages
    ) -> None:
        self._file = file
        self._form = form
        self._refuse = refuse
        self._flat = flat

    def markdown(self) -> Conversation:
        """Return the chat of a Markdown file."""
        self._file.begin()
        try:
            return from_markdown(self._file.whole(LONGEST_LINE))
        except ValueError as error:
            raise self._unknown(str(error)) from None

    def values(self) -> Iterator[tuple[int, Any, str]]:
        """Yield the JSON values of the file, each with the number of its line and its text."""
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
        """Yield the chat in a JSON value, if it is one; collect a flat message for later.

        A value that is neither is reported to `refuse`.
        """
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
        """Return whether the file is JSON lines, that is, whether each line is a value by itself.

        The first line that parses, or that ends in the middle of a value, decides. A line with any
        other error does not, so one malformed line does not hide the format of the rest.
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
                if error.pos >= len(text):  # the value continues on the next line
                    return False
            except ValueError:
                return True  # a complete value with a constant that is not allowed, as NaN
            if looked_at == _LOOKED_AT:
                break
        return False

    def _items(self, text: str) -> Iterator[tuple[int, Any, str]]:
        """Yield the items of a JSON list, each with the number of its line and its text."""
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
    """Return whether the first line of a file begins front matter or a Markdown heading."""
    file.begin()
    for _, text in file.lines(lambda number, reason: None):
        return text.startswith(("---", "#"))
    return False


def _kind(value: object, form: str | None) -> str | None:
    """Return the kind of a JSON value; None if it is unknown or does not fit the format `form`."""
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
