"""Measures memory: how fast this machine reads it, and how much of it the process has used.

Memory bandwidth limits decoding, which reads every weight once for each token. The bytes that a
decoder reads per second, divided by the bandwidth, say how close it is to that limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tui_chat.engine.machine.devices import usable_cores

BUFFER_BYTES = 512 * 1024**2
"""Bytes read on a CPU or an Apple GPU; larger than any cache."""
GPU_BUFFER_BYTES = 2 * 1024**3
"""Bytes read on a CUDA GPU; larger than any cache, and much slower than a kernel launch."""
_GPU_PASSES = 8
"""Reductions queued before each wait for the GPU, so that the wait itself counts for little."""


def read_bandwidth(device: str, rounds: int = 5) -> float:
    """Measure the read bandwidth of a device by summing a large tensor, on a CPU with every core.

    Args:
        device: A device as `resolve_device` returns it, such as `cpu`, `cuda:0` or `mps`.
        rounds: Number of measurements after one for warming up, at least 1.

    Returns:
        The highest bandwidth of all rounds, in bytes per second.
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
            float(total)  # waits until the device is done
            best = max(best, passes * size / (time.perf_counter() - began))
    return best


@contextmanager
def _every_core() -> Iterator[None]:
    """Let torch compute on every core that this process may use, within the `with` block."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def peak_bytes(device: str) -> int:
    """Return the peak memory of this process, in bytes.

    On a CUDA device it is the memory that torch allocated, else the resident memory.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
