"""Guesses the next tokens from the text so far, and measures whether checking the guesses pays.

Text often repeats: names, code, quotations. If the last tokens occurred before, the tokens that
followed them are the guess, and one forward pass of the model checks all of them. The sampler still
chooses every token with the same random numbers, so the guesses do not change the text, except
through the order of summation (prompt lookup decoding, Saxena 2023; verification as in Leviathan et
al. 2023, arXiv:2211.17192, for a draft that is certain).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

LONGEST_MATCH = 3
"""Length of the longest run of tokens that is looked up. Longer matches are tried first."""
SHORTEST_MATCH = 2
"""Length of the shortest run. A single token predicts too little."""


class PromptLookup:
    """Draft by lookup: the tokens that followed an earlier occurrence of the last tokens.

    Args:
        ids: The prompt.
    """

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self.ids: list[int] = []
        """The text so far."""
        self._after: dict[tuple[int, ...], int] = {}
        """Position behind the newest occurrence of each run of tokens."""
        self._before: dict[tuple[int, ...], int] = {}
        """The same for the occurrence before the newest."""
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """Append a token to the text."""
        self.ids.append(token)
        end = len(self.ids)
        for size in range(SHORTEST_MATCH, LONGEST_MATCH + 1):
            if end >= size:
                key = tuple(self.ids[end - size :])
                if key in self._after:
                    self._before[key] = self._after[key]
                self._after[key] = end

    def guess(self, most: int) -> list[int]:
        """Return up to `most` tokens that may come next; none if the last tokens are new."""
        end = len(self.ids)
        for size in range(min(LONGEST_MATCH, end), SHORTEST_MATCH - 1, -1):
            # The newest occurrence is the end of the text itself, which nothing follows yet.
            start = self._before.get(tuple(self.ids[end - size :]))
            if start is not None:
                return self.ids[start : start + most]
        return []


class Payoff:
    """Running measurement of whether checking guesses is faster than computing tokens one by one.

    Args:
        again_after: Tokens computed one by one after which guessing is tried again.
    """

    def __init__(self, again_after: int = 32) -> None:
        self._again_after = again_after
        self._plain_s = 0.0
        self._check_s = 0.0
        self._right = 0.0
        self._checks = 0
        self._tokens_since = 0

    def computed(self, seconds: float) -> None:
        """Record the time of a token that was computed by itself."""
        self._plain_s = _drift(self._plain_s, seconds)
        self._tokens_since += 1

    def checked(self, seconds: float, right: int) -> None:
        """Record the time of a check, and how many of its guesses were right."""
        self._check_s = _drift(self._check_s, seconds)
        self._right = _drift(self._right, float(right)) if self._checks else float(right)
        self._checks += 1
        self._tokens_since = 0

    @property
    def is_worth_it(self) -> bool:
        """Whether the next guesses should be checked."""
        if not self._plain_s:
            return False  # no plain token has been timed to compare with
        if self._checks < 2 or self._tokens_since >= self._again_after:
            return True
        # A check yields the right guesses and the token after them.
        return (self._right + 1) * self._plain_s > self._check_s


class Guesser:
    """Guesser that stops guessing while it does not pay. One serves all replies of a model."""

    def __init__(self) -> None:
        self._payoff = Payoff()
        self._lookup: PromptLookup | None = None

    def begin(self) -> None:
        """Start a new text."""
        self._lookup = None

    def add(self, token: int) -> None:
        """Append a chosen token to the text."""
        if self._lookup is not None:
            self._lookup.add(token)

    def guess(self, read: Callable[[], Sequence[int]], most: int) -> list[int]:
        """Return the tokens to check in the next forward pass; none while checking does not pay.

        Args:
            read: Returns the text so far. Called once for each text; later tokens come through
                `add`.
            most: How many tokens may be guessed.
        """
        if self._lookup is None:
            self._lookup = PromptLookup(read())
        return self._lookup.guess(most) if self._payoff.is_worth_it else []

    def computed(self, seconds: float) -> None:
        """Record the time of a token that was computed by itself."""
        self._payoff.computed(seconds)

    def checked(self, seconds: float, right: int) -> None:
        """Record the time of a check, and how many of its guesses were right."""
        self._payoff.checked(seconds, right)


def _drift(value: float, new: float) -> float:
    """Return a running mean in which older measurements count less and less."""
    return 0.75 * value + 0.25 * new if value else new
