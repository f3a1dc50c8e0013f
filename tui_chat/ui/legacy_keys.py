"""Keys that terminals without an extended keyboard protocol send and Textual does not know.

Owns the additions to Textual's table of sequences. Refuses to change what is in it already.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS  # Textual has no public way to add one


class LegacyKey(StrEnum):
    """Keys by Textual's names for them, in the form that its table wants."""

    ALT_ENTER = "alt+enter"


_SEQUENCES = {"\x1b\r": LegacyKey.ALT_ENTER}
"""Alt+Enter is Esc and Return in one; read as two, it would send what should be a new line."""


def learn_legacy_keys() -> None:
    """Let Textual read them; a second call changes nothing."""
    table = cast("dict[str, tuple[Enum, ...]]", ANSI_SEQUENCES_KEYS)
    for sequence, key in _SEQUENCES.items():
        table.setdefault(sequence, (key,))
