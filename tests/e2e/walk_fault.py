"""What a random walk looks for: something that the program must not do."""

from __future__ import annotations

HANG_S = 20.0
"""How long nothing may happen after a key, on a machine that is busy with other things."""


class Fault(AssertionError):
    """Something that the program must not do.

    Args:
        kind: In few words; two faults of one kind are taken for the same.
        detail: What is known of it.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}\n{detail}")
        self.kind = kind
        self.detail = detail
