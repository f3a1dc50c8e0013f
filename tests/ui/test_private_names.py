"""Private names of Textual are used in one package, few of them, and text is never markup.

An upgrade of Textual may change what begins with an underscore without a word.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import textual

import tui_chat.ui

UI = Path(tui_chat.ui.__file__).parent
TEXTUAL = Path(textual.__file__).parent
FIXES = UI / "textual_fixes"
MOST = 8
"""Private names in the whole program."""
PLAIN = ("plain(", "plain_line(", "Content(", "Content.")
"""How the text of a label may begin where markup is not switched off."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def defined(tree: ast.AST) -> set[str]:
    """The private names that classes define: methods, class variables, attributes of self."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, Function):
                    names.add(part.name)
                elif isinstance(part, ast.Assign | ast.AnnAssign):
                    targets = part.targets if isinstance(part, ast.Assign) else [part.target]
                    names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) == "self"
        ):
            names.add(node.attr)
    return {name for name in names if is_private(name)}


@pytest.fixture(scope="module")
def of_classes() -> dict[tuple[str, str], set[str]]:
    """The private names of each of Textual's classes, by its module and name."""
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in TEXTUAL.rglob("*.py"):
        module = ".".join(("textual", *path.relative_to(TEXTUAL).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names[module.removesuffix(".__init__"), node.name] |= defined(node)
    return names


def private_names(path: Path, of_classes: dict[tuple[str, str], set[str]]) -> Iterator[str]:
    """The private names of Textual that a module uses."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = importlib.import_module(
        ".".join(("tui_chat", "ui", *path.relative_to(UI).with_suffix("").parts))
    )
    of_others = set().union(*of_classes.values()) - defined(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual"):
            private = re.search(r"\._", node.module or "")
            yield from (a.name for a in node.names if private or is_private(a.name))
        elif isinstance(node, ast.ClassDef):
            yield from _of_class(node, getattr(module, node.name, None), of_classes)
        elif isinstance(node, ast.Attribute) and node.attr in of_others:
            yield node.attr


def _of_class(
    node: ast.ClassDef, made: Any, of_classes: dict[tuple[str, str], set[str]]
) -> Iterator[str]:
    """The private names of its bases that a class overrides, reads or writes."""
    of_bases: set[str] = set()
    for base in getattr(made, "__mro__", ()):
        of_bases |= of_classes.get((base.__module__, base.__name__), set())
    for part in ast.walk(node):
        if isinstance(part, Function) and part.name in of_bases:
            yield part.name
        elif (
            isinstance(part, ast.Attribute)
            and part.attr in of_bases
            and ast.unparse(part.value) in ("self", "cls", "super()")
        ):
            yield part.attr


def modules() -> list[Path]:
    return sorted(UI.rglob("*.py"))


def test_private_names_are_used_in_one_package(
    of_classes: dict[tuple[str, str], set[str]],
) -> None:
    used = {
        str(path.relative_to(UI)): names
        for path in modules()
        if FIXES not in path.parents and (names := set(private_names(path, of_classes)))
    }
    assert used == {}


def test_there_are_few_of_them_and_each_module_says_why(
    of_classes: dict[tuple[str, str], set[str]],
) -> None:
    names: set[str] = set()
    for path in sorted(FIXES.glob("[!_]*.py")):
        names |= set(private_names(path, of_classes))
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert "Textual" in said and "would" in said, f"{path.name} does not say when it may go"
    assert {"_handle_exception", "_dispatch_message"} <= names and len(names) <= MOST


def test_no_label_reads_its_text_as_markup() -> None:
    for path in modules():
        source = path.read_text(encoding="utf-8")
        assert "from_markup" not in source and "markup=True" not in source, path
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("Static", "Label")):
                continue
            markup = {word.arg: ast.unparse(word.value) for word in node.keywords}.get("markup")
            text = ast.unparse(node.args[0]) if node.args else ""
            assert markup == "False" or text.startswith(PLAIN), f"{path}:{node.lineno}"
