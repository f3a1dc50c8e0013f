"""Error hints for the command line: what to type in a shell to follow them."""

from __future__ import annotations

from tui_chat.config import paths
from tui_chat.errors import Remedy, TuiChatError
from tui_chat.safe_text import safe_line


def place_of(remedy: Remedy | None) -> str:
    """Return what to type in a shell for a remedy; empty if no command does it."""
    match remedy:
        case Remedy.CHOOSE_MODEL:
            return "`tui-chat models list` shows them"
        case Remedy.CHOOSE_PRECISION:
            return "--precision"
        case Remedy.CHOOSE_PARAMETERS:
            return "--set or --preset"
        case Remedy.CHOOSE_CHAT:
            return "`tui-chat transcripts list`"
        case Remedy.OPEN_LOG:
            return safe_line(str(paths.log_file()))
        case Remedy.STOP_REPLY:
            return "Ctrl+C"
        case _:
            return ""


def in_shell(error: TuiChatError) -> TuiChatError:
    """Return the error with what to type in a shell added to its hint."""
    return error.worded(place_of(error.remedy))


def shell_line(error: TuiChatError) -> str:
    """Return the same on one line."""
    return in_shell(error).one_line
