"""Values that report on saving: whether it works, and one-time notices about the database.

They live outside `storage.database` because the first frame already shows the saving state, and
importing the database code takes longer than painting that frame.
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
    """A fact about the database that the user sees once."""

    kind: NoticeKind
    text: str
    """One or two sentences."""
    path: Path | None = None
    """The file concerned, if any: the one that was set aside, copied or imported."""
    hint: str = ""
    """What the user can do."""
    remedy: Remedy | None = None
    """Where in the program the user does it."""

    def worded(self, place: str) -> str:
        """Return the text and the hint as sentences.

        Args:
            place: Where to follow the hint, in the words of the front end, for example a key or a
                command; empty for nowhere.
        """
        hint = remedied(self.hint, place)
        return f"{self.text} {hint}." if hint else self.text


@dataclass(frozen=True, slots=True)
class SaveState:
    """Whether saving works, and how much still has to be saved."""

    ok: bool
    pending: int
    """Number of changes that are not on the disk yet."""
    detail: str = ""
    """Why saving fails, as one line; empty while it works."""
