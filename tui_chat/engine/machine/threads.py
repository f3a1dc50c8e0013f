"""Chooses the number of threads for decoding by measuring while tokens are decoded.

On an idle machine a second thread halves the time for a large model and gains nothing for a small
one. If another program keeps a core busy, it makes decoding many times slower, since the threads
wait for each other many times per token. So `ThreadChoice` tries each number for a few tokens,
keeps the best one, and tries again when tokens become slower.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

SETTLE = 1
"""Tokens after a change that are not measured, while caches are cold and threads start."""
TRIAL = 4
"""Tokens over which each number of threads is measured."""
WORTH_A_THREAD = 0.9
"""Share of the time below which more threads are preferred; the rest of the program needs cores
too."""
SLOWER = 1.4
"""Factor by which tokens must have become slower for a new trial."""
AGAIN_AFTER = 48
"""Tokens from a choice to the earliest new trial."""
AGAIN_AT_LEAST = 1024
"""Tokens from a choice to a new trial in any case, since a busy machine may have become idle."""


@dataclass
class _Plan:
    """The state of the choice for one path."""

    count: int
    """Number of threads in use."""
    usual: float = 0.0
    """Seconds per token when the number was chosen; 0 during a trial."""
    since: int = 0
    """Tokens since the number last changed or was chosen."""
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    """Seconds of the last tokens."""
    trials: list[int] = field(default_factory=list)
    """Numbers still to measure, taken from the end of the list."""
    measured: dict[int, float] = field(default_factory=dict)
    """Median seconds per token by number of threads, in this trial."""


class ThreadChoice:
    """Chooses the number of threads for decoding, separately for each path.

    A path is a way to compute tokens, such as `eager` or `turbo`. All methods must be called from
    the same thread.

    Args:
        counts: Numbers to choose from, ascending. With a single one nothing is measured.
        use: Sets the number of threads of the operations that follow.
    """

    def __init__(self, counts: Sequence[int], use: Callable[[int], None]) -> None:
        self._counts = tuple(counts)
        self._use = use
        self._plans: dict[str, _Plan] = {}
        self._used = 0

    def use_all(self) -> None:
        """Use the largest number, for a prefill, which gains from every core."""
        self._set(self._counts[-1])

    def before(self, path: str) -> None:
        """Set the number of threads of a path. Call it before each of its tokens."""
        self._set(self._plan(path).count)

    def after(self, path: str, seconds: float) -> None:
        """Note the seconds that a token took. Call it after each token of a path."""
        if len(self._counts) < 2:
            return
        plan = self._plan(path)
        plan.recent.append(seconds)
        plan.since += 1
        if plan.usual:
            if self._is_due(plan):
                self._try_again(plan)
        elif plan.since >= SETTLE + TRIAL:
            plan.measured[plan.count] = median(list(plan.recent)[-TRIAL:])
            self._next_trial(plan)

    def _plan(self, path: str) -> _Plan:
        plan = self._plans.get(path)
        if plan is None:
            plan = self._plans[path] = _Plan(self._counts[-1])
            if len(self._counts) > 1:
                self._try_again(plan)
        return plan

    def _is_due(self, plan: _Plan) -> bool:
        """Return whether it is time for a new trial."""
        if plan.since < AGAIN_AFTER:
            return False
        is_slow = median(plan.recent) > SLOWER * plan.usual
        return is_slow or plan.since >= AGAIN_AT_LEAST

    def _try_again(self, plan: _Plan) -> None:
        """Start a trial of all numbers, the largest first."""
        plan.usual, plan.measured = 0.0, {}
        plan.trials = list(self._counts)
        self._next_trial(plan)

    def _next_trial(self, plan: _Plan) -> None:
        """Start measuring the next number, or choose the best one if all are measured."""
        plan.since = 0
        plan.recent.clear()
        if plan.trials:
            plan.count = plan.trials.pop()
            return
        best = self._counts[0]
        for other in self._counts[1:]:
            if plan.measured[other] < WORTH_A_THREAD * plan.measured[best]:
                best = other
        plan.count, plan.usual = best, plan.measured[best]

    def _set(self, count: int) -> None:
        if count != self._used:
            self._used = count
            self._use(count)
