"""How fast this machine reads memory, the physical limit of decoding one token at a time.

Every weight is read once for each token, so bytes read per second against this figure says how
much of the machine a decoder uses.
"""

from __future__ import annotations

import time

BUFFER_BYTES = 512 * 1024**2
"""Larger than any cache of a processor."""


def read_bandwidth(device: str, rounds: int = 5) -> float:
    """Bytes per second that a reduction reads, the best of several rounds.

    Args:
        device: `cpu`, `cuda:0` or `mps`.
        rounds: How often to measure, at least 1.
    """
    import torch

    data = torch.ones(BUFFER_BYTES // 4, dtype=torch.float32, device=device)
    best = 0.0
    for _ in range(rounds + 1):
        began = time.perf_counter()
        float(data.sum())  # the conversion waits for the device
        best = max(best, BUFFER_BYTES / (time.perf_counter() - began))
    return best


def peak_bytes(device: str) -> int:
    """Most memory this process has used: resident on a CPU, allocated on a GPU."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
