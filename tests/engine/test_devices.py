"""Devices, their memory, and the precisions that work on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tui_chat.engine.machine import devices
from tui_chat.engine.machine.devices import (
    CpuFeatures,
    DeviceMemory,
    container_memory,
    cpu_features,
    device_memory,
    memory_in_use,
    precision_support,
    preferred_precisions,
    resolve_device,
)
from tui_chat.errors import ModelLoadError

GIB = 1024**3


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU \x1b[31m{index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))


def cpu(has_bf16: bool) -> CpuFeatures:
    return CpuFeatures("test", 2, has_avx2=True, has_avx512=has_bf16, has_bf16=has_bf16)


@pytest.mark.usefixtures("cpu_only")
def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cpu") == "cpu"


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize("wanted", ["cuda", "cuda:1", "mps", "tpu", "cuda:-1", "cpu\n"])
def test_missing_device_is_refused_with_what_there_is(wanted: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        resolve_device(wanted)

    assert "This machine has cpu" in caught.value.detail
    assert caught.value.one_line.isprintable()


@pytest.mark.usefixtures("cpu_only")
def test_hidden_gpus_are_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    with pytest.raises(ModelLoadError, match="CUDA_VISIBLE_DEVICES is ''"):
        resolve_device("cuda")


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_numbered_and_named_safely() -> None:
    assert resolve_device("auto") == "cuda:0"
    assert resolve_device("cuda") == "cuda:0"
    assert resolve_device("cuda:1") == "cuda:1"
    assert resolve_device("cuda:01") == "cuda:1"
    assert all(device.label.isprintable() for device in devices.available_devices())
    with pytest.raises(ModelLoadError, match="This machine has cuda:0, cuda:1, cpu"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("two_gpus")
def test_old_gpu_does_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_no_bitsandbytes", lambda device: "")
    support = {s.precision: s.reason for s in precision_support("cuda:0")}

    assert "bf16" in support["bf16"]
    assert not support["fp16"]
    assert tuple(preferred_precisions("cuda:0", 10**9, "bfloat16")) == ("fp16", "8bit", "4bit")


def test_memory_of_the_cpu_is_plausible() -> None:
    memory = device_memory("cpu")

    assert 0 < memory.free <= memory.total
    assert 0 < memory_in_use("cpu") < memory.total


def test_container_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "container_memory", lambda: DeviceMemory(GIB // 64, GIB // 32))

    assert device_memory("cpu") == DeviceMemory(GIB // 64, GIB // 32)


def group(folder: Path, **files: object) -> None:
    """Write the files of a control group; `__` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/slice/job\n")
    root = tmp_path / "fs"
    group(root / "slice", memory__max=4 * GIB, memory__current=3 * GIB)
    group(root / "slice" / "job", memory__max="max", memory__current=GIB)
    (root / "slice" / "memory.stat").write_text(f"anon 1\ninactive_file {GIB}\n")

    assert container_memory(membership, root) == DeviceMemory(2 * GIB, 4 * GIB)


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("5:cpu:/a\n4:memory:/box\n0::/\n")
    root = tmp_path / "fs"
    group(root / "memory" / "box", memory__limit_in_bytes=2 * GIB, memory__usage_in_bytes=3 * GIB)
    group(root / "memory", memory__limit_in_bytes=2**63 - 4096, memory__usage_in_bytes=GIB)

    assert container_memory(membership, root) == DeviceMemory(0, 2 * GIB)


def test_no_control_groups(tmp_path: Path) -> None:
    assert container_memory(tmp_path / "none", tmp_path) is None
    (tmp_path / "cgroup").write_text("0::/\ngarbage\n")
    assert container_memory(tmp_path / "cgroup", tmp_path) is None


@pytest.mark.parametrize(
    ("has_bf16", "parameters", "first"),
    [(True, 12 * 10**9, "bf16"), (False, 12 * 10**9, "fp32"), (True, 5 * 10**6, "fp32"),
     (True, None, "bf16")],
)  # fmt: skip
def test_order_on_a_cpu(
    has_bf16: bool, parameters: int | None, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cpu_features", lambda: cpu(has_bf16))
    order = tuple(preferred_precisions("cpu", parameters))

    assert order[0] == first
    assert not {"fp16", "int8"} & set(order)
    assert list(order[-2:]) in (["8bit", "4bit"], [first, "bf16"])


def test_missing_bitsandbytes_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    support = {s.precision: s.reason for s in precision_support("cpu")}

    assert "pip install bitsandbytes" in support["8bit"]
    assert "pip install bitsandbytes" in support["4bit"]
    assert not support["fp32"]


def test_slow_precisions_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cpu_features", lambda: cpu(False))
    notes = {s.precision: s.note for s in precision_support("cpu")}

    assert "slow" in notes["fp16"]
    assert "emulates" in notes["bf16"]


def test_old_torch_without_capabilities_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert not cpu_features().has_bf16


def test_one_half_and_all_cores_can_be_chosen_and_the_environment_overrules(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    assert devices.thread_counts() == (1, 4, 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert devices.thread_counts() == (1,)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert devices.thread_counts() == (3,)
