"""What can be typed after a slash: commands, and the values of those that take one.

Owns the reading of slash commands. Reads the declarations only, so a new action or parameter is
completed as soon as it exists. Runs nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tui_chat.actions import SLASH_COMMANDS, Action
from tui_chat.chat.params import PARAM_SPECS
from tui_chat.errors import UsageError

_COMMAND = re.compile(r"/[A-Za-z][^\n]*\s*")
_ESCAPED = re.compile(r"//+[A-Za-z][^\n]*\s*")


@dataclass(frozen=True, slots=True)
class Completion:
    """One row of the list over the prompt."""

    text: str
    """What the draft becomes."""
    label: str
    help: str
    needs_more: bool = False
    """Whether an argument has to follow before it can be run."""


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A command as typed."""

    action: Action
    argument: str


Values = Callable[[], Iterable[tuple[str, str]]]
"""Gives the known values of an argument, each with a few words about it."""


def is_command(text: str) -> bool:
    """Whether a draft is meant as a command and not as a message."""
    return text == "/" or _COMMAND.fullmatch(text) is not None


def literal(text: str) -> str:
    """The message that a draft stands for: `//x` is the way to say `/x`."""
    return text[1:] if _ESCAPED.fullmatch(text) else text


def escaped(text: str) -> str:
    """The draft that stands for a message; `literal` is its inverse."""
    return f"/{text}" if _COMMAND.fullmatch(text) or _ESCAPED.fullmatch(text) else text


def parse(text: str) -> SlashCommand:
    """Read a slash command.

    Raises:
        UsageError: If there is no such command, naming the nearest.
    """
    name, _, argument = text.strip().partition(" ")
    action = SLASH_COMMANDS.get(name.lower())
    if action is None:
        near = difflib.get_close_matches(name.lower(), SLASH_COMMANDS, n=1)
        meant = f"Did you mean {near[0]}? " if near else "/help lists them. "
        raise UsageError(
            f"There is no command {name}", "", meant + "To send it as a message, begin with //"
        )
    return SlashCommand(action, argument.strip())


def completions(text: str, values: Mapping[str, Values]) -> list[Completion]:
    """What a draft could become, best first; nothing where it is no command.

    Args:
        text: The draft.
        values: The known values of each command's argument, by command.
    """
    if not is_command(text):
        return []
    name, space, argument = text.partition(" ")
    if not space:
        return [_of_action(a) for command, a in SLASH_COMMANDS.items() if command.startswith(name)]
    if name == "/set":
        return _parameters(argument)
    known = values.get(name)
    if known is None:
        return []
    argument = argument.strip()
    return [
        Completion(f"{name} {value}", value, about)
        for value, about in known()
        if value.startswith(argument) and value != argument
    ]


def _of_action(action: Action) -> Completion:
    needs_more = " " in action.slash and "[" not in action.slash
    text = action.command + (" " if needs_more else "")
    return Completion(text, action.slash, action.help, needs_more)


def _parameters(argument: str) -> list[Completion]:
    if "=" in argument:
        return []
    return [
        Completion(f"/set {spec.name}=", f"{spec.name}=", spec.range_text, needs_more=True)
        for spec in PARAM_SPECS
        if spec.name.startswith(argument.strip())
    ]
