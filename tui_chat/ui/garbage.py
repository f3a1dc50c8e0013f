"""When Python looks for garbage: while nothing else goes on.

Looking through all objects that the screens hold takes a fifth of a second with a long reply on
them, in which no key is answered; by itself Python does so every few seconds while a reply is
written. Young objects are still looked through at once, which takes no time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import monotonic

PAUSE_S = 2.0
"""After the last key, before all objects are looked through."""
WORTH_IT = 4
"""Collections of younger objects after which it is worth it."""
MUCH = 60
"""Collections of younger objects after which a shorter pause has to do: whoever flips through long
branches leaves 2 MiB of widgets behind with every key."""
SHORT_PAUSE_S = 0.5
AT_LEAST_EVERY = 300
"""Collections of younger objects after which it has to be: a reply may be written for an hour."""


class QuietCollector:
    """Collects garbage when it disturbs nobody.

    Args:
        is_busy: Whether something goes on that should not be held up.
        clock: Seconds from any start.
    """

    def __init__(self, is_busy: Callable[[], bool], clock: Callable[[], float] = monotonic) -> None:
        self._is_busy = is_busy
        self._clock = clock
        self._touched_at = clock()
        self._thresholds: tuple[int, int, int] | None = None

    def start(self) -> None:
        """Have Python leave the oldest objects alone from now on."""
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*self._thresholds[:2], AT_LEAST_EVERY)

    def stop(self) -> None:
        """Leave it to Python again."""
        if self._thresholds is not None:
            gc.set_threshold(*self._thresholds)

    def touched(self) -> None:
        """A key was pressed, or the mouse moved."""
        self._touched_at = self._clock()

    def look(self) -> bool:
        """Collect if this is a good moment; call it every now and then. Whether it was."""
        waiting = gc.get_count()[2]
        pause = SHORT_PAUSE_S if waiting >= MUCH else PAUSE_S
        is_quiet = self._clock() - self._touched_at >= pause and not self._is_busy()
        if is_quiet and waiting >= WORTH_IT:
            gc.collect()
            return True
        return False
