"""Sets up the C++ compiler in the compiling process, so that it finds what a step is linked with.

It changes the environment variables of the process, so only `build` may use it. Whether a step can
be compiled at all is for `requirements` to check.
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
    """Prepare the process for compiling. Call it before torch's compiler is imported.

    Args:
        device: `cpu` or `cuda`.
        links: A folder to create for links and a compiler script, needed only while compiling.

    Raises:
        TurboError: If something is missing.
    """
    import torch

    links.mkdir(exist_ok=True)
    if device == "cuda":
        _use_cuda()
        torch.cuda.init()  # type: ignore[no-untyped-call]  # loads the driver
        # Linkers look for the name without a version, which not every machine has.
        _link("libcuda.so", links)
        _append("LIBRARY_PATH", links)
    if sys.platform.startswith("linux"):
        _use_shared_runtime(links)


def _use_cuda() -> None:
    """Set the variables that name the folders with the headers of CUDA.

    Raises:
        TurboError: If the headers are missing.
    """
    home = cuda_home()
    portable = portable_headers(home) if home is not None else None
    if portable is None:
        raise TurboError("", compiler_problem("cuda:0"))
    os.environ["CUDA_HOME"] = str(home)
    _append("CPATH", portable)


def _use_shared_runtime(links: Path) -> None:
    """Make the compiler link with the C++ library that torch has loaded, not with a static copy.

    A compiler that finds no shared C++ library silently takes the static one. Code with such a
    second copy crashes as soon as it handles an object of the first, at the latest when a step is
    loaded. This happened with a compiler installed in a separate folder beside the system's.
    """
    compiler = os.environ.get("CXX", "g++")
    if "g++" not in Path(compiler).name or _has_shared_runtime(compiler):
        return
    if _link(_CXX_RUNTIME, links):
        # The compiler searches its own folders before LIBRARY_PATH but after the command line, so
        # the link has to be named there, by a script.
        script = links / Path(compiler).name
        found = shutil.which(compiler) or compiler
        script.write_text(
            f'#!/bin/sh\nexec {shlex.quote(found)} -L{shlex.quote(str(links))} "$@"\n'
        )
        script.chmod(0o700)
        os.environ["CXX"] = str(script)


def _has_shared_runtime(compiler: str) -> bool:
    """Return whether a compiler would link a shared C++ library; True if it does not say."""
    try:
        asked = [compiler, f"-print-file-name={_CXX_RUNTIME}"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return True
    return Path(said.strip()).exists()


def _link(name: str, links: Path) -> bool:
    """Link the unversioned name of a library to the file that this process has loaded."""
    loaded = _loaded_library(name)
    if loaded is None:
        return False
    (links / name).symlink_to(loaded)
    return True


def _loaded_library(name: str, maps: Path = Path("/proc/self/maps")) -> Path | None:
    """Return the file of a library that this process has loaded, by its unversioned name."""
    for line in maps.read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith(name):
            return path
    return None


def _append(variable: str, folder: Path) -> None:
    """Append a folder to a search path of the C++ compiler."""
    known = os.environ.get(variable)
    os.environ[variable] = f"{known}{os.pathsep}{folder}" if known else str(folder)
