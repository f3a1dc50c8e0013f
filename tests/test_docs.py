"""The documents say what the program declares, and name only files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.write_docs import DOCUMENTS, ROOT, rewritten

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_parts_are_up_to_date(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert rewritten(text) == text, "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
