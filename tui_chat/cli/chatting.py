"""The commands `chat`, full-screen or line by line, and `ask`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui_chat.cli import full_screen
from tui_chat.cli import options as opt
from tui_chat.cli.output import complain, is_terminal, narrate, print_json, require_output
from tui_chat.cli.prompts import piped_lines, scripted_prompts, typed_line, whole_prompt
from tui_chat.cli.typed import Typed
from tui_chat.errors import UsageError

if TYPE_CHECKING:
    from tui_chat.cli.opening import Opened
    from tui_chat.session import ChatSession
    from tui_chat.terminal.safe_writer import SafeWriter

_CHAT_ID = re.compile(r"last|[0-9a-fA-F]{4,32}")


def chat(
    plain: Annotated[
        bool, typer.Option("--plain", help="A line-by-line chat on stdin and stdout.")
    ] = False,
    script: Annotated[
        Path | None,
        typer.Option("--script", metavar="FILE", help="With --plain: one prompt for each line."),
    ] = None,
    model: opt.Model = None,
    precision: opt.Precision = None,
    device: opt.Device = None,
    template: opt.Template = None,
    context: opt.Context = None,
    reserve: opt.Reserve = None,
    preset: opt.PresetName = None,
    assignments: opt.Set = None,
    system: opt.System = None,
    seed: opt.Seed = None,
    resume: opt.Resume = None,
    theme: opt.Theme = None,
    no_save: opt.NoSave = False,
) -> int:
    """Open the chat. This is what happens without a command."""
    typed = Typed(
        model, precision, device, template, context, reserve, preset, assignments, system, seed,
        theme, no_save,
    )  # fmt: skip
    if plain:
        return _plain(typed, resume, script)
    if script is not None:
        raise UsageError("--script needs --plain", "The full-screen chat reads keys")
    return full_screen.open_chat(typed, resume)


_CLOSE_S = 1.8
"""Seconds to wait for the engine at the end, within the two-second deadline after a signal."""


def ask(
    prompt: Annotated[
        str | None, typer.Argument(metavar="[PROMPT]", help="What to ask; stdin comes after it.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "-c", "--continue", "--resume", metavar="[ID]",
            help="Go on with a saved chat, by default the last one.",
        ),
    ] = None,
    as_json: opt.Json = False,
    model: opt.Model = None,
    precision: opt.Precision = None,
    device: opt.Device = None,
    template: opt.Template = None,
    context: opt.Context = None,
    reserve: opt.Reserve = None,
    preset: opt.PresetName = None,
    assignments: opt.Set = None,
    system: opt.System = None,
    seed: opt.Seed = None,
    no_save: opt.NoSave = False,
) -> int:  # fmt: skip
    """Print one reply. The prompt comes from the argument, from stdin, or from both."""
    typed = Typed(
        model, precision, device, template, context, reserve, preset, assignments, system, seed,
        None, no_save,
    )  # fmt: skip
    require_output()
    text = whole_prompt(prompt)
    opened, out = _open_in_lines(typed, resume)
    from tui_chat import plain

    def reply() -> int:
        client = plain.LineClient(opened.session, narrate, opened.check_context)
        try:
            end = plain.ask(client, text, _ignore if as_json else out.write)
        finally:
            out.end_line()
        if as_json:
            print_json(plain.reply_record(opened.session, end))
        return 0

    return _in_lines(opened.session, reply)


def with_continue_value(words: list[str], takes_value: Container[str]) -> list[str]:
    """Give `-c` and `--continue` of `ask` the value `last` if no chat id follows.

    The next word is the id if it looks like one, or if another word can be the prompt.

    Args:
        words: The command line, from `ask` on.
        takes_value: The options that take the next word as their value.
    """
    completed: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return completed + words[index:]
        if word not in ("-c", "--continue"):
            completed.append(word)
            continue
        following = words[index + 1] if index + 1 < len(words) else ""
        others = [*words[1:index], *words[index + 2 :]]
        has_value = _CHAT_ID.fullmatch(following) is not None or (
            following[:1] not in ("", "-") and _has_prompt(others, takes_value)
        )
        completed.append("--continue" if has_value else "--continue=last")
    return completed


def _has_prompt(words: Sequence[str], takes_value: Container[str]) -> bool:
    """Return whether any of the words is neither an option nor the value of one."""
    is_value = False
    for index, word in enumerate(words):
        if word == "--":
            return index + 1 < len(words)
        if not is_value and not (word.startswith("-") and len(word) > 1):
            return True
        is_value = not is_value and word in takes_value
    return False


def _ignore(_: str) -> None:
    """Discard text; used where the reply is printed as JSON instead."""


def _open_in_lines(typed: Typed, resume: str | None) -> tuple[Opened, SafeWriter]:
    """Open the session of a line-by-line command and its output, and print the notices."""
    from tui_chat import logs

    logs.configure()
    loaded = typed.load_settings()
    from tui_chat.cli.opening import open_session
    from tui_chat.terminal.safe_writer import SafeWriter

    opened = open_session(loaded, resume)
    for notice in (*opened.notices, *opened.saving_notices()):
        complain(notice)
    return opened, SafeWriter(sys.stdout, is_terminal(sys.stdout))


def _in_lines(session: ChatSession, talk: Callable[[], int]) -> int:
    """Run a line-by-line command on a session, then save and close it in every case."""
    from tui_chat.terminal import ending

    before = session.save_state
    try:
        with ending.signals_raised():
            return talk()
    finally:
        has_ended = session.close(_CLOSE_S)
        after = session.save_state
        if before is not None and before.ok and after is not None and not after.ok:
            complain(f"{after.detail}. What is missing is kept, and saved at the next start.")
        if not has_ended:
            ending.leave_thread_behind()


def _plain(typed: Typed, resume: str | None, script: Path | None) -> int:
    require_output()
    scripted = scripted_prompts(script, os.environ)
    opened, out = _open_in_lines(typed, resume)
    from tui_chat import plain

    is_typed = scripted is None and is_terminal(sys.stdin)
    if is_typed:
        narrate("An empty line ends the chat, Ctrl+C stops a reply, /help lists the commands.")
        prompts: Iterator[str] = plain.typed_prompts(typed_line, out.write)
    else:
        prompts = iter(scripted) if scripted is not None else piped_lines()
    client = plain.LineClient(opened.session, narrate, opened.check_context)
    talk = plain.PlainChat(client, out, complain, is_scripted=not is_typed)
    return _in_lines(opened.session, lambda: talk.run(prompts))
