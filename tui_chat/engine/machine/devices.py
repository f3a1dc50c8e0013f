"""The devices of this machine: their memory, their CPU cores and the precisions that work on them.

torch is imported inside functions, so that importing this module is quick.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tui_chat.chat.known_names import PRECISIONS, Precision
from tui_chat.chat.model_size import QUANTISED
from tui_chat.errors import ModelLoadError
from tui_chat.safe_text import safe_line

SMALL_MODEL = 64_000_000
"""Parameters below which bf16 is no faster on a CPU, since memory bandwidth is not the limit."""

_DEVICE = re.compile(r"cpu|mps|cuda(?::(\d{1,3}))?")


@dataclass(frozen=True, slots=True)
class Device:
    """A device that torch can use."""

    name: str
    """`cpu`, `mps` or `cuda:N`."""
    label: str
    """Name of the hardware, to show to the user."""


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of a device in bytes; for the CPU, within the limits of the container if any."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class PrecisionSupport:
    """Whether a precision works on a device."""

    precision: Precision
    reason: str = ""
    """Why it does not work; empty if it does."""
    note: str = ""
    """What to expect of it, shown by `tui-chat doctor`; empty if it has no drawback."""


@dataclass(frozen=True, slots=True)
class CpuFeatures:
    """Features of the CPU that decide how fast a model runs."""

    name: str
    threads: int
    """Threads that torch uses for one operation."""
    has_avx2: bool
    has_avx512: bool
    has_bf16: bool
    """Whether it has bf16 arithmetic: AVX512-BF16, AMX, or the Arm extension."""


def available_devices() -> tuple[Device, ...]:
    """Return every usable device: CUDA GPUs, then an Apple GPU, then the CPU."""
    import torch

    devices = [
        Device(f"cuda:{index}", safe_line(torch.cuda.get_device_name(index), 64))
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple GPU"))
    return (*devices, Device("cpu", cpu_features().name))


def resolve_device(wanted: str) -> str:
    """Return the device that a user means.

    Args:
        wanted: `auto`, `cpu`, `mps`, `cuda` or `cuda:N`. `auto` is the first of
            `available_devices`, and N counts the GPUs that CUDA_VISIBLE_DEVICES leaves visible.

    Returns:
        `cpu`, `mps` or `cuda:N`.

    Raises:
        ModelLoadError: If the device does not exist. It lists those that do.
    """
    names = [device.name for device in available_devices()]
    if wanted == "auto":
        return names[0]
    match = _DEVICE.fullmatch(wanted)
    if match is not None:
        name = "cuda:0" if wanted == "cuda" else wanted
        name = f"cuda:{int(match[1])}" if match[1] else name
        if name in names:
            return name
    shown = safe_line(wanted, 32)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    limit = (
        f"; CUDA_VISIBLE_DEVICES is {safe_line(visible, 32)!r}"
        if visible is not None and shown.startswith("cuda")
        else ""
    )
    raise ModelLoadError(
        f"There is no {shown}", f"This machine has {', '.join(names)}{limit}", "Use --device auto"
    )


def device_memory(device: str) -> DeviceMemory:
    """Return the free and total memory of a device, as seen by this process.

    On a CPU, free memory is what the system can provide without swapping, or what the limit of the
    container leaves if that is less. On a CUDA GPU, unused memory of torch's allocator is free.

    Args:
        device: A device as `resolve_device` returns it.
    """
    import torch

    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(torch.device(device))
        index = torch.device(device).index
        held = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
        return DeviceMemory(int(free) + int(held), int(total))
    import psutil  # type: ignore[import-untyped]  # it ships no type hints

    memory = psutil.virtual_memory()
    free, total = int(memory.available), int(memory.total)
    if device == "mps":
        limit = int(torch.mps.recommended_max_memory())
        return DeviceMemory(min(free, limit - int(torch.mps.driver_allocated_memory())), limit)
    group = container_memory()
    if group is not None:
        free, total = min(free, group.free), min(total, group.total)
    return DeviceMemory(max(free, 0), total)


def container_memory(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> DeviceMemory | None:
    """Return the memory that Linux control groups, version 1 or 2, allow this process.

    The inactive file pages of a group count as free, since the kernel can drop them at once.

    Args:
        membership: File that lists the control groups of the process.
        root: Mount point of the control groups.

    Returns:
        The memory of the group or parent group with the least left; None if none has a limit.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    tightest: DeviceMemory | None = None
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
            base = root
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            base = root / "memory"
        else:
            continue
        folder = base / group.lstrip("/")
        for candidate in (folder, *folder.parents):
            if candidate == base.parent:
                break
            found = _group_memory(candidate, *names)
            if found is not None and (tightest is None or found.free < tightest.free):
                tightest = found
    return tightest


def _group_memory(folder: Path, limit: str, usage: str, cached: str) -> DeviceMemory | None:
    """Return the memory of one control group; None if it has no limit.

    Args:
        folder: The folder of the group.
        limit: Name of the file with its limit.
        usage: Name of the file with its usage.
        cached: Key in `memory.stat` of the inactive file pages.
    """
    try:
        total = int((folder / limit).read_text())
        used = int((folder / usage).read_text())
    except (OSError, ValueError):  # no such group, or the word "max"
        return None
    if total >= 2**60:  # version 1 writes a huge number for "no limit"
        return None
    try:
        statistics = (folder / "memory.stat").read_text().splitlines()
        droppable = next(int(s.split()[1]) for s in statistics if s.split()[0] == cached)
    except (OSError, ValueError, IndexError, StopIteration):
        droppable = 0
    return DeviceMemory(max(total - used + droppable, 0), total)


def memory_in_use(device: str) -> int:
    """Return the bytes that this process uses: tensors on a GPU, resident memory on a CPU."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.memory_allocated(torch.device(device)))
    if device == "mps":
        import torch

        return int(torch.mps.current_allocated_memory())
    import psutil

    return int(psutil.Process().memory_info().rss)


def cpu_features() -> CpuFeatures:
    """Return the features of this CPU, as reported by torch."""
    import torch

    # Older releases of torch lack it. Then `auto` prefers fp32, which is correct on every CPU.
    get_capabilities = getattr(torch.cpu, "get_capabilities", dict[str, object])
    found = get_capabilities()
    bf16 = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16", "sve_bf16")
    return CpuFeatures(
        name=safe_line(str(found.get("cpu_name") or found.get("architecture") or "CPU"), 64),
        threads=torch.get_num_threads(),
        has_avx2=bool(found.get("avx2")),
        has_avx512=bool(found.get("avx512_f")),
        has_bf16=any(found.get(name) for name in bf16),
    )


def computes_in_fp32(device: str, precision: Precision) -> bool:
    """Return whether a model in some precision computes in fp32 on a device.

    A quantised model on a CPU computes in bf16 where the CPU has it, else in fp32.
    """
    if precision in QUANTISED:
        return device == "cpu" and not cpu_features().has_bf16
    return precision == "fp32"


def precision_support(device: str) -> tuple[PrecisionSupport, ...]:
    """Return for each precision whether it works on a device, in the order of `PRECISIONS`."""
    return tuple(support_of(device, precision) for precision in PRECISIONS)


def support_of(device: str, precision: Precision) -> PrecisionSupport:
    """Return whether a precision works on a device.

    For 8bit and 4bit this imports bitsandbytes, which takes the better part of a second.
    """
    if precision == "int8":
        return PrecisionSupport(precision, reason=_no_torchao(device))
    if precision in QUANTISED:
        return PrecisionSupport(precision, reason=_no_bitsandbytes(device))
    if device.startswith("cuda"):
        import torch

        if precision == "bf16" and torch.cuda.get_device_capability(torch.device(device)) < (8, 0):
            return PrecisionSupport(precision, reason="this GPU has no bf16 arithmetic; use fp16")
    if device == "cpu":
        if precision == "fp16":
            note = "slow to read a prompt: no fp16 matrix kernels on this CPU"
            return PrecisionSupport(precision, note=note)
        if precision == "bf16" and not cpu_features().has_bf16:
            return PrecisionSupport(precision, note="slow: this CPU emulates bf16")
    return PrecisionSupport(precision)


def _no_bitsandbytes(device: str) -> str:
    """Return why 8bit and 4bit do not work on a device; empty if they do."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed (pip install bitsandbytes)"
    try:
        import bitsandbytes
    except Exception as error:  # a native library that cannot be loaded may raise anything
        return safe_line(f"bitsandbytes cannot be loaded: {error}", 160)
    kinds = getattr(bitsandbytes, "supported_torch_devices", {"cuda", "cpu"})
    kind = device.partition(":")[0]
    return "" if kind in kinds else f"bitsandbytes has no {kind} support"


def _no_torchao(device: str) -> str:
    """Return why int8 does not work on a device; empty if it does."""
    if importlib.util.find_spec("torchao") is None:
        return "torchao is not installed (pip install torchao)"
    kind = device.partition(":")[0]
    return "" if kind in ("cpu", "cuda") else f"torchao has no int8 for {kind}"


def preferred_precisions(
    device: str, parameters: int | None, stored: str = ""
) -> Iterator[Precision]:
    """Yield the precisions that work on a device, in the order in which `auto` tries them.

    `auto` takes the first one whose memory fits. It is a generator because checking a precision can
    be slow: those after the one that fits are never checked.

    On a GPU the order is bf16 and fp16, then 8bit, then 4bit. Weights stored in fp16 prefer fp16;
    those stored in bf16 or fp32 prefer bf16, since they may overflow in fp16. On a CPU the order is
    bf16 if it is native, else fp32 and bf16, then 8bit and 4bit. A small model prefers fp32, which
    is more exact and no slower for it.

    `auto` prefers 8bit to int8, although the compiled step of int8 is faster. Without a compiled
    step int8 is far slower, and that applies to every prefill and to decoding until the step is
    ready. It matters most for models that fit only when quantised, since those are large.

    Args:
        device: A device as `resolve_device` returns it.
        parameters: Number of weights; None if unknown.
        stored: The dtype named in config.json, such as `float16`; empty if unknown.
    """
    order: tuple[Precision, ...]
    if device != "cpu":
        order = ("bf16", "fp16") if stored in ("bfloat16", "float32") else ("fp16", "bf16")
    elif parameters is not None and parameters < SMALL_MODEL:
        order = ("fp32", "bf16")
    else:
        order = ("bf16",) if cpu_features().has_bf16 else ("fp32", "bf16")
    quantised: tuple[Precision, ...] = ("8bit", "4bit")
    for precision in (*order, *quantised):
        if not support_of(device, precision).reason:
            yield precision


def usable_cores() -> int:
    """Return the number of logical cores that this process may run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_counts() -> tuple[int, ...]:
    """Return the numbers of threads for an operation on the CPU that are worth trying, ascending.

    They are one, half of the physical cores that this process may use, and all of them; or only
    `OMP_NUM_THREADS`, if that is set.
    """
    import psutil

    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return (int(wanted),)
    most = min(usable_cores(), psutil.cpu_count(logical=False) or 1)
    return tuple(sorted({1, max(1, most // 2), most}))
