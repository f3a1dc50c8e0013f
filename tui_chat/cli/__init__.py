"""The command line: dispatch, exit codes, and errors as one plain line on stderr.

Exit codes are 0 for success, 1 for a run-time failure, 2 for wrong usage or no usable terminal, and
130 for Ctrl+C. A signal results in 128 + its number. Heavy modules are imported only when a command
needs them, and the parser only if there are arguments to parse.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from tui_chat.cli.output import complain
from tui_chat.errors import TuiChatError

_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def main() -> None:
    """Run the program and end the process with its exit code."""
    code = run(sys.argv[1:])
    with suppress(ValueError):  # the exit code is decided; a late Ctrl+C must not change it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending = sys.modules.get("tui_chat.terminal.ending")  # imported only by chatting commands
    if ending is None:
        sys.exit(code)
    ending.exit_process(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # None if closed
    try:
        code = _command(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except TuiChatError as error:
        from tui_chat.terminal.shell_remedies import shell_line

        complain(shell_line(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _discard_output()
        return 0
    except OSError as error:
        return _output_lost(error) if _is_output_lost(error) else _bug(error)
    except Exception as error:
        return _bug(error)
    except BaseException as error:
        # Duck typing recognises `ending.Ended` without importing its module.
        ended = getattr(error, "exit_code", None)
        if ended is None:
            raise
        return int(ended)


def _command(arguments: Sequence[str]) -> int:
    if not arguments:
        from tui_chat.cli import full_screen
        from tui_chat.cli.typed import Typed

        return full_screen.open_chat(Typed())
    from tui_chat.cli import program

    return program.run(arguments)


def _is_output_lost(error: OSError) -> bool:
    """Return whether the error came from stdout; errors of other files carry a file name."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        return True  # its buffer still holds output that it cannot write
    return error.filename is None and error.errno in _WRITE_ERRORS


def _output_lost(error: OSError) -> int:
    """Report that stdout could not be written, and return the exit code."""
    _discard_output()
    reason = error.strerror or type(error).__name__
    complain(f"Standard output could not be written: {reason}. Print to another place.")
    return 1


def _bug(error: Exception) -> int:
    """Log an unexpected exception, name the log to the user, and return the exit code."""
    import logging

    from tui_chat import logs
    from tui_chat.config import paths

    if not any(isinstance(h, logs.LogFile) for h in logging.getLogger().handlers):
        logs.configure()
    logging.getLogger(__name__).critical("a mistake in the program", exc_info=error)
    complain(
        f"Something went wrong inside the program: {type(error).__name__}. "
        f"The traceback is in {paths.log_file()}."
    )
    return 1


def _discard_output() -> None:
    """Point stdout at /dev/null, so that flushing it at exit does not fail."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
