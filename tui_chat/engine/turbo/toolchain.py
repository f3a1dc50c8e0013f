"""Has the C++ compiler find what a step is linked with. For the process that compiles alone.

Owns that process's environment for compilers, and the links and the script that they need. Refuses
to decide whether a step can be compiled: `requirements` does.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tui_chat.engine.turbo.artefact import TurboError
from tui_chat.engine.turbo.requirements import compiler_problem, cuda_home, portable_headers

_CXX_RUNTIME = "libstdc++.so"


def use_toolchain(device: str, links: Path) -> None:
    """Prepare for compiling, before torch's compiler is imported.

    Args:
        device: `cpu` or `cuda`.
        links: A folder to make, for what is only needed meanwhile.

    Raises:
        TurboError: If something is missing.
    """
    import torch

    links.mkdir(exist_ok=True)
    if device == "cuda":
        _use_cuda()
        torch.cuda.init()  # type: ignore[no-untyped-call]  # loads the driver
        # Its name without a version is what a linker looks for, and is not on every machine.
        _link("libcuda.so", links)
        _append("LIBRARY_PATH", links)
    if sys.platform.startswith("linux"):
        _use_shared_runtime(links)


def _use_cuda() -> None:
    """Name the folders with the headers of CUDA.

    Raises:
        TurboError: If there are none.
    """
    home = cuda_home()
    portable = portable_headers(home) if home is not None else None
    if portable is None:
        raise TurboError("", compiler_problem("cuda:0"))
    os.environ["CUDA_HOME"] = str(home)
    _append("CPATH", portable)


def _use_shared_runtime(links: Path) -> None:
    """Link with the C++ library that torch has loaded, where the compiler would copy its own in.

    A compiler that finds no shared one takes the static one without a word, and code with a second
    copy crashes as soon as it meets an object of the first: in loading a step, at the latest. This
    was seen with a compiler in a folder of its own, beside the one of the system.
    """
    compiler = os.environ.get("CXX", "g++")
    if "g++" not in Path(compiler).name or _has_shared_runtime(compiler):
        return
    if _link(_CXX_RUNTIME, links):
        # Its own folders come before those in LIBRARY_PATH, and after those on its command line.
        script = links / Path(compiler).name
        found = shutil.which(compiler) or compiler
        script.write_text(
            f'#!/bin/sh\nexec {shlex.quote(found)} -L{shlex.quote(str(links))} "$@"\n'
        )
        script.chmod(0o700)
        os.environ["CXX"] = str(script)


def _has_shared_runtime(compiler: str) -> bool:
    """Whether it would link with a shared C++ library; True as well where it does not say."""
    try:
        asked = [compiler, f"-print-file-name={_CXX_RUNTIME}"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return True
    return Path(said.strip()).exists()


def _link(name: str, links: Path) -> bool:
    """Give a library that this process has loaded its name without a version."""
    loaded = _loaded_library(name)
    if loaded is None:
        return False
    (links / name).symlink_to(loaded)
    return True


def _loaded_library(name: str, maps: Path = Path("/proc/self/maps")) -> Path | None:
    """The file of a library that this process has loaded, by its name without a version."""
    for line in maps.read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith(name):
            return path
    return None


def _append(variable: str, folder: Path) -> None:
    """Have the C++ compiler look in another folder, after those that it is told of."""
    known = os.environ.get(variable)
    os.environ[variable] = f"{known}{os.pathsep}{folder}" if known else str(folder)
