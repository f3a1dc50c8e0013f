"""Guessing the next tokens from the text itself, and whether that pays.

What was written before is often written again: names, code, quotations. Where the last tokens have
occurred already, the tokens that followed are a guess, and one forward pass of the model checks all
of them. The sampler still chooses every token, by the same random numbers, so the text does not
depend on the guesses; only the order of summation differs (prompt lookup decoding, Saxena 2023;
verification as in Leviathan et al. 2023, arXiv:2211.17192, for a guess that is certain).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

LONGEST_MATCH = 3
SHORTEST_MATCH = 2
"""Tokens that must have occurred in this order. A single one says too little."""


class PromptLookup:
    """Guesses by what followed the last tokens when they occurred before.

    Args:
        ids: The prompt.
    """

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self.ids: list[int] = []
        """The text so far."""
        self._after: dict[tuple[int, ...], int] = {}
        self._before: dict[tuple[int, ...], int] = {}
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """Take the next token of the text."""
        self.ids.append(token)
        end = len(self.ids)
        for size in range(SHORTEST_MATCH, LONGEST_MATCH + 1):
            if end >= size:
                key = tuple(self.ids[end - size :])
                if key in self._after:
                    self._before[key] = self._after[key]
                self._after[key] = end

    def guess(self, most: int) -> list[int]:
        """The tokens that may come next, at most so many; none where there is nothing to go by."""
        end = len(self.ids)
        for size in range(min(LONGEST_MATCH, end), SHORTEST_MATCH - 1, -1):
            start = self._before.get(tuple(self.ids[end - size :]))
            if start is not None:
                return self.ids[start : start + most]
        return []


class Payoff:
    """Whether guessing is quicker than computing one token after the other, by what was measured.

    Args:
        again_after: Tokens until it is tried again, once it did not pay.
    """

    def __init__(self, again_after: int = 32) -> None:
        self._again_after = again_after
        self._plain_s = 0.0
        self._check_s = 0.0
        self._right = 0.0
        self._checks = 0
        self._tokens_since = 0

    def computed(self, seconds: float) -> None:
        """A token was computed by itself."""
        self._plain_s = _drift(self._plain_s, seconds)
        self._tokens_since += 1

    def checked(self, seconds: float, right: int) -> None:
        """Guesses were checked, and the first so many were right."""
        self._check_s = _drift(self._check_s, seconds)
        self._right = _drift(self._right, float(right)) if self._checks else float(right)
        self._checks += 1
        self._tokens_since = 0

    @property
    def is_worth_it(self) -> bool:
        """Whether the next guess should be checked."""
        if not self._plain_s:
            return False  # there is nothing to compare with yet
        if self._checks < 2 or self._tokens_since >= self._again_after:
            return True
        return (self._right + 1) * self._plain_s > self._check_s


class Guesser:
    """Guesses while that pays; for all replies of a model."""

    def __init__(self) -> None:
        self._payoff = Payoff()
        self._lookup: PromptLookup | None = None

    def begin(self) -> None:
        """Another text comes."""
        self._lookup = None

    def add(self, token: int) -> None:
        """A token was chosen."""
        if self._lookup is not None:
            self._lookup.add(token)

    def guess(self, read: Callable[[], Sequence[int]], most: int) -> list[int]:
        """The tokens to check with the next forward pass; none where that does not pay.

        Args:
            read: Gives the text so far; asked once for a text, whose tokens `add` tells then.
            most: How many may be guessed.
        """
        if self._lookup is None:
            self._lookup = PromptLookup(read())
        return self._lookup.guess(most) if self._payoff.is_worth_it else []

    def computed(self, seconds: float) -> None:
        """A token was computed by itself."""
        self._payoff.computed(seconds)

    def checked(self, seconds: float, right: int) -> None:
        """The last guesses were checked, and the first so many were right."""
        self._payoff.checked(seconds, right)


def _drift(value: float, new: float) -> float:
    """A mean in which older measurements count less and less."""
    return 0.75 * value + 0.25 * new if value else new
