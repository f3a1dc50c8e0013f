"""Random walks find no fault: seeds 5 to 8; others are apart, for another process to run."""

from __future__ import annotations

import pytest

from tests.e2e.walk import walk_or_fail


@pytest.mark.slow
@pytest.mark.parametrize("seed", (5, 6, 7, 8))
def test_a_walk_finds_no_fault(seed: int) -> None:
    walk_or_fail(seed, 500, shrink_s=60.0)
