"""The typer application: all commands, and the report of usage errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tui_chat import __version__
from tui_chat.cli import chatting, diagnosis, models, rendering, transcripts
from tui_chat.cli.output import complain
from tui_chat.safe_text import safe_line

_CLICK_ERROR: type[Exception] = next(
    c
    for c in typer.BadParameter.__mro__
    if issubclass(c, Exception) and c.__name__ == "ClickException"
)
_ABOUT = ("-h", "--help", "--version")

app = typer.Typer(
    name="tui-chat",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tui-chat {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Chat full-screen with a language model that runs in this process.

    Without a command, options are those of `chat`.
    """


app.command("chat")(chatting.chat)
app.command("ask")(chatting.ask)
app.add_typer(models.app, name="models")
app.add_typer(transcripts.app, name="transcripts")
app.command("render")(rendering.render)
app.command("bench")(diagnosis.bench)
app.command("doctor")(diagnosis.doctor)


def run(arguments: Sequence[str]) -> int:
    """Run the command of a command line; report wrong usage as one line on stderr.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code.
    """
    try:
        code = app(_completed(arguments), prog_name="tui-chat", standalone_mode=False)
    except typer.Abort:
        return 130
    except _CLICK_ERROR as error:
        complain(_usage_problem(error))
        return 2
    except SystemExit:  # click turns a broken pipe into this
        raise BrokenPipeError from None
    return code if isinstance(code, int) else 0


def _completed(arguments: Sequence[str]) -> list[str]:
    """Return the command line with an omitted `chat`, or value of `ask --continue`, filled in."""
    words = list(arguments)
    if not words or (words[0].startswith("-") and words[0] not in _ABOUT):
        words.insert(0, "chat")
    if words[0] == "ask" and not {"-c", "--continue"}.isdisjoint(words):
        return chatting.with_continue_value(words, _value_options("ask"))
    return words


def _value_options(command: str) -> frozenset[str]:
    """Return the options of a command that take a value."""
    group: Any = typer.main.get_command(app)
    options = (p for p in group.commands[command].params if p.param_type_name == "option")
    return frozenset(name for p in options if not p.is_flag for name in p.opts)


def _usage_problem(error: Any) -> str:
    """Return what is wrong with the command line, in one line."""
    context = error.ctx if hasattr(error, "ctx") else None
    command = context.command_path if context is not None else "tui-chat"
    message = safe_line(error.format_message(), 300).rstrip(".")
    closing = "" if message.endswith("?") else "."
    return f"{message}{closing} See `{command} --help`."
