"""Start of the full-screen chat, and its return to the terminal.

The module imports no command-line parser: without arguments there is nothing to parse, and every
import delays the first frame.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_chat.cli.output import complain
from tui_chat.cli.typed import Typed
from tui_chat.config import paths

if TYPE_CHECKING:
    from tui_chat.logs import LogFile
    from tui_chat.session import ChatSession


def open_chat(typed: Typed, resume: str | None = None) -> int:
    """Run the full-screen chat.

    Args:
        typed: The options of the command line.
        resume: The saved chat to resume: its id, a prefix of its id, or `last`.

    Returns:
        The exit code.
    """
    # Until the first frame almost everything allocated stays alive, so collections only cost time.
    gc.disable()
    try:
        return _open_chat(typed, resume)
    finally:
        gc.enable()


def _open_chat(typed: Typed, resume: str | None) -> int:
    from tui_chat import logs
    from tui_chat.terminal import ownership as terminal

    terminal.require_terminal()
    log_file = logs.configure()
    loaded = typed.load_settings()
    from tui_chat.cli.opening import open_session

    opened = open_session(loaded, resume, is_lasting=True)

    def program() -> int:
        from tui_chat.ui import app

        ui_settings = app.UiSettings(
            theme=loaded.settings.theme, keys=loaded.settings.keys, notices=opened.notices
        )
        return app.run(opened.session, ui_settings)

    return run_screens(opened.session, program, log_file)


def run_screens(session: ChatSession, program: Callable[[], int], log_file: LogFile | None) -> int:
    """Run a full-screen program on a session, and restore the terminal in every case.

    Args:
        session: The session; closed at the end.
        program: Runs the screens, closes the session, and returns the exit code.
        log_file: Receives what native code and libraries print.
    """
    from tui_chat.terminal import ending
    from tui_chat.terminal import ownership as terminal

    with terminal.owned_terminal(lambda: session.close(_CLOSE_S), log_file) as owned:
        try:
            code = program()
        except BaseException:
            session.close(_CLOSE_S)
            raise
        has_ended = session.close(_AGAIN_S)  # `program` has closed it; this asks for the outcome
    if owned.signum:
        code = 128 + owned.signum
    elif code:
        complain(f"The screens broke off. What happened is in {paths.log_file()}.")
    if not has_ended:
        ending.leave_thread_behind()
    return code


_CLOSE_S = 1.8
"""Seconds to wait for the engine at the end, within the two-second deadline after a signal."""
_AGAIN_S = 0.1
"""Seconds to wait once more after the screens have closed the session."""
