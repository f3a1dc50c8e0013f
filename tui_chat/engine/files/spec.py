"""What a model is to its owner: a name, where its files are, and how it is to be run.

Owns the two forms that a source may have besides a directory. Refuses to look at any file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tui_chat.chat.model_size import ModelShape
from tui_chat.config import paths

GUIDE_SOURCE = "builtin:guide"

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model by its name, and how its owner wants it run. None leaves a value to the files."""

    name: str
    """What the user calls it: a registry name, a directory or a hub id."""
    source: str
    """`builtin:guide`, an absolute directory, or a hub id."""
    revision: str = "main"
    """Branch, tag or commit of a hub model."""
    template: str | None = None
    context: int | None = None
    reserve: int | None = None
    precision: str = "auto"
    device: str = "auto"
    preset: str | None = None
    description: str = ""
    shape: ModelShape | None = None
    """Declared in models.toml, so that sizes are known before a download."""

    @property
    def kind(self) -> Literal["builtin", "directory", "hub"]:
        """Where the files are."""
        if self.source == GUIDE_SOURCE:
            return "builtin"
        return "hub" if is_hub_id(self.source) else "directory"

    @property
    def directory(self) -> Path | None:
        """The folder of the files; None for a hub id, whose folder `engine.hub` knows."""
        if self.kind == "builtin":
            return paths.guide_weights_dir()
        return Path(self.source) if self.kind == "directory" else None


def is_path(name: str) -> bool:
    """Whether a name can only mean a directory: it starts like one."""
    return name.startswith(("/", "~", ".", "\\")) or re.match(r"[A-Za-z]:[\\/]", name) is not None


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a hub id, `owner/name`."""
    return _HUB_ID.fullmatch(name) is not None and "--" not in name and ".." not in name
