"""torch's libraries are loaded ahead where that is known to work, and left to torch elsewhere."""

from __future__ import annotations

import importlib.machinery
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tui_chat.engine.machine import native_code
from tui_chat.engine.machine.native_code import load_torch_libraries

LOAD = """
import sys
from tui_chat.engine.machine.native_code import load_torch_libraries
assert load_torch_libraries()
assert "torch" not in sys.modules
assert "libtorch_cpu.so" in open("/proc/self/maps").read()
import torch
assert torch.ones(2, 3).matmul(torch.ones(3, 1)).tolist() == [[3.0], [3.0]]
assert not load_torch_libraries()  # there is nothing left to do
"""


def torch_folder() -> Path:
    found = importlib.machinery.PathFinder.find_spec("torch")
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


@pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or any((torch_folder() / "lib" / name).exists() for name in native_code._FOR_GPUS),
    reason="a build of torch for Linux and CPUs alone",
)
def test_torch_is_imported_as_ever_after_its_libraries() -> None:
    subprocess.run([sys.executable, "-c", LOAD], check=True, timeout=120)


@pytest.mark.parametrize(
    ("platform", "files"),
    [
        ("darwin", ["libtorch_global_deps.so"]),
        ("linux", ["libtorch_global_deps.so", "libtorch_cuda.so"]),
        ("linux", []),
        ("linux", ["libtorch_global_deps.so"]),  # which is none
    ],
)
def test_other_builds_are_left_to_torch(
    platform: str, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    for name in files:
        (tmp_path / "lib" / name).touch()

    def find_spec(name: str) -> Any:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        return spec

    monkeypatch.setattr(native_code.importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(native_code.sys, "platform", platform)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not load_torch_libraries()
