"""Checks whether a machine has what compiling a step needs.

That is a C++ compiler and free memory; for a GPU also Triton and the headers of Python and CUDA. A
CUDA toolkit contains CUDA's headers. Without one, Triton's own package has all but one of them,
which comes in a package of its own; the library to link against is the driver's. `toolchain` makes
the compiler use what is found here.
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
"""Free memory that compiling requires. Measured for 24 layers: 0.58 GB in the compiling process and
0.56 GB in its C++ compiler. On a GPU, a CUDA context and example tensors come on top."""
_TOOLKIT = Path("/usr/local/cuda")
_HEADERS = ("cuda.h", "cuda_runtime.h", "cuda_fp16.h", "crt/host_config.h")
"""Headers of CUDA that must be there. The CUDA runtime package lacks the last, without which
nothing compiles."""
_PORTABLE = "nv/target"
"""A header that `cuda_fp16.h` includes, from the package of CUDA's C++ library."""


def compiler_problem(device: str) -> str:
    """Return why nothing can be compiled for a device; empty if compiling is possible.

    Args:
        device: `cpu`, `cuda:0` or `mps`.
    """
    # torch chooses the compiler in the same way.
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
    """Raise an error unless a step can be compiled for a device.

    Args:
        device: `cpu`, `cuda:0` or `mps`.

    Raises:
        TurboError: If something is missing or memory is short, with the reason.
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
    """Return a folder whose `include` has the headers of CUDA; None if there is none.

    Looks in the folders that the environment names, then in a toolkit, then in the packages that
    torch and Triton bring.
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
    """Return the folder with the headers that CUDA's include from another package; None if missing.

    Args:
        home: The folder that `cuda_home` returned.
    """
    places = [home / "include", *(p / "include" for p in _in_package("nvidia", "cu13"))]
    places += [p / "include" for p in _in_package("nvidia", "cuda_cccl")]
    for place in (found for p in places for found in (p, p / "cccl")):
        if (place / _PORTABLE).is_file():
            return place
    return None


def _in_package(package: str, inner: str) -> list[Path]:
    """Return a folder inside an installed package, for each place where it is installed."""
    found = importlib.util.find_spec(package)
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    return [Path(folder) / inner for folder in folders]


def visible_device(index: int) -> str:
    """Return the `CUDA_VISIBLE_DEVICES` value with which a process sees a single GPU.

    Args:
        index: Number of the GPU as this process counts them.
    """
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return visible[index] if any(visible) and index < len(visible) else str(index)
