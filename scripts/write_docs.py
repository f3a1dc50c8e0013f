"""Write the parts of the documentation that the program itself declares.

Key tables, parameters, presets, settings, variables, theme fields and options come from where the
program declares them, the list of files from the modules' own first lines. `--check` only says
whether anything is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from tui_chat.actions import ACTIONS, SLASH_COMMANDS, Scope, actions_in
from tui_chat.chat.params import BUILTIN_PRESETS, PARAM_SPECS
from tui_chat.cli import program
from tui_chat.config.layers import OTHER_VARIABLES, variable
from tui_chat.config.settings import SETTING_SPECS
from tui_chat.ui.themes import THEME_FIELDS, THEME_VARIABLES

ROOT = Path(__file__).resolve().parent.parent
SCOPES: dict[Scope, str] = {
    "app": "Anywhere",
    "prompt": "In the prompt",
    "transcript": "In the transcript",
    "parameters": "In the parameters panel",
}
COMMANDS = ("chat", "ask", "render", "bench")
"""The commands that share options."""
UNLIKE = ("--help", "--chat")
"""Options that are something else in each command."""


def table(columns: Iterable[str], rows: Iterable[str]) -> str:
    """A Markdown table; the rows are written already."""
    names = list(columns)
    return "\n".join([f"| {' | '.join(names)} |", "|" + "---|" * len(names), *rows])


def key_tables() -> str:
    """Every key by the place where it works."""
    parts = []
    for scope, title in SCOPES.items():
        rows = [
            f"| {' '.join(f'`{key}`' for key in action.key_text.split(' / '))} | {action.help} |"
            for action in actions_in(scope)
            if action.keys
        ]
        parts.append(f"**{title}**\n\n{table(('key', 'does'), rows)}")
    return "\n\n".join(parts)


def slash_commands() -> str:
    """Every slash command."""
    rows = [
        f"| `{action.slash.replace('|', chr(92) + '|')}` | {action.help} |"  # | ends a cell
        for action in SLASH_COMMANDS.values()
    ]
    return table(("command", "does"), rows)


def parameters() -> str:
    """Every sampling parameter."""
    rows = [
        f"| `{spec.name}`{''.join(f', `{alias}`' for alias in spec.aliases)} | {spec.range_text} "
        f"| {'-' if spec.off is None else spec.format(spec.off)} | {spec.help} |"
        for spec in PARAM_SPECS
    ]
    return table(("name", "range", "off", "what it does"), rows)


def presets() -> str:
    """Every built-in preset."""
    rows = [
        f"| `{preset.name}` | {', '.join(f'{k} {v}' for k, v in preset.values.items())} "
        f"| {preset.source} |"
        for preset in BUILTIN_PRESETS.values()
    ]
    return table(("preset", "values", "from"), rows)


def settings() -> str:
    """Every setting of config.toml with one value."""
    rows = [
        f"| `{name}` | {spec.values} | {spec.default} | {spec.help} |"
        for name, spec in SETTING_SPECS.items()
    ]
    return table(("setting", "values", "without it", "what it is for"), rows)


def variables() -> str:
    """Every variable of the program's own."""
    rows = [f"| `{name}` | {text} |" for name, text in OTHER_VARIABLES.items()]
    rows += [
        f"| `{variable(name)}` | As `{name}` of `config.toml`. {spec.help} |"
        for name, spec in SETTING_SPECS.items()
    ]
    return table(("variable", "what it is for"), rows)


def action_ids() -> str:
    """The name of every action that can have keys."""
    rows = [
        f"| `{action.id}` | {' '.join(f'`{key}`' for key in action.key_text.split(' / '))} "
        f"| {action.label} |"
        for action in ACTIONS
        if action.keys
    ]
    return table(("action", "keys", "footer"), rows)


def theme_fields() -> str:
    """Every field of a theme file, and the project's own variables."""
    fields = [f"| `{name}` | {text} |" for name, text in THEME_FIELDS.items()]
    own = [f"| `{name}` | {text} |" for name, text in THEME_VARIABLES.items()]
    tables = table(("field", "what it is for"), fields), table(("variable", "colours"), own)
    return "\n\n".join(tables)


def options() -> str:
    """The options that commands share, and which command takes them."""
    group: Any = typer.main.get_command(program.app)
    taken: dict[str, dict[str, str]] = {}
    for command in COMMANDS:
        for option in group.commands[command].params:
            for name in option.opts:
                if option.param_type_name == "option" and name.startswith("--"):
                    taken.setdefault(name, {})[command] = option.help or ""
    shared = {name: of for name, of in taken.items() if len(of) > 1 or name == "--theme"}
    rows = [
        f"| `{name}` | {next(iter(of.values()))} | "
        + " | ".join("yes" if command in of else "" for command in COMMANDS)
        + " |"
        for name, of in shared.items()
        if name not in UNLIKE
    ]
    return table(("option", "what it is for", *(f"`{c}`" for c in COMMANDS)), rows)


def house() -> str:
    """A line for each module: the first line of its docstring."""
    lines = []
    for path in sorted((ROOT / "tui_chat").rglob("*.py"), key=lambda p: (p.parent, p.name)):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if docstring:
            first = re.split(r"(?<=\.)\s", docstring.strip(), maxsplit=1)[0].replace("\n", " ")
            lines.append(f"- `{path.relative_to(ROOT).as_posix()}`: {first}")
    return "\n".join(lines)


SECTIONS = {
    "keys": key_tables,
    "slash-commands": slash_commands,
    "parameters": parameters,
    "presets": presets,
    "settings": settings,
    "variables": variables,
    "action-ids": action_ids,
    "theme-fields": theme_fields,
    "options": options,
    "house": house,
}
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/guide.md")


def rewritten(text: str) -> str:
    """The document with every declared section filled in."""
    for name, write in SECTIONS.items():
        pattern = rf"(<!-- {name}: written by make docs -->\n).*?(<!-- end {name} -->)"
        text = re.sub(pattern, lambda m, w=write: f"{m[1]}\n{w()}\n\n{m[2]}", text, flags=re.DOTALL)
    return text


def main() -> int:
    """Write the documents, or with `--check` return 1 if one is out of date."""
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if (new := rewritten(text)) != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'out of date' if '--check' in sys.argv else 'written'}: {', '.join(stale)}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
