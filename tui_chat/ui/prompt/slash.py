"""Slash commands: parsing them, and completing commands and the values of their arguments.

Completion reads the declared actions and parameters, so a new one is completed as soon as it is
declared. Running a command is left to the caller.
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
    """One row of the list of completions."""

    text: str
    """The draft after the row is accepted."""
    label: str
    help: str
    needs_more: bool = False
    """Whether the command needs an argument before it can run."""


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A slash command as typed."""

    action: Action
    argument: str


Values = Callable[[], Iterable[tuple[str, str]]]
"""Returns the known values of an argument, each with a few words about it."""


def is_command(text: str) -> bool:
    """Return whether a draft is a command instead of a message."""
    return text == "/" or _COMMAND.fullmatch(text) is not None


def literal(text: str) -> str:
    """Return the message that a draft stands for: `//x` sends `/x`."""
    return text[1:] if _ESCAPED.fullmatch(text) else text


def escaped(text: str) -> str:
    """Return the draft that stands for a message; the inverse of `literal`."""
    return f"/{text}" if _COMMAND.fullmatch(text) or _ESCAPED.fullmatch(text) else text


def parse(text: str) -> SlashCommand:
    """Parse a slash command.

    Raises:
        UsageError: If there is no such command; it suggests the nearest one.
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
    """Return the completions of a draft, best first; none if it is not a command.

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
