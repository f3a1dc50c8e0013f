"""What of Textual is used is public, but for a few names in one package that says why."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import textual

from tui_chat import ui

MOST_INSIDE = 8
"""Private names that `ui/textual_fixes/` may use."""
FIXES = "tui_chat.ui.textual_fixes"
ROOT = Path(ui.__file__).parents[2]


def is_private(name: str) -> bool:
    return name.startswith("_") and name.strip("_") != "" and not name.endswith("__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def names_set_by(tree: ast.AST) -> set[str]:
    """Private names that a module defines, or gives to `self`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                names.add(node.attr)
    return {name for name in names if is_private(name)}


def modules() -> Iterator[tuple[str, Path]]:
    """The modules of the screens, with their files."""
    for info in pkgutil.walk_packages(ui.__path__, "tui_chat.ui."):
        spec = info.module_finder.find_spec(info.name, None)
        assert spec is not None and spec.origin is not None
        yield info.name, Path(spec.origin)


@cache
def textual_names() -> frozenset[str]:
    """Private names that Textual gives to its classes and their instances."""
    files = Path(textual.__file__).parent.rglob("*.py")
    return frozenset(name for path in files for name in names_set_by(tree_of(path)))


@cache
def own_names() -> frozenset[str]:
    """Private names of this program."""
    files = (ROOT / "tui_chat").rglob("*.py")
    return frozenset(name for path in files for name in names_set_by(tree_of(path)))


def imported(tree: ast.AST) -> set[str]:
    """What is imported from a private module of Textual, or by a private name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual"):
            module = node.module or ""
            is_inside = any(is_private(part) for part in module.split("."))
            found |= {f"{module}.{a.name}" for a in node.names if is_inside or is_private(a.name)}
        elif isinstance(node, ast.Import):
            found |= {
                alias.name
                for alias in node.names
                if alias.name.startswith("textual")
                and any(is_private(part) for part in alias.name.split("."))
            }
    return found


def reached(tree: ast.AST) -> set[str]:
    """Private names that are read from objects, and that none of our classes has."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and node.attr in textual_names()
        and node.attr not in own_names()
    }


def overridden(module_name: str) -> set[str]:
    """Private names that our classes share with the classes of Textual that they are made of."""
    module = importlib.import_module(module_name)
    found = set()
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if cls.__module__ != module_name:
            continue
        bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] == "textual"]
        theirs = set()
        for base in bases:
            path = inspect.getsourcefile(base)
            assert path is not None
            theirs |= names_in_class(Path(path), base.__name__)
        ours = names_in_class(Path(inspect.getsourcefile(cls) or ""), cls.__name__)
        found |= {f"{cls.__name__}.{name}" for name in ours & theirs}
    return found


@cache
def names_in_class(path: Path, name: str) -> frozenset[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return frozenset(names_set_by(node) - {name})
    return frozenset()


def used(module_name: str, path: Path) -> set[str]:
    tree = tree_of(path)
    return imported(tree) | reached(tree) | overridden(module_name)


def test_no_private_name_of_textual_outside_of_one_package() -> None:
    outside = {
        name: found
        for name, path in modules()
        if not name.startswith(FIXES) and (found := used(name, path))
    }
    assert outside == {}


def test_few_private_names_of_textual_within_it() -> None:
    inside = set()
    for name, path in modules():
        if name.startswith(FIXES):
            inside |= used(name, path)
    assert len(inside) <= MOST_INSIDE, inside
