"""How many threads a forward pass uses, found by measuring while tokens are decoded.

A second thread halves the time of a large model on a quiet machine, gains nothing for a small one,
and makes decoding many times slower where another program keeps a core busy, since the threads wait
for each other many times a token. So each number is tried for a few tokens, the best one is
kept, and they are tried again when tokens slow down. Refuses to know what is computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

SETTLE = 1
"""Tokens after a change that are not counted: caches are cold and threads have to start."""
TRIAL = 4
"""Tokens that each number is measured for."""
WORTH_A_THREAD = 0.9
"""More threads have to take at most this share of the time: the screens need the cores as well."""
SLOWER = 1.4
"""Tokens that take so many times what they took call for another look,"""
AGAIN_AFTER = 48
"""but not before so many tokens have passed,"""
AGAIN_AT_LEAST = 1024
"""and now and then anyway, since what slowed the machine may be over."""


@dataclass
class _Plan:
    """What is known of one path."""

    count: int
    """Threads now."""
    usual: float = 0.0
    """Seconds a token took when the number was chosen; 0 while it is being chosen."""
    since: int = 0
    """Tokens since then."""
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    trials: list[int] = field(default_factory=list)
    """Numbers still to be measured, the next one last."""
    measured: dict[int, float] = field(default_factory=dict)


class ThreadChoice:
    """Chooses the number of threads for decoding, for each path on its own. For one thread.

    Args:
        counts: The numbers to choose from, in ascending order; a single one is no choice.
        use: Has the following operations use so many threads.
    """

    def __init__(self, counts: Sequence[int], use: Callable[[int], None]) -> None:
        self._counts = tuple(counts)
        self._use = use
        self._plans: dict[str, _Plan] = {}
        self._used = 0

    def use_all(self) -> None:
        """Before a prompt is read, which gains from every core."""
        self._set(self._counts[-1])

    def before(self, path: str) -> None:
        """Before a token is computed on a path."""
        self._set(self._plan(path).count)

    def after(self, path: str, seconds: float) -> None:
        """After a token has been computed in so many seconds."""
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
        """Whether the numbers should be tried again."""
        if plan.since < AGAIN_AFTER:
            return False
        is_slow = median(plan.recent) > SLOWER * plan.usual
        return is_slow or plan.since >= AGAIN_AT_LEAST

    def _try_again(self, plan: _Plan) -> None:
        plan.usual, plan.measured = 0.0, {}
        plan.trials = list(self._counts)
        self._next_trial(plan)

    def _next_trial(self, plan: _Plan) -> None:
        """Measure the next number, or settle for the best."""
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
