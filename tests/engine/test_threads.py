"""The number of threads follows what a token costs with each."""

from __future__ import annotations

import pytest

from tui_chat.engine.machine.threads import AGAIN_AFTER, AGAIN_AT_LEAST, SETTLE, TRIAL, ThreadChoice


class Machine:
    """Decodes tokens that take as long as they take with so many threads."""

    def __init__(self, counts: tuple[int, ...], seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.used: list[int] = []
        self.choice = ThreadChoice(counts, self.used.append)

    def decode(self, tokens: int, path: str = "eager") -> int:
        """Decode some tokens; the number of threads of the last one."""
        for _ in range(tokens):
            self.choice.before(path)
            self.choice.after(path, self.seconds[self.used[-1]])
        return self.used[-1]


TRIALS = 3 * (SETTLE + TRIAL) + 1


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 4.0, 4: 1.3, 8: 0.7}, 8),
        ({1: 4.0, 4: 1.3, 8: 1.25}, 4),
        ({1: 1.0, 4: 0.95, 8: 0.93}, 1),
        ({1: 1.0, 4: 7.0, 8: 60.0}, 1),
    ],
)
def test_the_quickest_is_kept_and_a_thread_has_to_be_worth_it(
    seconds: dict[int, float], best: int
) -> None:
    machine = Machine((1, 4, 8), seconds)

    assert machine.decode(TRIALS) == best
    assert machine.decode(AGAIN_AFTER - TRIALS) == best


def test_a_busy_machine_is_noticed_and_so_is_its_end() -> None:
    machine = Machine((1, 2), {1: 2.0, 2: 1.0})
    assert machine.decode(200) == 2
    machine.seconds = {1: 2.2, 2: 40.0}
    assert machine.decode(AGAIN_AFTER + TRIALS) == 1
    assert machine.used.count(2) <= 3
    machine.seconds = {1: 2.0, 2: 1.0}
    assert machine.decode(AGAIN_AT_LEAST + TRIALS) == 2


def test_tokens_that_are_slow_with_any_number_change_nothing_for_long() -> None:
    machine = Machine((1, 2), {1: 2.0, 2: 1.0})
    machine.decode(100)
    machine.seconds = {1: 20.0, 2: 10.0}
    assert machine.decode(AGAIN_AFTER + TRIALS) == 2
    changes = len(machine.used)
    machine.decode(AGAIN_AT_LEAST // 2)
    assert len(machine.used) == changes


def test_each_path_has_its_own_number() -> None:
    machine = Machine((1, 2), {1: 1.0, 2: 2.0})
    assert machine.decode(TRIALS, "eager") == 1
    machine.seconds = {1: 1.0, 2: 0.5}
    assert machine.decode(TRIALS, "turbo") == 2
    machine.decode(1, "eager")
    assert machine.used[-1] == 1


def test_a_single_number_is_never_changed_and_prompts_use_every_core() -> None:
    machine = Machine((3,), {3: 1.0})
    machine.decode(500)
    assert machine.used == [3]
    two = Machine((1, 2), {1: 1.0, 2: 9.0})
    two.decode(TRIALS)
    two.choice.use_all()
    assert two.used[-1] == 2
    assert two.decode(1) == 1
