"""A step is linked with the libraries of the process that is to load it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tui_chat.engine.turbo import toolchain
from tui_chat.engine.turbo.toolchain import use_toolchain

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("g++") is None, reason="needs g++ on Linux"
)


def test_the_library_to_link_with_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    row = "7f00-7f01 r-xp 00000000 fd:00 12    {}\n"
    maps.write_text(row.format("/lib/libc.so.6") + row.format("/opt/drivers/libcuda.so.580.1"))
    assert toolchain._loaded_library("libcuda.so", maps) == Path("/opt/drivers/libcuda.so.580.1")
    maps.write_text("7f00-7f01 rw-p 00000000 00:00 0\n")
    assert toolchain._loaded_library("libcuda.so", maps) is None


@pytest.fixture
def static_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that finds the static C++ library alone."""
    real = shutil.which("g++")
    library = tmp_path / "static" / "libstdc++.a"
    library.parent.mkdir()
    asked = [str(real), "-print-file-name=libstdc++.a"]
    library.symlink_to(subprocess.check_output(asked, text=True).strip())
    compiler = tmp_path / "g++"
    compiler.write_text(
        "#!/bin/sh\n"
        'case "$1" in -print-file-name=*) echo libstdc++.so; exit;; esac\n'
        f'exec {real} "$@" -L{library.parent}\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    return compiler


def linked_with(compiler: str, folder: Path) -> str:
    """What a library that is made with a compiler needs."""
    source, library = folder / "a.cpp", folder / "a.so"
    source.write_text(
        "#include <regex>\nbool f(const char *s) {\n"
        '    return std::regex_match(s, std::regex("cpu|cuda")); }\n'
    )
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", library], check=True)
    return subprocess.check_output(["readelf", "-d", library], text=True)


def test_a_compiler_with_a_static_library_alone_links_with_the_loaded_one(
    static_only: Path, tmp_path: Path
) -> None:
    assert "libstdc++.so" not in linked_with(str(static_only), tmp_path)

    use_toolchain("cpu", tmp_path / "links")

    assert os.environ["CXX"] != str(static_only)
    assert "libstdc++.so.6" in linked_with(os.environ["CXX"], tmp_path)


def test_a_compiler_with_a_shared_library_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "g++")
    use_toolchain("cpu", tmp_path / "links")
    assert os.environ["CXX"] == "g++"
