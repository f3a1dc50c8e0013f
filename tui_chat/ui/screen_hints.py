"""Errors in the words of the screens: a key in place of a command of the shell.

Owns the translation. The rooms below do not know whether somebody sits at a shell or in the chat,
and name commands; here there is a key that does the same.
"""

from __future__ import annotations

from tui_chat.actions import action_by_id
from tui_chat.errors import TuiChatError


def in_screens(error: TuiChatError) -> TuiChatError:
    """The same error, its hint naming keys where these do what a command would."""
    hint = hint_in_screens(error.hint)
    return error if hint == error.hint else TuiChatError(error.title, error.detail, hint)


def hint_in_screens(hint: str) -> str:
    """A hint with keys in place of commands."""
    models, chats = action_by_id("model").key_text, action_by_id("open").key_text
    replacements = {
        "`tui-chat models list`": f"the list of {models}",
        "`tui-chat transcripts list` shows the ids": f"{chats} lists all chats",
    }
    for command, words in replacements.items():
        hint = hint.replace(command, words)
    return hint
