"""The export formats, found by name or by file suffix, and the writing of export files."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError
from tui_chat.safe_text import safe_line
from tui_chat.storage.atomic import open_atomically
from tui_chat.storage.formats.oasst.writing import to_messages, to_trees
from tui_chat.storage.formats.others.preferences import to_preferences
from tui_chat.storage.formats.others.turns import to_chatml, to_openai, to_sharegpt
from tui_chat.storage.formats.ours.html_page import to_html
from tui_chat.storage.formats.ours.json_format import to_json
from tui_chat.storage.formats.ours.markdown import to_markdown
from tui_chat.storage.formats.training import ExportOptions, require_data_use

COMPRESSED = ".gz"
"""Suffix of a file that is written with gzip compression."""
_PLAIN = ExportOptions()


@dataclass(frozen=True, slots=True)
class Format:
    """An export format."""

    name: str
    """Name for the option `--format`, for example `md`."""
    suffixes: tuple[str, ...]
    """Suffixes of file names in this format; new files get the first."""
    help: str
    """One sentence for the user about the format."""
    write: Callable[[Conversation, ExportOptions], str]
    """Function that returns a chat as the text of a file."""
    is_training: bool = False
    """Whether the format is for training data.

    Such a file is JSON lines, and `export` rejects chats whose data use is off.
    """

    def export(self, conversation: Conversation, options: ExportOptions = _PLAIN) -> str:
        """Return a chat as the text of a file; empty if the chat has nothing for the format.

        Raises:
            StoreError: If the format is for training and the data use of the chat is off. The Open
                Assistant formats also raise it if `as_training` is set and the chat is not
                reviewed.
        """
        if self.is_training:
            require_data_use(conversation)
        return self.write(conversation, options)


FORMATS = MappingProxyType(
    {
        form.name: form
        for form in (
            Format(
                "md",
                (".md", ".markdown"),
                "The shown messages, to be read.",
                lambda conversation, options: to_markdown(conversation),
            ),
            Format(
                "json",
                (".json",),
                "The whole tree with every field.",
                lambda conversation, options: to_json(conversation),
            ),
            Format("html", (".html", ".htm"), "The shown messages, to be printed.", to_html),
            Format(
                "oasst",
                (".jsonl", ".oasst.jsonl", ".trees.jsonl"),
                "The tree as Open Assistant writes it, one line.",
                to_trees,
                is_training=True,
            ),
            Format(
                "oasst-messages",
                (".messages.jsonl",),
                "The tree as Open Assistant's flat messages.",
                to_messages,
                is_training=True,
            ),
            Format(
                "chatml",
                (".chatml.jsonl",),
                "The shown messages with ChatML's marks, one line.",
                to_chatml,
                is_training=True,
            ),
            Format(
                "sharegpt",
                (".sharegpt.jsonl",),
                "The shown messages as ShareGPT's turns, one line.",
                to_sharegpt,
                is_training=True,
            ),
            Format(
                "openai",
                (".openai.jsonl",),
                "The shown messages as OpenAI's messages, one line.",
                to_openai,
                is_training=True,
            ),
            Format(
                "preferences",
                (".preferences.jsonl",),
                "Pairs of a better and a worse reply.",
                to_preferences,
                is_training=True,
            ),
        )
    }
)
"""All export formats by name."""


def format_named(name: str) -> Format:
    """Return the format with a name, in any case and with or without a leading dot.

    Raises:
        StoreError: If there is no such format.
    """
    try:
        return FORMATS[name.lower().removeprefix(".")]
    except KeyError:
        raise StoreError(
            f"There is no export format {safe_line(name, 40)!r}", "", f"Use {_listed(FORMATS)}"
        ) from None


def format_of(path: Path) -> Format:
    """Return the format of a file name with or without `.gz`; the longest matching suffix wins.

    Raises:
        StoreError: If the name has none of the suffixes.
    """
    name = path.name.lower().removesuffix(COMPRESSED)
    meant = {
        suffix: form
        for form in FORMATS.values()
        for suffix in form.suffixes
        if name.endswith(suffix)
    }
    if meant:
        return meant[max(meant, key=len)]
    suffixes = _listed(form.suffixes[0] for form in FORMATS.values())
    raise StoreError(
        f"{safe_line(str(path))} names no export format", "", f"Use a name ending in {suffixes}"
    )


def export_to_file(
    conversation: Conversation,
    path: Path,
    form: Format | None = None,
    overwrite: bool = False,
    options: ExportOptions = _PLAIN,
) -> Path:
    """Write a chat to a file atomically, with gzip compression if the name ends in `.gz`.

    Args:
        conversation: The chat.
        path: The file; its folder must exist.
        form: The format; by default the one of the file name.
        overwrite: Replace an existing file.
        options: Options for the format.

    Returns:
        `path`, unchanged.

    Raises:
        StoreError: If the format is unknown, `Format.export` rejects the chat, the chat has nothing
            for the format, the file exists and `overwrite` is false, or it cannot be written.
    """
    form = form or format_of(path)
    text = form.export(conversation, options)
    require_content(text, form)
    return write_texts([text], path, overwrite)


def require_content(text: str, form: Format) -> None:
    """Check that an export is not empty.

    Args:
        text: The result of `form.export`.
        form: The format.

    Raises:
        StoreError: If the text is empty, with the reason for that format.
    """
    if not text:
        raise StoreError(
            f"The chat holds nothing for {form.name}",
            "It has no finished reply" if form.name != "preferences" else "It has no preferences",
            "Rate or rank replies to one message first" if form.name == "preferences" else "",
        )


def write_texts(texts: Iterable[str], path: Path, overwrite: bool = False) -> Path:
    """Write texts one after the other to a file atomically, with gzip if its name ends in `.gz`.

    Args:
        texts: The texts, written as UTF-8.
        path: The file; its folder must exist.
        overwrite: Replace an existing file.

    Returns:
        `path`, unchanged.

    Raises:
        StoreError: If the file exists and `overwrite` is false, or it cannot be written.
    """
    with open_atomically(path, overwrite=overwrite) as file:
        if path.name.lower().endswith(COMPRESSED):
            # Leave name and time out of the gzip header: equal chats then give equal files.
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                for piece in _encoded(texts):
                    packed.write(piece)
        else:
            _write(file, texts)
    return path


def _write(file: IO[bytes], texts: Iterable[str]) -> None:
    for piece in _encoded(texts):
        file.write(piece)


def _encoded(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        yield text.encode("utf-8", "replace")


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
