"""What has to be on a machine so that a step can be compiled there.

A C++ compiler and free memory; for a GPU also Triton and the headers of Python and CUDA. A toolkit
has them. Without one, Triton's own package brings all of CUDA's but one, which is a package of its
own, and the library to link with is the driver's. Owns the looking for these; `toolchain` has them
used. Refuses to install and to compile.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from tui_chat.engine.machine.devices import device_memory
from tui_chat.engine.turbo.artefact import TurboError
from tui_chat.safe_text import safe_line

NEEDED_BYTES = 2 * 1024**3
"""Free memory that compiling asks for. Seen for 24 layers: 0.58 GB in the process that compiles and
0.56 GB in the C++ compiler it starts. On a GPU also a context of its own, and example tensors."""
_TOOLKIT = Path("/usr/local/cuda")
_HEADERS = ("cuda.h", "cuda_runtime.h", "cuda_fp16.h", "crt/host_config.h")
"""The last is missing in the package of the runtime, and nothing compiles without it."""
_PORTABLE = "nv/target"
"""What the header of half precision includes, from the package of CUDA's C++ library."""


def compiler_problem(device: str) -> str:
    """Why nothing can be compiled for a device; empty if it can.

    Args:
        device: `cpu`, `cuda:0` or `mps`.
    """
    # The same choice as torch makes.
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler ({safe_line(compiler, 60)})"
    if device == "cpu":
        return ""
    import torch

    if not device.startswith("cuda") or torch.version.hip is not None:
        return "steps are compiled for CPUs and GPUs of NVIDIA"
    if not sys.platform.startswith("linux"):
        return "for a GPU it is compiled on Linux only"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed, which compiles for the GPU (pip install triton)"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "the headers of Python are not there, which triton needs (python3-dev)"
    home = cuda_home()
    if home is None:
        return "the headers of CUDA are not there; CUDA_HOME can name a folder with them"
    if portable_headers(home) is None:
        return f"CUDA's header {_PORTABLE} is not there (pip install nvidia-cuda-cccl)"
    return ""


def require_compiler(device: str) -> None:
    """Refuse where nothing can be compiled.

    Args:
        device: `cpu`, `cuda:0` or `mps`.

    Raises:
        TurboError: With what is missing.
    """
    problem = compiler_problem(device)
    if problem:
        raise TurboError("", problem)
    for place in dict.fromkeys(("cpu", device)):
        free = device_memory(place).free
        if free < NEEDED_BYTES:
            where = "" if place == "cpu" else f" on {place}"
            detail = f"compiling needs 2 GiB of free memory{where}, and {free / 2**30:.1f} are"
            raise TurboError("", detail)


def cuda_home() -> Path | None:
    """A folder whose `include` has the headers of CUDA; None if there is none.

    What the user names, then a toolkit, then the packages that torch and Triton bring.
    """
    named = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    compiler = shutil.which("nvcc")
    places = [Path(name) for name in named]
    places += [Path(compiler).resolve().parent.parent] if compiler else []
    places.append(_TOOLKIT)
    places += _in_package("nvidia", "cu13") + _in_package("triton", "backends/nvidia")
    for place in places:
        if all((place / "include" / header).is_file() for header in _HEADERS):
            return place
    return None


def portable_headers(home: Path) -> Path | None:
    """The folder with what CUDA's headers include from another package; None if there is none.

    Args:
        home: What `cuda_home` found.
    """
    places = [home / "include", *(p / "include" for p in _in_package("nvidia", "cu13"))]
    places += [p / "include" for p in _in_package("nvidia", "cuda_cccl")]
    for place in (found for p in places for found in (p, p / "cccl")):
        if (place / _PORTABLE).is_file():
            return place
    return None


def _in_package(package: str, inner: str) -> list[Path]:
    """A folder in an installed package, in each place that it has."""
    found = importlib.util.find_spec(package)
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    return [Path(folder) / inner for folder in folders]


def visible_device(index: int) -> str:
    """The `CUDA_VISIBLE_DEVICES` with which a process sees one GPU alone, that of a number."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return visible[index] if any(visible) and index < len(visible) else str(index)
