"""How fast this machine reads memory, the physical limit of decoding one token at a time.

Every weight is read once for each token, so bytes read per second against this figure says how
much of the machine a decoder uses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tui_chat.engine.machine.devices import usable_cores

BUFFER_BYTES = 512 * 1024**2
"""Larger than any cache of a processor."""
GPU_BUFFER_BYTES = 2 * 1024**3
"""Larger than any cache of a GPU, and long to read against the start of a kernel."""
_GPU_PASSES = 8
"""Reductions that are queued before the device is waited for, whose answer takes its time too."""


def read_bandwidth(device: str, rounds: int = 5) -> float:
    """Bytes per second that reductions read, the best of several rounds; a CPU uses every core.

    Args:
        device: `cpu`, `cuda:0` or `mps`.
        rounds: How often to measure, at least 1.
    """
    import torch

    size, passes = BUFFER_BYTES, 1
    if device.startswith("cuda"):
        size = min(GPU_BUFFER_BYTES, torch.cuda.mem_get_info(device)[0] // 2)
        passes = _GPU_PASSES
    data = torch.ones(size // 4, dtype=torch.float32, device=device)
    best = 0.0
    with _every_core():
        for _ in range(rounds + 1):
            began = time.perf_counter()
            for _ in range(passes):
                total = data.sum()
            float(total)  # waits for the device
            best = max(best, passes * size / (time.perf_counter() - began))
    return best


@contextmanager
def _every_core() -> Iterator[None]:
    """Let operations on the CPU use all that this process may, however many a model uses."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def peak_bytes(device: str) -> int:
    """Most memory this process has used: resident on a CPU, allocated on a GPU."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
