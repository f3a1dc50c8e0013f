"""The command line: parse, import what the command needs, call one function, give an exit code.

Owns the exit codes (0, 1 run-time failure, 2 wrong usage or no usable terminal, 130 Ctrl+C) and
that every failure is one plain line on stderr. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from tui_chat import __version__
from tui_chat.cli import chatting, diagnosis, models, rendering, transcripts
from tui_chat.cli.output import complain
from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line

_CLICK_ERROR = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
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


def main() -> None:
    """Run the program and end the process with its exit code."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        _discard_output()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # None if closed
    try:
        code = app(_completed(arguments), prog_name="tui-chat", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except TuiChatError as error:
        complain(error.one_line)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        _discard_output()
        return 0
    except Exception as error:
        if isinstance(error, _CLICK_ERROR):
            complain(_usage_problem(error))
            return 2
        return _bug(error)
    except BaseException as error:
        code = getattr(error, "exit_code", None)  # `terminal.Ended`, which is not imported here
        if code is None:
            raise
        return int(code)


def _completed(arguments: Sequence[str]) -> list[str]:
    """The command line with what may be left out: `chat`, and the value of `ask --continue`."""
    words = list(arguments)
    if not words or (words[0].startswith("-") and words[0] not in _ABOUT):
        words.insert(0, "chat")
    return chatting.with_continue_value(words) if words[0] == "ask" else words


def _usage_problem(error: Any) -> str:
    """What is wrong with the command line, in one line."""
    context = error.ctx if hasattr(error, "ctx") else None
    command = context.command_path if context is not None else "tui-chat"
    message = safe_line(error.format_message(), 300).rstrip(".")
    closing = "" if message.endswith("?") else "."
    return f"{message}{closing} See `{command} --help`."


def _bug(error: Exception) -> int:
    """Log a mistake of the program, and say where the traceback is."""
    import logging

    from tui_chat import logs, paths

    if not any(isinstance(h, logs.LogFile) for h in logging.getLogger().handlers):
        logs.configure()
    logging.getLogger(__name__).critical("a mistake in the program", exc_info=error)
    complain(
        f"Something went wrong inside the program: {type(error).__name__}. "
        f"The traceback is in {paths.log_file()}."
    )
    return 1


def _discard_output() -> None:
    """Let nothing complain that nobody reads stdout any more."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
