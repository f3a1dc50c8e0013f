"""The formats in which a chat can be exported, by name and by file suffix."""

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
"""Ends the name of a file that is written compressed."""
_PLAIN = ExportOptions()


@dataclass(frozen=True, slots=True)
class Format:
    """One format of export."""

    name: str
    """As in `--format md`."""
    suffixes: tuple[str, ...]
    """File names that mean this format; the first is used for new files."""
    help: str
    """One sentence."""
    write: Callable[[Conversation, ExportOptions], str]
    """The chat as text."""
    is_training: bool = False
    """Whether it is for training: such a file is lines, without chats that must not be in it."""

    def export(self, conversation: Conversation, options: ExportOptions = _PLAIN) -> str:
        """The chat as the text of a file.

        Raises:
            StoreError: If the chat must not be exported so.
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
"""Every format by name."""


def format_named(name: str) -> Format:
    """The format with that name.

    Raises:
        StoreError: If there is none.
    """
    try:
        return FORMATS[name.lower().removeprefix(".")]
    except KeyError:
        raise StoreError(
            f"There is no export format {safe_line(name, 40)!r}", "", f"Use {_listed(FORMATS)}"
        ) from None


def format_of(path: Path) -> Format:
    """The format that a file name means, whether it is compressed or not.

    Raises:
        StoreError: If its end means none.
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
    """Write a chat to a file, whole or not at all; compressed if the name ends in `.gz`.

    Args:
        conversation: The chat.
        path: The file; its folder has to exist.
        form: The format; by default the one that the file name means.
        overwrite: Replace a file that is there.
        options: What the format leaves a choice in.

    Raises:
        StoreError: If the format is unknown, the chat must not be exported so, holds nothing for
            the format, the file is there, or it cannot be written.
    """
    form = form or format_of(path)
    text = form.export(conversation, options)
    require_content(text, form)
    return write_texts([text], path, overwrite)


def require_content(text: str, form: Format) -> None:
    """Refuse to write a file that says nothing.

    Raises:
        StoreError: If a chat has nothing for a format.
    """
    if not text:
        raise StoreError(
            f"The chat holds nothing for {form.name}",
            "It has no finished reply" if form.name != "preferences" else "It has no preferences",
            "Rate or rank replies to one message first" if form.name == "preferences" else "",
        )


def write_texts(texts: Iterable[str], path: Path, overwrite: bool = False) -> Path:
    """Write texts to a file one after the other, whole or not at all.

    Raises:
        StoreError: If the file is there, or it cannot be written.
    """
    with open_atomically(path, overwrite=overwrite) as file:
        if path.name.lower().endswith(COMPRESSED):
            # Neither name nor time are in it: the same chat makes the same file.
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
