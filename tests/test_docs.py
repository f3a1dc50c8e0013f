"""The documents say what the program declares, link to what exists, and their examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.write_docs import DOCUMENTS, ROOT, SECTIONS, rewritten
from tui_chat.config import layers
from tui_chat.engine.files.registry import load_registry
from tui_chat.ui import themes

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_parts_are_up_to_date(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert rewritten(text) == text, "run: make docs"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_generated_part_has_a_place(section: str):
    mark = f"<!-- {section}: written by make docs -->"
    assert any(mark in (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path):
    for target, anchor in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", page.read_text("utf-8")):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
            assert anchor[1:] in known, f"{page.name} links to {target}{anchor}"


def test_every_setting_and_variable_is_in_the_guide():
    for name in layers.SCALARS:
        assert f"| `{name}` |" in GUIDE and f"| `{layers.variable(name)}` |" in GUIDE
    for name in (*layers.OTHER_VARIABLES, *themes.THEME_FIELDS, *themes.THEME_VARIABLES):
        assert f"| `{name}` |" in GUIDE
    assert set(themes.THEME_FIELDS) == set(themes._KEYS)


def examples(part: str) -> list[str]:
    """The TOML examples of the guide that hold a text."""
    return [text for text in re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL) if part in text]


def test_the_example_of_the_settings_is_valid(tmp_path: Path):
    (text,) = examples("[keys]")
    path = tmp_path / "config.toml"
    path.write_text(text)
    loaded = layers.load_settings({}, {}, path)
    assert loaded.problems == () and loaded.settings.keys["log"] == ()


def test_the_examples_of_models_and_presets_are_valid(tmp_path: Path):
    texts = examples("[models.") + examples("[presets.")
    assert len(texts) == 2
    path = tmp_path / "models.toml"
    path.write_text("\n".join(texts))
    registry = load_registry(user=path)
    assert registry.problems == () and {"mine"} <= set(registry.models) & set(registry.presets)


def test_the_example_of_a_theme_is_valid(tmp_path: Path):
    (text,) = examples("[variables]")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert themes.read_theme(path).name == "harbour"
