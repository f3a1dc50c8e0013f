"""What `pyproject.toml` declares is what the program imports, each with both ends of its range."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from scripts.lowest_versions import lowest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
USED_BY_LIBRARIES = {
    "safetensors": "transformers reads weights with it",
    "accelerate": "transformers places 8-bit and 4-bit weights with it",
    "jinja2": "transformers renders chat templates with it",
}
"""What is declared and never imported here, and who needs it."""


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> dict[str, str]:
    """The version range of each declared distribution."""
    matches = [re.fullmatch(r"([A-Za-z0-9._-]+)\s*(.*)", line) for line in requirements]
    return {normal(match[1]): match[2] for match in matches if match is not None}


def imports(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every absolute import below a folder, also inside functions: top-level name and file."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                yield name.partition(".")[0], path


def third_party(folder: Path, own: set[str]) -> dict[str, Path]:
    """The distributions that a folder imports, each with a file that does."""
    found: dict[str, Path] = {}
    providers = packages_distributions()
    for name, path in imports(folder):
        if name in own or name in sys.stdlib_module_names or name == "__future__":
            continue
        assert name in providers, f"{path} imports {name}, which is not installed"
        found[normal(providers[name][0])] = path
    return found


def test_every_import_of_the_program_is_declared() -> None:
    found = third_party(ROOT / "tui_chat", {"tui_chat"})
    known = declared(PROJECT["dependencies"])
    assert {n: str(p) for n, p in found.items() if n not in known} == {}
    assert set(known) - set(found) == set(USED_BY_LIBRARIES)


def test_every_import_of_the_tests_is_declared() -> None:
    found = third_party(ROOT / "tests", {"tui_chat", "tests", "scripts", "benchmarks"})
    known = declared(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"])
    assert {n: str(p) for n, p in found.items() if n not in known} == {}


@pytest.mark.parametrize(
    "requirement", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
)
def test_a_range_has_both_ends_and_the_line_says_why(requirement: str) -> None:
    assert re.search(r"==|>=[^,]+,<", requirement), f"{requirement} is open at one end"
    assert re.fullmatch(r"[A-Za-z0-9-]+==[0-9.]+", lowest(requirement))
    (line,) = (
        line
        for line in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
        if f'"{requirement}"' in line and line.startswith("    ")
    )
    assert re.search(r"# \w+", line), f"{requirement} has no reason"
