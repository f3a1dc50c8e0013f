"""The built-in themes can be read by everyone; a broken theme file costs only itself."""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.css.stylesheet import Stylesheet
from textual.theme import BUILTIN_THEMES, Theme
from textual.widgets import Button, DataTable, Footer, Input, Markdown, OptionList

from tests.ui.piece_app import PieceApp, until
from tui_chat.config import paths
from tui_chat.ui.chat.token_meter import TokenMeter
from tui_chat.ui.textual_fixes.terminal_colours import is_of_terminal
from tui_chat.ui.themes import (
    DEFAULT_DARK,
    DEFAULT_LIGHT,
    MAX_FILE_BYTES,
    THEME_VARIABLES,
    contrast,
    find_theme,
    load_themes,
    variable_defaults,
)

BUILTIN = {theme.name: theme for theme in load_themes([paths.builtin_themes_dir()]).themes}
TEXTUALS_OWN = next(name for name, theme in BUILTIN_THEMES.items() if is_of_terminal(theme))
"""A theme of the terminal's colours that Textual brings."""
COLOURED = [theme for theme in BUILTIN.values() if not is_of_terminal(theme)]
ids = [theme.name for theme in COLOURED]


def colours(theme: Theme) -> dict[str, Color]:
    variables = {
        **variable_defaults(theme), **theme.to_color_system().generate(), **theme.variables
    }  # fmt: skip
    wanted = (
        "foreground", "background", "surface", "panel", "text-muted", "foreground-muted",
        "primary", "accent", "warning", "error", "success", *THEME_VARIABLES,
    )  # fmt: skip
    return {name: Color.parse(variables[name]) for name in wanted}


def test_the_built_in_themes_are_all_there_and_without_errors() -> None:
    loaded = load_themes()
    assert loaded.errors == ()
    names = {theme.name for theme in loaded.themes}
    assert {DEFAULT_DARK, DEFAULT_LIGHT, "contrast-dark", "contrast-light", "terminal"} <= names
    assert len(names) >= 8
    assert sum(theme.dark for theme in loaded.themes) >= 4
    assert sum(not theme.dark for theme in loaded.themes) >= 3
    assert BUILTIN[DEFAULT_DARK].dark
    assert not BUILTIN[DEFAULT_LIGHT].dark


@pytest.mark.parametrize("theme", COLOURED, ids=ids)
def test_text_can_be_read(theme: Theme) -> None:
    c = colours(theme)
    high = theme.name.startswith("contrast")
    for page in ("background", "surface", "panel"):
        assert contrast(c["foreground"], c[page]) >= (12 if high else 6), page
        for muted in ("text-muted", "foreground-muted"):
            assert contrast(c[muted], c[page]) >= (12 if high else 4.5), (muted, page)
        for signal in ("primary", "accent", "warning", "error", "success"):
            assert contrast(c[signal], c[page]) >= (7 if high else 4.5), (signal, page)
    assert contrast(c["foreground"], c["background"]) >= 7
    for text in ("role-user", "role-assistant", "forgotten"):
        assert contrast(c[text], c["background"]) >= (7 if high else 4.5), text


@pytest.mark.parametrize("theme", COLOURED, ids=ids)
def test_the_parts_of_the_meter_can_be_told_apart(theme: Theme) -> None:
    c = colours(theme)
    for part in ("meter-system", "meter-history", "meter-draft"):
        assert contrast(c[part], c["background"]) >= 3, part
    assert contrast(c["meter-draft"], c["meter-history"]) >= 1.35
    assert contrast(c["meter-reserve"], c["meter-free"]) >= 1.35
    assert contrast(c["meter-free"], c["background"]) >= 1.2


@pytest.mark.parametrize("theme", COLOURED, ids=ids)
def test_there_is_one_accent_colour(theme: Theme) -> None:
    assert theme.accent == theme.primary


def test_contrast_is_that_of_wcag() -> None:
    black, white = Color(0, 0, 0), Color(255, 255, 255)
    assert contrast(black, white) == pytest.approx(21.0)
    assert contrast(white, white) == pytest.approx(1.0)
    # the usual example of the darkest grey on white that fails 4.5:1
    assert contrast(Color.parse("#777777"), white) == pytest.approx(4.48, abs=0.01)


def test_every_theme_of_textual_gets_the_variables_too() -> None:
    for theme in BUILTIN_THEMES.values():
        assert set(THEME_VARIABLES) <= set(variable_defaults(theme))
    assert set(variable_defaults(BUILTIN_THEMES["textual-dark"])) == set(THEME_VARIABLES)


@pytest.mark.parametrize("theme", ["night", "paper", "contrast-light", "terminal", TEXTUALS_OWN])
async def test_a_theme_dresses_every_widget_and_can_be_changed_live(theme: str) -> None:
    app = PieceApp(
        TokenMeter(), Markdown("# a\n\n[b](http://c)"), OptionList("x"), Button("b"), Footer(),
        lambda: Input("i"), DataTable(),
    )  # fmt: skip
    async with app.run_test(size=(80, 30)) as pilot:
        app.theme = theme
        await until(pilot, lambda: "counting when the model is loaded" in app.shown())
        app.theme = "ember"
        await until(pilot, lambda: app.theme_variables["meter-draft"] != "ansi_bright_cyan")


# The user's files -------------------------------------------------------------------------------


def load(tmp_path: Path, *files: str | bytes) -> tuple[dict[str, Theme], list[str]]:
    for number, content in enumerate(files):
        data = content.encode("utf-8") if isinstance(content, str) else content
        (tmp_path / f"t{number}.toml").write_bytes(data)
    loaded = load_themes([paths.builtin_themes_dir(), tmp_path])
    return {theme.name: theme for theme in loaded.themes}, [str(e) for e in loaded.errors]


def test_a_users_theme_is_added_and_replaces_one_of_the_same_name(tmp_path: Path) -> None:
    themes, errors = load(
        tmp_path,
        'name = "mine"\nprimary = "teal"\n[variables]\nmeter-draft = "red 50%"\n'
        'block-cursor-text-style = "bold reverse"\ntext-muted = "auto 70%"',
        'name = "night"\nprimary = "#123456"',
    )
    assert not errors
    assert themes["mine"].variables["meter-draft"] == "red 50%"
    assert themes["night"].primary == "#123456"
    assert set(BUILTIN) <= set(themes)


def test_the_users_folder_is_read_by_default() -> None:
    paths.user_themes_dir().mkdir(parents=True)
    (paths.user_themes_dir() / "x.toml").write_text('name = "x"\nprimary = "red"')
    assert "x" in {theme.name for theme in load_themes().themes}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('name = "x"\nprimery = "red"\nprimary = "red"', "'primery'. Did you mean 'primary'?"),
        ('name = "x"', "The key 'primary' is missing"),
        ('primary = "red"', "The key 'name' is missing"),
        ('name = "x"\nprimary = "#12"', "primary: '#12' is not a colour"),
        ('name = "x"\nprimary = "rgb(1,2,3.4.5)"', "primary: 'rgb(1,2,3.4.5)' is not a colour"),
        ('name = "x"\nprimary = "red\\n"', "is not a colour"),
        ('name = "x"\nprimary = 3', "primary: Input should be a valid string"),
        ('name = "x"\nprimary = "red"\ndark = "yes"', "dark: Input should be a valid boolean"),
        ('name = "x"\nprimary = "red"\ntext_alpha = 7.0', "text_alpha: Input should be less"),
        ('name = "x"\nprimary = "red"\ntext_alpha = nan', "text_alpha"),
        ('name = "x"\nprimary = "ansi_red"', "Set ansi = true"),
        ('name = "a,b"\nprimary = "red"', "'a,b' is not a name"),
        ('name = "a\\u001b[2J"\nprimary = "red"', "is not a name"),
        ('name = "x"\nprimary = "red"\n[variables]\nmeter-drafd = "red"', "'meter-draft'?"),
        ('name = "x"\nprimary = "red"\n[variables]\nborder = "none"', "'none' is not a colour"),
        ('name = "x"\nprimary = "red"\n[variables]\nborder = "auto 5%"', "is not a colour"),
        ('name = "x"\nprimary = "red"\n[variables]\nborder = "red; } * {"', "is not a colour"),
        ('name = "x"\nprimary = "red"\n[variables]\nlink-style = "loud"', "not a text style"),
        ('name = "x"\nprimary = "red"\n[variables]\ntext = 3', "variables.text: Input should"),
        ("name = ", "It is not valid TOML"),
        (b'name = "\xff"', "It is not UTF-8"),
        ("a = " + "[" * 5000, "It is nested too deeply"),
        ("#" * (MAX_FILE_BYTES + 1), "It is larger than 256 KiB"),
    ],
)  # fmt: skip
def test_a_broken_theme_is_skipped_and_reported(
    tmp_path: Path, content: str | bytes, says: str
) -> None:
    themes, errors = load(tmp_path, content, 'name = "good"\nprimary = "red"')
    [error] = errors
    assert says in error
    assert str(tmp_path / "t0.toml") in error
    assert error.isprintable()
    assert set(themes) == {*BUILTIN, "good"}


def test_a_theme_is_found_by_its_name_as_when_all_are_loaded(tmp_path: Path) -> None:
    contents = [
        'name = "night"\nprimary = "red"', 'name = "paper"\nprimary = "no colour"',
        'name = "x"\nprimary = "red"', 'name = "x"\nprimary = "green"', "name = ",
    ]  # fmt: skip
    for number, content in enumerate(contents):
        (tmp_path / f"t{number}.toml").write_text(content)
    directories = [paths.builtin_themes_dir(), tmp_path / "missing", tmp_path]
    themes = load_themes(directories).themes
    assert {"night", "paper", "x"} <= {theme.name for theme in themes}
    for theme in themes:
        assert find_theme(theme.name, directories) == theme
    assert find_theme("y", directories) is None


def test_two_files_with_one_name_are_reported(tmp_path: Path) -> None:
    themes, errors = load(tmp_path, *['name = "x"\nprimary = "red"'] * 2)
    assert "x" in themes
    assert "'x' is taken by t0.toml" in errors[0]


def test_files_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    assert load_themes([tmp_path, tmp_path / "missing"]).errors == ()


VALUES = (
    "red", "#fff", "#12345678", "rgb(1,2,3)", "hsl(1,2%,3%)", "transparent", "auto", "auto 50%",
    "red 30%", "$primary", "none", "bold", "not bold", "not not b", "none b", "r", "initial",
    "red }", "ansi_red", "",
)  # fmt: skip
KEYS = (*THEME_VARIABLES, "text", "border", "link-style", "panel")


@given(st.sampled_from(KEYS), st.one_of(st.sampled_from(VALUES), st.text(max_size=12)))
def test_what_is_accepted_never_breaks_a_stylesheet(key: str, value: str) -> None:
    """Themes that pass are given to Textual's own parser, as the app would do."""
    escaped = "".join(f"\\U{ord(c):08x}" for c in value)
    source = f'name = "x"\nprimary = "red"\n[variables]\n{key} = "{escaped}"'
    try:
        tomllib.loads(source)
    except tomllib.TOMLDecodeError:
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x.toml").write_text(source, encoding="utf-8")
        loaded = load_themes([Path(folder)])
    for theme in loaded.themes:
        variables = {**theme.to_color_system().generate(), **theme.variables}
        rule = "text-style" if key.endswith("style") else "color"
        sheet = Stylesheet(variables={**variables, **variable_defaults(theme), **theme.variables})
        sheet.add_source(f"W {{ {rule}: ${key}; }}", read_from=("w", "w"))
        if key in ("border", "panel") or key.startswith("meter"):
            sheet.add_source(f"W {{ background: ${key} 50%; }}", read_from=("v", "v"))
        sheet.add_source(App.DEFAULT_CSS, read_from=("a", "a"))
        sheet.parse()
        if rule == "text-style":
            Style.parse(value)
