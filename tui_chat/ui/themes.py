"""Theme files: reading them strictly into Textual themes, and the project's own colour variables.

The built-in folder comes first, then the user's. A broken file affects nothing but its own theme;
what is wrong with it is returned as an error for the screens to show.
"""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from textual.app import App
from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from tui_chat.config import paths
from tui_chat.config.strict_values import (
    Check,
    TableError,
    checked_table,
    fraction,
    table_of,
    text,
    truth,
)
from tui_chat.errors import ConfigError
from tui_chat.safe_text import safe_line
from tui_chat.ui.textual_fixes.terminal_colours import (
    VARIABLES,
    is_of_terminal,
    shows_terminal_colours,
    theme_of,
)

MAX_FILE_BYTES = 256 * 1024
"""A theme file larger than this is not read."""

DEFAULT_DARK, DEFAULT_LIGHT = "night", "paper"
"""The themes for dark and for light terminal backgrounds if the settings name none."""

THEME_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "meter-system": "the system message in the budget meter",
        "meter-history": "the turns that are sent, in the budget meter; filled parts of bars",
        "meter-draft": "the draft in the budget meter",
        "meter-reserve": "the room kept for the reply in the budget meter",
        "meter-free": "the free room in the budget meter; empty parts of bars",
        "role-user": "the mark and name of the user",
        "role-assistant": "the name of the model",
        "forgotten": "text of messages that are not sent any more",
    }
)
"""The project's own colour variables, and what each of them colours."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_PERCENT = re.compile(r" (?:100|[0-9]{1,2})%\Z")
_STYLE_WORD = "(?:not )?(?:bold|b|dim|italic|i|reverse|strike|underline|u|uu|blink)"
_TEXT_STYLE = re.compile(f"none|{_STYLE_WORD}(?: {_STYLE_WORD})*")


# What a theme file may say ----------------------------------------------------------------------


def _colour(value: Any) -> str:
    """Check that a value is a colour that Textual can parse."""
    colour: str = text()(value)
    _parse_colour(colour)
    return colour


def _parse_colour(value: str) -> Color:
    if not value.isprintable():
        raise ValueError(f"{value!r} is not a colour")
    try:
        return Color.parse(value)
    except (ColorParseError, ValueError):
        raise ValueError(f"{value!r} is not a colour such as \"#8ab4f8\" or 'teal'") from None


_KEYS: Mapping[str, Check] = MappingProxyType(
    {
        "name": text(),
        "primary": _colour,
        "secondary": _colour,
        "accent": _colour,
        "warning": _colour,
        "error": _colour,
        "success": _colour,
        "foreground": _colour,
        "background": _colour,
        "surface": _colour,
        "panel": _colour,
        "boost": _colour,
        "dark": truth,
        "luminosity_spread": fraction,
        "text_alpha": fraction,
        "ansi": truth,
        "variables": table_of(text()),
    }
)
"""The fields of a theme file, named as those of Textual's `Theme`, which also has the defaults."""

THEME_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "name": "what `F9`, `/theme` and `--theme` call it; has to be there",
        "primary": "the main colour; has to be there",
        "secondary": "a second colour beside it",
        "accent": "what has the focus, and what can be pressed",
        "warning": "warnings",
        "error": "errors",
        "success": "what went well",
        "foreground": "text",
        "background": "behind everything",
        "surface": "behind panels and sheets",
        "panel": "behind parts of them, and rules",
        "boost": "a layer that lifts what is on it",
        "dark": "whether it is a dark theme: true or false",
        "luminosity_spread": "how far lighter and darker shades are apart, 0 to 1",
        "text_alpha": "how opaque text is, 0 to 1",
        "ansi": "whether it uses the terminal's own 16 colours, as `ansi_blue`: true or false",
        "variables": "a table of colours and text styles: those below, and Textual's own",
    }
)
"""The purpose of each field of a theme file."""


@dataclass(frozen=True, slots=True)
class ThemeSet:
    """The usable themes, and the problems of the files that are not."""

    themes: tuple[Theme, ...]
    """The themes by name; a user's theme replaces a built-in one of the same name."""
    errors: tuple[ConfigError, ...]


def load_themes(directories: Iterable[Path] | None = None) -> ThemeSet:
    """Read every `*.toml` file of the theme folders. A missing folder counts as empty.

    Args:
        directories: Folders, of which later ones take precedence; by default the built-in one and
            the user's.
    """
    if directories is None:
        directories = _directories()
    themes: dict[str, Theme] = {}
    errors: list[ConfigError] = []
    for directory in directories:
        of_directory: dict[str, Path] = {}
        try:
            files = _theme_files(directory)
        except OSError as error:
            errors.append(_skipped(directory, _reason(error), "Check the folder's permissions"))
            continue
        for path in files:
            try:
                theme = read_theme(path)
                if theme.name in of_directory:
                    other = safe_line(of_directory[theme.name].name, 80)
                    raise _skipped(
                        path, f"name: {theme.name!r} is taken by {other}", "Change one of the names"
                    )
            except ConfigError as error:
                errors.append(error)
            else:
                of_directory[theme.name] = path
                themes[theme.name] = theme
    return ThemeSet(tuple(themes[name] for name in sorted(themes)), tuple(errors))


def find_theme(name: str, directories: Sequence[Path] | None = None) -> Theme | None:
    """Return the theme that `load_themes` has under a name; None if there is none.

    It does not make the other themes, which would be most of the work, and leaves problems to
    `load_themes`.

    Args:
        name: The name of the theme, not of its file.
        directories: As for `load_themes`.
    """
    for directory in reversed(_directories() if directories is None else directories):
        with suppress(OSError):
            # Try the file named after the theme first, because every file read delays the start.
            for path in sorted(_theme_files(directory), key=lambda path: path.stem != name):
                with suppress(ConfigError):
                    table = _read_toml(path)
                    if table.get("name") == name:
                        return _theme(path, table)
    return None


def _directories() -> tuple[Path, Path]:
    return paths.builtin_themes_dir(), paths.user_themes_dir()


def _theme_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.toml") if path.is_file())


def read_theme(path: Path) -> Theme:
    """Read one theme file.

    Raises:
        ConfigError: If the file cannot be read, or is not a valid theme.
    """
    return _theme(path, _read_toml(path))


def _theme(path: Path, table: Mapping[str, Any]) -> Theme:
    """Return the theme of a table.

    Raises:
        ConfigError: If it is not a valid theme; the error names the file.
    """
    try:
        fields = checked_table(table, _KEYS, ("name", "primary"))
    except TableError as error:
        raise _skipped(path, *_first_problem(error)) from None
    theme = theme_of(fields)
    if not _NAME.fullmatch(theme.name):
        raise _skipped(
            path, f"name: {safe_line(theme.name, 60)!r} is not a name",
            "Use letters, digits, '.', '_' and '-', at most 40",
        )  # fmt: skip
    if not is_of_terminal(theme):
        _refuse_ansi(path, fields)
    for key, value in theme.variables.items():
        _check_variable(path, key, value, is_of_terminal(theme))
    try:
        variable_defaults(theme)
    except Exception as error:  # Textual does not document what mixing colours may raise
        raise _skipped(path, f"its colours do not mix: {error}", "Use #RRGGBB colours") from None
    return theme


def _read_toml(path: Path) -> dict[str, Any]:
    edit = "Mend the file, or remove it"
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _skipped(path, _reason(error), "Check the file's permissions") from None
    if len(data) > MAX_FILE_BYTES:
        raise _skipped(path, f"It is larger than {MAX_FILE_BYTES // 1024} KiB", edit)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise _skipped(path, "It is not UTF-8 text", edit) from None
    except tomllib.TOMLDecodeError as error:
        raise _skipped(path, f"It is not valid TOML: {error}", edit) from None
    except RecursionError:
        raise _skipped(path, "It is nested too deeply", edit) from None


def _first_problem(error: TableError) -> tuple[str, str]:
    """Return the first problem as (detail, hint), for an unknown key with the nearest known one."""
    problem = min(error.mistakes, key=lambda mistake: mistake.kind == "missing")
    key = ".".join(problem.keys)
    if problem.kind == "unknown":
        return f"There is no key {safe_line(key, 60)!r}", _nearest(key, _KEYS)
    if problem.kind == "missing":
        return f"The key {key!r} is missing", f'Add a line such as {key} = "..."'
    return f"{safe_line(key, 60)}: {safe_line(problem.message, 160)}", "Correct the value"


def _refuse_ansi(path: Path, fields: Mapping[str, Any]) -> None:
    for key, value in fields.items():
        if isinstance(value, str) and value.startswith("ansi_"):
            raise _skipped(
                path, f"{key}: {value!r} is a colour of the terminal",
                "Set ansi = true to use the terminal's own colours",
            )  # fmt: skip


def _check_variable(path: Path, key: str, value: str, ansi: bool) -> None:
    """Check that something reads a variable, and that its value can be used in a stylesheet.

    Raises:
        ConfigError: If not; the error names the file.
    """
    shown = safe_line(key, 60)
    if not _is_known(key):
        raise _skipped(
            path, f"There is no variable {shown!r}", _nearest(key, sorted(_known_variables()))
        )
    if key.endswith(("-style", "-style-hover")):
        if not _TEXT_STYLE.fullmatch(value):
            raise _skipped(
                path, f"variables.{shown}: {safe_line(value, 60)!r} is not a text style",
                "Use words such as bold, italic, underline, reverse, or none",
            )  # fmt: skip
        return
    colour = _PERCENT.sub("", value)
    if colour == "auto" and _is_text(key):
        return
    try:
        _parse_colour(colour)
    except ValueError as error:
        raise _skipped(path, f"variables.{shown}: {error}", "Correct the value") from None
    if not ansi:
        _refuse_ansi(path, {f"variables.{shown}": value})


def _is_text(key: str) -> bool:
    """Return whether a variable colours text, so that `auto` (black or white) makes sense."""
    is_text = key.startswith(("text", "link-color")) or key.endswith("-foreground")
    return is_text and not key.startswith("screen-selection")


def _nearest(key: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(key, names, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return "Known keys: " + ", ".join(names[:20])


def _skipped(path: Path, detail: str, hint: str) -> ConfigError:
    return ConfigError(
        f"The theme file {safe_line(str(path))} was skipped", safe_line(detail), hint
    )


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


# The project's own variables --------------------------------------------------------------------


def contrast(first: Color, second: Color) -> float:
    """Return the contrast ratio of two opaque colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Color) -> float:
    """Return the relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    linear = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in colour.normalized
    )
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def has_few_colours(app: App[Any]) -> bool:
    """Return whether shades cannot be told apart here, so that characters have to differ.

    That is so with `NO_COLOR`, on terminals with sixteen colours or fewer, and with a theme that
    uses the terminal's own colours.
    """
    many = app.console.color_system in ("truecolor", "256")
    return app.no_color or shows_terminal_colours(app) or not many


def variable_defaults(theme: Theme) -> dict[str, str]:
    """Return values of `THEME_VARIABLES` made from a theme's own colours.

    This is for `App.get_theme_variable_defaults`, which Textual calls whenever the theme changes:
    `return variable_defaults(self.current_theme)`. Values that the theme sets itself take
    precedence. For a theme of the terminal's colours the result also has the variables that
    Textual's stylesheets use and such a theme does not define; without them the stylesheets would
    not parse.
    """
    generated = theme.to_color_system().generate()
    if is_of_terminal(theme):
        missing = _known_variables().difference(generated)
        return dict.fromkeys(missing, "ansi_default") | _ANSI_DEFAULTS
    primary, text, page = (
        Color.parse(generated[name]) for name in ("primary", "foreground", "background")
    )
    return {
        "meter-system": _at_contrast(page, text, 3.2),
        "meter-history": _at_contrast(page, primary, 3.6),
        "meter-draft": primary.hex6,
        "meter-reserve": page.blend(text, 0.30).hex6,
        "meter-free": page.blend(text, 0.13).hex6,
        "role-user": primary.hex6,
        "role-assistant": _at_contrast(page, text, 5.5),
        "forgotten": _at_contrast(page, text, 4.6),
    }


def _at_contrast(page: Color, text: Color, ratio: float) -> str:
    """Return the first shade from page to text that has a given contrast with the page."""
    if page.is_transparent or text.is_transparent:
        return text.hex6
    shades = (page.blend(text, step / 50) for step in range(51))
    return next((shade.hex6 for shade in shades if contrast(shade, page) >= ratio), text.hex6)


_ANSI_DEFAULTS = {
    "meter-system": "ansi_white",
    "meter-history": "ansi_blue",
    "meter-draft": "ansi_bright_cyan",
    "meter-reserve": "ansi_bright_black",
    "meter-free": "ansi_bright_black",
    "role-user": "ansi_cyan",
    "role-assistant": "ansi_default",
    "forgotten": "ansi_bright_black",
}


def _is_known(variable: str) -> bool:
    """Return whether a variable belongs to the project or to one of Textual's own themes."""
    if variable in THEME_VARIABLES or variable in VARIABLES:
        return True
    return any(variable in _variables_of(name) for name in BUILTIN_THEMES)


def _known_variables() -> frozenset[str]:
    return frozenset(THEME_VARIABLES).union(*(_variables_of(name) for name in BUILTIN_THEMES))


@functools.cache
def _variables_of(name: str) -> frozenset[str]:
    """Return the variables of one of Textual's own themes; the first has nearly all of them."""
    return frozenset(BUILTIN_THEMES[name].to_color_system().generate())
