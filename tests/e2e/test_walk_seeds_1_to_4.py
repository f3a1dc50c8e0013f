"""Random walks find no fault: seeds 1 to 4; others are apart, for another process to run."""

from __future__ import annotations

import pytest

from tests.e2e.walk import walk_or_fail


@pytest.mark.slow
@pytest.mark.parametrize("seed", (1, 2, 3, 4))
def test_a_walk_finds_no_fault(seed: int) -> None:
    walk_or_fail(seed, 500, shrink_s=60.0)
