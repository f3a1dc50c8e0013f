"""The formats in which a chat can be exported, by name and by file suffix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tui_chat.chat.conversation import Conversation
from tui_chat.errors import StoreError
from tui_chat.safe_text import safe_line
from tui_chat.storage.atomic import write_atomically
from tui_chat.storage.formats.json_format import to_json
from tui_chat.storage.formats.markdown import to_markdown


@dataclass(frozen=True, slots=True)
class Format:
    """One format of export."""

    name: str
    """As in `--format md`."""
    suffixes: tuple[str, ...]
    """File names that mean this format; the first is used for new files."""
    help: str
    """One sentence."""
    export: Callable[[Conversation], str]
    """The chat as the text of a file."""


FORMATS = MappingProxyType(
    {
        form.name: form
        for form in (
            Format("md", (".md", ".markdown"), "The shown messages, to be read.", to_markdown),
            Format("json", (".json",), "The whole tree with every field.", to_json),
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
            f"There is no export format {safe_line(name, 40)!r}", "", f"Use {' or '.join(FORMATS)}"
        ) from None


def format_of(path: Path) -> Format:
    """The format that a file name means.

    Raises:
        StoreError: If its suffix means none.
    """
    suffix = path.suffix.lower()
    for form in FORMATS.values():
        if suffix in form.suffixes:
            return form
    suffixes = " or ".join(form.suffixes[0] for form in FORMATS.values())
    raise StoreError(
        f"{safe_line(str(path))} names no export format", "", f"Use a name ending in {suffixes}"
    )


def export_to_file(
    conversation: Conversation, path: Path, form: Format | None = None, overwrite: bool = False
) -> Path:
    """Write a chat to a file, whole or not at all.

    Args:
        conversation: The chat.
        path: The file; its folder has to exist.
        form: The format; by default the one that the file name means.
        overwrite: Replace a file that is there.

    Raises:
        StoreError: If the format is unknown, the file is there, or it cannot be written.
    """
    text = (form or format_of(path)).export(conversation)
    return write_atomically(path, text, overwrite=overwrite)
