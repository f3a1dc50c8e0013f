"""What compiling needs is looked for where it may be, and what is missing is said."""

from __future__ import annotations

import importlib.machinery
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tui_chat.engine.machine.devices import DeviceMemory
from tui_chat.engine.turbo import artefact, requirements
from tui_chat.engine.turbo.artefact import Recipe, TurboError, recipe_for
from tui_chat.engine.turbo.requirements import (
    NEEDED_BYTES,
    compiler_problem,
    cuda_home,
    portable_headers,
    require_compiler,
    visible_device,
)

HEADERS = ("cuda.h", "cuda_runtime.h", "cuda_fp16.h", "crt/host_config.h", "nv/target")


def headers(home: Path, names: tuple[str, ...] = HEADERS) -> Path:
    """A folder as a toolkit has it."""
    for name in names:
        file = home / "include" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return home


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A Linux machine with a C++ compiler, and packages of one's choice in these folders."""
    (tmp_path / "bin").mkdir()
    compiler = tmp_path / "bin" / "g++"
    compiler.touch(0o755)
    for name in ("CUDA_HOME", "CUDA_PATH", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(requirements.sys, "platform", "linux")
    monkeypatch.setattr(requirements, "_TOOLKIT", tmp_path / "none")
    monkeypatch.setattr(requirements.sysconfig, "get_path", lambda name: str(tmp_path))

    def install(**folders: Path) -> None:
        def find_spec(name: str) -> Any:
            if name not in folders:
                return None
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(folders[name])]
            return spec

        monkeypatch.setattr(requirements.importlib.util, "find_spec", find_spec)

    install()
    return install


def test_what_is_missing_for_a_gpu_is_said(
    bare: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiler_problem("cpu") == ""
    assert "NVIDIA" in compiler_problem("mps")
    assert "triton is not installed" in compiler_problem("cuda:0")
    bare(triton=tmp_path)
    assert "headers of Python" in compiler_problem("cuda:0")
    (tmp_path / "Python.h").touch()
    assert "headers of CUDA" in compiler_problem("cuda:0")
    headers(tmp_path / "backends" / "nvidia", HEADERS[:4])
    assert "pip install nvidia-cuda-cccl" in compiler_problem("cuda:0")
    headers(tmp_path / "cu13", HEADERS[4:])
    bare(triton=tmp_path, nvidia=tmp_path)
    assert compiler_problem("cuda:0") == ""
    monkeypatch.setenv("PATH", "")
    assert "C++ compiler" in compiler_problem("cuda:0")


def test_headers_are_taken_from_where_they_are_whole(
    bare: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package of CUDA's runtime lacks some; the one of Triton does not."""
    runtime, triton = tmp_path / "nvidia", tmp_path / "triton"
    headers(runtime / "cu13", HEADERS[:3])
    bare(nvidia=runtime, triton=triton)
    assert cuda_home() is None
    headers(triton / "backends" / "nvidia")
    assert cuda_home() == triton / "backends" / "nvidia"
    headers(runtime / "cu13")
    assert cuda_home() == runtime / "cu13"
    monkeypatch.setenv("CUDA_HOME", str(headers(tmp_path / "toolkit")))
    assert cuda_home() == tmp_path / "toolkit"
    assert portable_headers(tmp_path / "toolkit") == tmp_path / "toolkit" / "include"
    newer = headers(tmp_path / "newer", (*HEADERS[:4], "cccl/nv/target"))
    assert portable_headers(newer) == newer / "include" / "cccl"


def test_too_little_memory_is_said_with_its_place(
    bare: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers(tmp_path / "backends" / "nvidia")
    (tmp_path / "Python.h").touch()
    bare(triton=tmp_path)
    free = {"cpu": NEEDED_BYTES, "cuda:1": NEEDED_BYTES // 2}
    memory = lambda device: DeviceMemory(free[device], 2**40)  # noqa: E731
    monkeypatch.setattr(requirements, "device_memory", memory)
    require_compiler("cpu")
    with pytest.raises(TurboError) as short:
        require_compiler("cuda:1")
    assert short.value.detail == "compiling needs 2 GiB of free memory on cuda:1, and 1.0 are"


@pytest.mark.parametrize(
    ("visible", "index", "wanted"),
    [(None, 1, "1"), ("", 0, "0"), ("3,5", 1, "5"), ("GPU-8a,GPU-9b", 0, "GPU-8a"), ("2", 4, "4")],
)
def test_the_gpu_that_compiles_is_the_one_of_the_model(
    visible: str | None, index: int, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_device(index) == wanted


class OnGpu:
    """As much of a loaded model as a recipe needs, said to be on a GPU."""

    _supports_attention_backend = True

    def __init__(self, model: Any) -> None:
        self.config = model.config
        self.named_modules = model.named_modules

    def get_input_embeddings(self) -> Any:
        weight = SimpleNamespace(device=torch.device("cuda:0"), dtype=torch.float16)
        return SimpleNamespace(weight=weight)


def test_the_recipe_of_a_gpu_holds_what_its_code_depends_on(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts: dict[str, Any] = {"name": "NVIDIA H200", "capability": (9, 0), "driver": 13000}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: facts["name"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: facts["capability"])
    monkeypatch.setattr(artefact, "_driver_version", lambda: facts["driver"])
    triton = ["3.6.0"]
    monkeypatch.setattr(artefact, "version", lambda name: triton[0])
    recipe = recipe_for(OnGpu(model))

    assert (recipe.device, recipe.form, recipe.dtype) == ("cuda", "fixed", "float16")
    assert recipe.hardware[0] == "NVIDIA H200"
    assert Recipe.from_json(recipe.to_json()) == recipe
    keys = {recipe.key}
    for name, value in (("name", "NVIDIA L4"), ("capability", (8, 9)), ("driver", 13010)):
        facts[name] = value
        keys.add(recipe_for(OnGpu(model)).key)
    triton[0] = "3.7.0"
    keys.add(recipe_for(OnGpu(model)).key)
    assert len(keys) == 5

    monkeypatch.setattr(torch.version, "hip", "6.2")
    with pytest.raises(TurboError) as refused:
        recipe_for(OnGpu(model))
    assert "AMD" in refused.value.detail
