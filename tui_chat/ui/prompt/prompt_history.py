"""Drafts with their folded pastes, and the history of sent prompts.

A folded paste is shown as a short label and expands to exactly the pasted text. These are values
without widgets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

FOLD_LINES = 8
"""Number of lines from which a paste is folded."""
FOLD_CHARACTERS = 1000
"""Number of characters from which a paste is folded."""
MOST_CHARACTERS = 64 * 1024
"""A longer text from elsewhere is folded too, because editing it in the text area would be slow."""

_NBSP = "\u00a0"
_LINE_BREAKS_OTHER_THAN_NEWLINE = re.compile("[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""Characters at which a text area breaks lines, and which it would turn into newlines."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message being written: its text as shown, and the text behind each label."""

    text: str = ""
    pastes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def full(self) -> str:
        """The exact text, with every label replaced by the text behind it."""
        return expand(self.text, self.pastes)

    def __bool__(self) -> bool:
        return bool(self.text)


def draft_of(text: str) -> Draft:
    """Return a draft of a text that was not typed.

    The text is folded if it is too long to edit, or if a text area would change it.
    """
    if len(text) > MOST_CHARACTERS or _LINE_BREAKS_OTHER_THAN_NEWLINE.search(text):
        label = paste_label(text, None, ())
        return Draft(label, {label: text})
    return Draft(text)


def is_long_paste(text: str) -> bool:
    """Return whether a paste has to be folded."""
    if len(text) >= FOLD_CHARACTERS or text.count("\n") + 1 >= FOLD_LINES:
        return True
    return _LINE_BREAKS_OTHER_THAN_NEWLINE.search(text) is not None


def paste_label(text: str, tokens: int | None, taken: Iterable[str]) -> str:
    """Return a label for a paste, as `[pasted 212 lines, 1 930 tok]`, that is not taken yet.

    Its spaces are no-break spaces, so that nobody types such a label by accident.

    Args:
        text: The pasted text.
        tokens: Its size in tokens; None if not counted yet.
        taken: Labels of other pastes.
    """
    lines = len(text.splitlines())
    parts = [f"{lines} lines" if lines != 1 else "1 line"]
    if tokens is not None:
        parts.append(f"{tokens:,} tok".replace(",", " "))
    size = ", ".join(parts)
    used = set(taken)
    for number in range(1, len(used) + 2):
        mark = f" #{number}" if number > 1 else ""
        label = f"[pasted{mark} {size}]".replace(" ", _NBSP)
        if label not in used:
            break
    return label


def expand(text: str, pastes: Mapping[str, str]) -> str:
    """Replace labels by the text behind them; labels in the inserted text are not expanded."""
    if not pastes:
        return text
    labels = "|".join(re.escape(label) for label in sorted(pastes, key=len, reverse=True))
    return re.sub(labels, lambda match: pastes[match[0]], text)


class PromptHistory:
    """The sent drafts, oldest first, and the current place among them."""

    def __init__(self) -> None:
        self._of_chat: list[Draft] = []
        self._of_run: list[Draft] = []
        self._entries: list[Draft] = []
        self._index: int | None = None
        self._own = Draft()

    @property
    def is_browsing(self) -> bool:
        """Whether the prompt shows an earlier draft instead of the user's own."""
        return self._index is not None

    def open_chat(self, texts: Iterable[str]) -> None:
        """Set the user messages of a chat as the older part of the history.

        Args:
            texts: The messages, oldest first.
        """
        self._of_chat = [draft_of(text) for text in texts]
        self.rest()

    def add(self, draft: Draft) -> None:
        """Add a sent draft."""
        self._of_run.append(draft)
        self.rest()

    def rest(self) -> None:
        """Leave the history: the next step back begins at the newest draft again."""
        self._index = None

    def previous(self, current: Draft) -> Draft | None:
        """Go one step back and return that draft; None at the oldest.

        Args:
            current: The user's own draft, which is kept for the way back.
        """
        if self._index is None:
            self._entries = self._all()
            self._own = current
            self._index = len(self._entries)
        if self._index == 0:
            if not self._entries:
                self._index = None
            return None
        self._index -= 1
        return self._entries[self._index]

    def next(self) -> Draft | None:
        """Go one step forward; the user's own draft follows the newest one, then None."""
        if self._index is None:
            return None
        self._index += 1
        if self._index < len(self._entries):
            return self._entries[self._index]
        self._index = None
        return self._own

    def _all(self) -> list[Draft]:
        """Return every text once, at its newest place."""
        newest: dict[str, Draft] = {}
        for draft in (*self._of_chat, *self._of_run):
            newest.pop(draft.full, None)
            newest[draft.full] = draft
        return list(newest.values())
