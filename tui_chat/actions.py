"""Every user action, declared once for keys, footer, palette, slash commands and help.

The screens build their bindings from these declarations, and the README's key table and the
built-in guide's training text are generated from them. A new action goes here first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Scope = Literal["app", "prompt", "transcript", "parameters"]


@dataclass(frozen=True, slots=True)
class Action:
    """A user action, with every key, command and menu that triggers it."""

    id: str
    """Stable name; users remap it under `[keys]` in config.toml."""
    keys: tuple[str, ...]
    """Default keys in Textual's spelling; empty if only the palette or a slash command runs it."""
    scope: Scope
    """The part of the program in which the keys work."""
    label: str
    """One or two words, for the footer and the palette."""
    help: str
    """One sentence that says what the action does."""
    slash: str = ""
    """The slash command, followed by its argument in brackets if it takes one."""
    footer: bool = False
    """Whether the footer shows the action while it is available."""
    palette: bool = True
    """Whether the command palette lists the action."""

    @property
    def command(self) -> str:
        """The slash command without its argument, such as `/set`; empty if there is none."""
        return self.slash.partition(" ")[0]

    @property
    def key_text(self) -> str:
        """The default keys as people write them, such as `Ctrl+R` or `Left / Right`."""
        return " / ".join(describe_key(key) for key in self.keys)


_KEY_NAMES = {
    "escape": "Esc", "enter": "Enter", "pageup": "PgUp", "pagedown": "PgDn",
    "greater_than_sign": ">", "backspace": "Backspace",
    "plus": "+", "minus": "-",
    "delete": "Delete", "home": "Home", "end": "End", "space": "Space", "tab": "Tab",
}  # fmt: skip


def describe_key(key: str) -> str:
    """Return a Textual key name as people write it: `ctrl+r` becomes `Ctrl+R`."""
    parts = [_KEY_NAMES.get(p, p.capitalize() if len(p) > 1 else p) for p in key.split("+")]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-1] = parts[-1].upper()
    return "+".join(parts)


ACTIONS: tuple[Action, ...] = (
    # The whole program
    Action("help", ("f1",), "app", "Help",
           "Shows help for what has the focus.", "/help", footer=True),
    Action("parameters", ("f2",), "app", "Parameters",
           "Opens the panel with the sampling parameters and presets.", footer=True),
    Action("model", ("f3",), "app", "Model",
           "Opens the model picker, which says what fits into memory.",
           "/model [NAME]", footer=True),
    Action("precision", ("f4",), "app", "Precision",
           "Opens the precision picker with the memory that each precision needs.",
           "/precision [NAME]", footer=True),
    Action("inspector", ("f5",), "app", "Inspect prompt",
           "Shows the exact token ids that would be sent."),
    Action("theme", ("f9",), "app", "Theme",
           "Changes the colours, with a live preview.", "/theme [NAME]"),
    Action("open", ("ctrl+o",), "app", "Open",
           "Lists the saved chats: open, rename or delete one.", "/open [ID]", footer=True),
    Action("tree", ("ctrl+t",), "app", "Tree",
           "Shows the whole chat as a tree, with every version: find, name, prune or go on.",
           "/tree"),
    Action("search", (), "app", "Search chats",
           "Searches the messages of all saved chats while you type.", "/search [WORDS]"),
    Action("find", ("ctrl+f",), "app", "Find",
           "Finds words in this chat and goes from match to match.", "/find [WORDS]"),
    Action("new", ("ctrl+n",), "app", "New chat",
           "Starts a new chat; the old one stays saved.", "/new"),
    Action("regenerate", ("ctrl+r",), "app", "Retry",
           "Writes the last reply again, beside the old one.", "/retry"),
    Action("best", ("f6",), "app", "Best of",
           "Writes several replies side by side, to choose the best: to the draft, or to your last "
           "message.", "/best [N]"),
    Action("editor", ("ctrl+g",), "app", "Editor",
           "Opens the draft in your $EDITOR."),
    Action("log", ("ctrl+l",), "app", "Log",
           "Shows the log of the engine and its libraries."),
    Action("palette", ("ctrl+p",), "app", "Palette",
           "Opens the command palette, which finds every action by name.",
           footer=True, palette=False),
    Action("stop", ("escape",), "app", "Stop",
           "Stops the reply within a token and keeps its text; when idle, moves between "
           "prompt and transcript.", "/stop", footer=True),
    Action("interrupt", ("ctrl+c",), "app", "Interrupt",
           "Clears the draft, then stops the reply, then quits on a second press.",
           palette=False),
    Action("quit", ("ctrl+q",), "app", "Quit",
           "Saves everything and leaves.", "/quit"),
    Action("save", (), "app", "Save",
           "Says where this chat is saved; every chat is saved as it happens.", "/save"),
    Action("export", (), "app", "Export",
           "Writes this chat to a file: .md, .json, .html or .jsonl.", "/export [FILE]"),
    Action("set", (), "app", "Set parameter",
           "Sets one sampling parameter, as in /set temperature=0.7.",
           "/set NAME=VALUE", palette=False),
    Action("preset", (), "app", "Preset",
           "Applies a named set of sampling parameters.", "/preset [NAME]"),
    Action("system", (), "app", "System message",
           "Sets the system message of this chat; without a text it shows it.",
           "/system [TEXT]"),
    Action("title", (), "app", "Title",
           "Gives this chat another title; without a text it shows it.", "/title [TEXT]"),
    Action("tag", (), "app", "Tags",
           "Adds tags to this chat, or removes them with a minus: /tag work -draft.",
           "/tag [NAME...]"),
    Action("archive", (), "app", "Archive",
           "Takes this chat off the list of chats, or puts it back.", "/archive"),
    Action("data_use", (), "app", "Data use",
           "Says whether this chat may be exported for training, or changes it.",
           "/datause [on|off]"),
    Action("compact", (), "app", "Compact",
           "Has the model sum up what is not sent any more in a note that is; a number keeps so "
           "many turns.", "/compact [TURNS]"),
    Action("scroll_up", ("pageup",), "app", "Scroll up",
           "Scrolls the transcript one page up, also while you type.", palette=False),
    Action("scroll_down", ("pagedown",), "app", "Scroll down",
           "Scrolls the transcript one page down.", palette=False),
    Action("follow", ("ctrl+end",), "app", "Follow",
           "Goes to the newest line and follows it again."),
    Action("previous_message", ("alt+up",), "app", "Previous message",
           "Selects the previous message of the transcript.", palette=False),
    Action("next_message", ("alt+down",), "app", "Next message",
           "Selects the next message of the transcript.", palette=False),
    # The prompt
    Action("send", ("enter",), "prompt", "Send",
           "Sends the message.", footer=True, palette=False),
    Action("newline", ("shift+enter", "ctrl+j", "alt+enter"), "prompt", "New line",
           "Makes a new line in the message.", palette=False),
    Action("history_previous", ("up",), "prompt", "Earlier prompt",
           "At the first line, brings back the prompt you sent before.", palette=False),
    Action("history_next", ("down",), "prompt", "Later prompt",
           "At the last line, goes forward in the prompts you sent.", palette=False),
    # The transcript
    Action("message_down", ("j", "down"), "transcript", "Down",
           "Selects the next message.", palette=False),
    Action("message_up", ("k", "up"), "transcript", "Up",
           "Selects the message before.", palette=False),
    Action("message_first", ("g",), "transcript", "First",
           "Selects the first message.", palette=False),
    Action("message_last", ("G", "end"), "transcript", "Last",
           "Selects the last message and follows it.", palette=False),
    Action("copy", ("y",), "transcript", "Copy",
           "Copies the selected message, code block or text.", footer=True),
    Action("code_block", ("u",), "transcript", "Code block",
           "Selects the next code block of the message, so that y copies only that.",
           footer=True),
    Action("edit", ("e",), "transcript", "Edit",
           "Edits the selected message; the old version stays beside it.", footer=True),
    Action("retry_message", ("r",), "transcript", "Retry",
           "Writes the selected reply again, beside the old one.", footer=True,
           palette=False),
    Action("continue", ("greater_than_sign",), "transcript", "Continue",
           "Continues a reply that was stopped or cut by the length limit.", footer=True),
    Action("sibling_previous", ("left",), "transcript", "Earlier version",
           "Shows the earlier version of the selected message.", palette=False),
    Action("sibling_next", ("right",), "transcript", "Later version",
           "Shows the later version of the selected message.", palette=False),
    Action("delete", ("delete",), "transcript", "Delete",
           "Removes the selected message and what follows it; undo brings it back.",
           footer=True),
    Action("undo", ("z",), "transcript", "Undo",
           "Undoes the last change to the transcript.", footer=True),
    Action("redo", ("Z",), "transcript", "Redo",
           "Does again what was undone last."),
    Action("rate_good", ("plus",), "transcript", "Good",
           "Rates the selected message as good; again takes it back.", footer=True),
    Action("rate_bad", ("minus",), "transcript", "Bad",
           "Rates the selected message as bad; again takes it back."),
    Action("pin", ("p",), "transcript", "Pin",
           "Always sends the selected message, however long the chat is; again lets it go."),
    Action("exclude", ("x",), "transcript", "Exclude",
           "Never sends the selected message; again sends it as before."),
    Action("fork", ("f",), "transcript", "Fork",
           "Goes on from the selected message in a new chat; this one stays.", "/fork"),
    Action("rank", ("o",), "transcript", "Rank",
           "Puts the versions of the selected reply in order, the best first.", "/rank"),
    Action("label", ("l",), "transcript", "Label",
           "Judges the selected message with Open Assistant's labels, then the next one.",
           "/label"),
    Action("message_menu", ("enter",), "transcript", "Menu",
           "Opens the menu of the selected message.", palette=False),
    # The parameters panel
    Action("param_previous", ("up",), "parameters", "Choose",
           "Chooses the parameter above.", palette=False),
    Action("param_next", ("down",), "parameters", "Choose",
           "Chooses the parameter below.", palette=False),
    Action("param_less", ("left",), "parameters", "Less",
           "Makes the value one step smaller.", palette=False),
    Action("param_more", ("right",), "parameters", "More",
           "Makes the value one step larger.", palette=False),
    Action("param_much_less", ("shift+left",), "parameters", "Much less",
           "Makes the value a big step smaller.", palette=False),
    Action("param_much_more", ("shift+right",), "parameters", "Much more",
           "Makes the value a big step larger.", palette=False),
    Action("param_default", ("backspace",), "parameters", "Default",
           "Brings the default of the value back.", palette=False),
)  # fmt: skip
"""Every action, grouped by scope, in the order in which the help lists them."""


def actions_in(scope: Scope) -> Iterable[Action]:
    """Return the actions whose keys work in a scope."""
    return (action for action in ACTIONS if action.scope == scope)


def action_by_id(action_id: str) -> Action:
    """Return the action with an id.

    Raises:
        KeyError: If no action has that id.
    """
    return _BY_ID[action_id]


_BY_ID = {action.id: action for action in ACTIONS}
SLASH_COMMANDS: dict[str, Action] = {a.command: a for a in ACTIONS if a.slash}
"""The actions that have a slash command, by its name, such as `/retry`."""
