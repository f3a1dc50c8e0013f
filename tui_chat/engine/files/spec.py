"""`ModelSpec`: a model as configured, with its name, the source of its files and its options.

A source is a directory, a hub id or `builtin:guide`. Nothing here reads a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tui_chat.chat.model_size import ModelShape
from tui_chat.config import paths

GUIDE_SOURCE = "builtin:guide"
"""Source of the small model that ships with the program."""

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model and the options to run it with. None takes the value from the model's files."""

    name: str
    """Registry name, directory or hub id, by which the user calls it."""
    source: str
    """`builtin:guide`, an absolute directory, or a hub id."""
    revision: str = "main"
    """Branch, tag or commit of a hub model."""
    template: str | None = None
    context: int | None = None
    """Most tokens that prompt and reply have together."""
    reserve: int | None = None
    """Tokens of the context to keep free for the reply."""
    precision: str = "auto"
    device: str = "auto"
    preset: str | None = None
    """Name of the preset that the model starts with."""
    description: str = ""
    shape: ModelShape | None = None
    """Shape declared in models.toml, to estimate memory before a download."""

    @property
    def kind(self) -> Literal["builtin", "directory", "hub"]:
        """Kind of the source."""
        if self.source == GUIDE_SOURCE:
            return "builtin"
        return "hub" if is_hub_id(self.source) else "directory"

    @property
    def directory(self) -> Path | None:
        """Folder of the files; None for a hub id, whose folder `Hub.snapshot` finds."""
        if self.kind == "builtin":
            return paths.guide_weights_dir()
        return Path(self.source) if self.kind == "directory" else None


def is_path(name: str) -> bool:
    """Return whether a name can only be a path, judging by how it starts."""
    return name.startswith(("/", "~", ".", "\\")) or re.match(r"[A-Za-z]:[\\/]", name) is not None


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a hub id, `owner/name`."""
    return _HUB_ID.fullmatch(name) is not None and "--" not in name and ".." not in name
