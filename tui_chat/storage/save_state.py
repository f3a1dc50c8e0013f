"""What saving says of itself: whether it works, and what the user should be told once.

Plain values, apart from the database that they are about: the first frame shows the state, and
what opens a database takes longer to import than that frame to paint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tui_chat.errors import Remedy, remedied

NoticeKind = Literal[
    "damaged", "replaced", "read-only", "migrated", "imported", "refused", "in use", "free"
]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the database that the user should be told once."""

    kind: NoticeKind
    text: str
    """One or two sentences."""
    path: Path | None = None
    """The file that it is about, where there is one: what was set aside, copied or imported."""
    hint: str = ""
    """What the user can do."""
    remedy: Remedy | None = None
    """Where the user does that."""

    def worded(self, place: str) -> str:
        """All of it, with where to do it in the words of a front end."""
        hint = remedied(self.hint, place)
        return f"{self.text} {hint}." if hint else self.text


@dataclass(frozen=True, slots=True)
class SaveState:
    """Whether saving works."""

    ok: bool
    pending: int
    """Changes that are not on the disk yet."""
    detail: str = ""
    """Why saving does not work, as one line; empty while it does."""
