"""A random walk through the real program: keys, mouse, sizes and stops while replies stream.

Come here to take a walk, and to see what is said of one that finds a fault: `walk_steps` has what a
step is and how a seed makes steps, `walked_program` what is checked after them. `make walk
STEPS=100000` takes as many steps as wanted, the tests some thousands.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.walk_fault import Fault
from tests.e2e.walk_steps import Check, Quit, Step, steps_of
from tests.e2e.walked_program import WalkedProgram


@dataclass(slots=True)
class Outcome:
    """How a walk went."""

    taken: int
    """Steps."""
    fault: Fault | None = None
    explanation: str = ""
    comparisons: int = 0
    starts: int = 0


def run_steps(steps: Sequence[Step], seed: int, model: str = "") -> Outcome:
    """Take steps in a fresh home, then check.

    Args:
        steps: Them.
        seed: Of the replies.
        model: A real model; the script if it is empty.
    """
    home = Path(tempfile.mkdtemp(prefix="walk-"))
    walk: WalkedProgram | None = None
    taken = 0
    try:
        walk = WalkedProgram(home / "home", seed, model)
        for step in steps:
            taken += 1
            walk.take(step)
        walk.take(Check())
        walk.take(Quit(b"\x11"))
        return Outcome(taken, None, "", walk.comparisons, walk.starts)
    except Fault as fault:
        shown = "" if walk is None else walk.explanation()
        return Outcome(taken, fault, shown)
    finally:
        if walk is not None:
            walk.close()
        shutil.rmtree(home, ignore_errors=True)


def shrunk(
    steps: Sequence[Step], seed: int, kind: str, model: str = "", limit_s: float = 120.0
) -> list[Step]:
    """Fewer steps that lead to a fault of the same kind: the end of them, then without parts.

    Args:
        steps: Those up to the fault.
        seed: Of the replies.
        kind: Of the fault.
        model: A real model; the script if it is empty.
        limit_s: How long to try.
    """
    limit = time.monotonic() + limit_s

    def fails(some: Sequence[Step]) -> bool:
        if time.monotonic() > limit:
            return False
        fault = run_steps(some, seed, model).fault
        return fault is not None and fault.kind == kind

    best = list(steps)
    length = 3
    while length < len(best):
        if fails(best[-length:]):
            best = best[-length:]
            break
        length *= 4
    parts = 2
    while len(best) > 1 and time.monotonic() < limit:
        size = -(-len(best) // parts)
        for start in range(0, len(best), size):
            fewer = best[:start] + best[start + size :]
            if fewer and fails(fewer):
                best, parts = fewer, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(best), parts * 2)
    return best


def report(seed: int, steps: Sequence[Step], outcome: Outcome, small: Sequence[Step]) -> str:
    """What to say of a fault."""
    assert outcome.fault is not None
    code = "".join(f"    {step!r},\n" for step in small)
    return (
        f"seed {seed}, step {outcome.taken} of {len(steps)}: {outcome.fault.kind}\n"
        f"{outcome.fault.detail}\n{outcome.explanation}\n"
        f"--- {len(small)} steps lead to it:\nSTEPS = [\n{code}]\n"
        f"run_steps(STEPS, {seed})\n"
    )


def walk_or_fail(seed: int, count: int, model: str = "", shrink_s: float = 120.0) -> Outcome:
    """Walk; a fault is shrunk and told.

    Raises:
        AssertionError: If there was a fault.
    """
    steps = steps_of(seed, count)
    outcome = run_steps(steps, seed, model)
    if outcome.fault is not None:
        small = steps[: outcome.taken]
        if shrink_s:
            small = shrunk(small, seed, outcome.fault.kind, model, shrink_s)
        raise AssertionError(report(seed, steps, outcome, small))
    return outcome


def main() -> int:
    """`make walk`: walk after walk, each with the next seed, until there were enough steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000, help="how many in all")
    parser.add_argument("--seed", type=int, default=None, help="of the first walk")
    parser.add_argument("--each", type=int, default=1000, help="steps of one walk")
    parser.add_argument("--model", default="", help="a real model, as guide; else a script")
    parser.add_argument("--shrink", type=float, default=300.0, help="seconds for each fault")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    faults, done = 0, 0
    while done < options.steps:
        count = min(options.each, options.steps - done)
        began = time.monotonic()
        try:
            outcome = walk_or_fail(seed, count, options.model, options.shrink)
            took = time.monotonic() - began
            print(
                f"seed {seed}: {count} steps, {outcome.comparisons} comparisons, "
                f"{outcome.starts} starts, {took:.1f} s",
                flush=True,
            )
        except AssertionError as error:
            faults += 1
            print(f"{error}\n{'=' * 100}", flush=True)
        done += count
        seed += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
