"""Loads torch's machine code without holding the interpreter.

A quarter of a second of what `import torch` takes goes to the loader of the system, which maps and
links its libraries. Asked from an import, it holds the interpreter meanwhile, and the screen with
it: a key waits as long for its echo. Asked from here, it does not, and the import finds the
libraries loaded.

Refuses to import torch, and to load builds for GPUs, whose libraries torch first gathers from
several packages. What cannot be loaded is left to the import, which says what is wrong.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

_GLOBAL = "libtorch_global_deps.so"
"""What torch loads first, with names that are seen everywhere."""
_LIBRARIES = ("libtorch_cpu.so", "libtorch_python.so")
_FOR_GPUS = ("libtorch_cuda.so", "libtorch_hip.so", "libtorch_xpu.so")


def load_torch_libraries() -> bool:
    """Load them where that is known to work, before torch is imported.

    Returns:
        Whether they are loaded now.
    """
    if not sys.platform.startswith("linux") or "torch" in sys.modules:
        return False
    found = importlib.util.find_spec("torch")
    folders = found.submodule_search_locations if found is not None else None
    folder = Path(folders[0] if folders else "") / "lib"
    if not (folder / _GLOBAL).is_file() or any((folder / name).exists() for name in _FOR_GPUS):
        return False
    import ctypes

    # Called as a function of C, so that the interpreter is let go; `ctypes.CDLL` would hold it.
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype = ctypes.c_void_p
    dlopen.argtypes = [ctypes.c_char_p, ctypes.c_int]
    modes = {_GLOBAL: os.RTLD_NOW | os.RTLD_GLOBAL, **dict.fromkeys(_LIBRARIES, os.RTLD_NOW)}
    return all(dlopen(os.fsencode(folder / name), mode) for name, mode in modes.items())
