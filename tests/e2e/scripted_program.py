"""The real screens, terminal and database with a model that speaks a script.

Run by the tests in a pseudo-terminal, with a file that holds the script as JSON. Beside the fields
of `Script` it may name `report`, a file to which the state of the screens is written at each
SIGUSR1; `toast_s`, the seconds that a toast stays; and `model`, a real model instead of the script.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import json
import os
import pickle
import resource
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from tui_chat import logs
from tui_chat.cli import full_screen
from tui_chat.config import paths
from tui_chat.engine.contract.backend import Emit, GenerateRequest, LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.engine.files.registry import load_registry
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.storage.saving.writer import TranscriptWriter
from tui_chat.terminal import ending
from tui_chat.terminal import ownership as terminal

if TYPE_CHECKING:
    from tui_chat.ui.app import TuiChat

REPORTED = 16
"""Messages at the end of the path that a report holds."""


class RudeBackend(ScriptedBackend):
    """A scripted model with the bad habits of native code.

    Args:
        script: What it says.
        is_stuck: Whether it goes on for a minute after a reply, deaf to everything.
        noise: What it writes to the descriptors 1 and 2 before a reply.
    """

    def __init__(self, script: Script, is_stuck: bool, noise: str) -> None:
        super().__init__(script)
        self._is_stuck = is_stuck
        self._noise = noise.encode()

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        for descriptor in (1, 2) if self._noise else ():
            os.write(descriptor, self._noise)
        super().generate(request, emit, cancel)
        if self._is_stuck:
            time.sleep(60)


def report_on_signal(file: Path) -> None:
    """Have the screens write their state to a file at each SIGUSR1, on their own loop.

    Args:
        file: Replaced in one step each time; its `number` grows by one. Beside it, SIGUSR2 writes
            where every thread is, also when the loop hangs.
    """
    faulthandler.register(signal.SIGUSR2, file.with_suffix(".stacks").open("w"), all_threads=True)
    from tui_chat.ui import app

    number = 0

    def report(screens: TuiChat) -> None:
        nonlocal number
        if not screens.screen_stack:
            return  # it ends
        number += 1
        part = file.with_suffix(".part")
        part.write_bytes(pickle.dumps({"number": number, **state_of(screens)}))
        part.replace(file)

    def on_load(screens: TuiChat) -> None:
        loop = asyncio.get_running_loop()

        def on_signal(*_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(report, screens)

        signal.signal(signal.SIGUSR1, on_signal)  # stays when the loop has ended
        atexit.register(signal.signal, signal.SIGUSR1, signal.SIG_IGN)  # and Python's end does not

    app.TuiChat.on_load = on_load  # type: ignore[attr-defined]


def state_of(screens: TuiChat) -> dict[str, Any]:
    """Where somebody is in the screens, and the end of the chat that is shown."""
    chat, session, focused = screens.chat, screens.session, screens.focused
    path = session.messages()
    return {
        "screen": type(screens.screen).__name__,
        "focus": "" if focused is None else focused.id or type(focused).__name__,
        "draft": chat.bar.draft.full,
        "is_editing": chat.bar.editing is not None,
        "is_completing": chat.bar.is_completing,
        "has_panel": chat.panel.is_open,
        "has_find_bar": chat.find.is_open,
        "has_notice": chat.notice.error is not None,
        "is_following": chat.transcript.is_following,
        "is_busy": session.is_busy or chat.outbox.is_busy,
        "state": session.state,
        "selected": [chat.get_selected_text(), chat.bar.prompt.selected_text],
        "size": tuple(screens.size),
        "mouse": tuple(screens.mouse_position),
        "chat": session.conversation.id,
        "count": len(path),
        "messages": [
            (replace(m, params={}, stats=dict(m.stats)), session.versions(m.id))
            for m in path[-REPORTED:]
        ],
    }


def shorten_toasts(seconds: float) -> None:
    """Have every toast go soon, whoever shows it."""
    from tui_chat.ui import app

    notify = app.TuiChat.notify

    def short(self: TuiChat, message: str, **options: Any) -> None:
        notify(self, message, **{**options, "timeout": seconds})

    app.TuiChat.notify = short  # type: ignore[method-assign, assignment]


def stop_while_writing(word: str) -> None:
    """Have SIGTSTP come while the loop holds the lock of what goes to the terminal.

    Args:
        word: What is written then, for the first time.
    """
    from textual.drivers._writer_thread import WriterThread

    write, is_stopped = WriterThread.write, False

    def stopped(self: WriterThread, text: str) -> None:
        nonlocal is_stopped
        if word in text and not is_stopped:
            is_stopped = True
            with self._queue.mutex:
                os.kill(os.getpid(), signal.SIGTSTP)
                for _ in range(1000):
                    pass  # Python calls its handlers between two of these
        write(self, text)

    WriterThread.write = stopped  # type: ignore[method-assign]


def spoil(place: str, session: ChatSession) -> None:
    """Let the opening of the help (`help`) or the first words of a reply (`chat`) fail.

    What was typed is in a local variable then, as it often is.
    """
    from tui_chat.ui.chat.session_view import SessionView
    from tui_chat.ui.screens.help import HelpScreen

    def fail_in_help(screen: HelpScreen) -> None:
        typed = screen.app.screen_stack[0].query_one("#prompt").text
        raise RuntimeError(f"a mistake after {len(typed)} characters")

    async def fail_in_chat(mirror: SessionView, said: object) -> None:
        if len(path := session.messages()) > 1 and path[1].text:
            typed = path[0].text
            raise RuntimeError(f"a mistake after {len(typed)} characters")
        await apply(mirror, said)

    apply = SessionView.apply
    if place == "help":
        HelpScreen.on_mount = fail_in_help
    else:
        SessionView.apply = fail_in_chat


def main() -> None:
    options = json.loads(Path(sys.argv[1]).read_text())
    if report := options.pop("report", ""):
        report_on_signal(Path(report))
    if word := options.pop("stops_at", ""):
        stop_while_writing(word)
    if toast_s := options.pop("toast_s", 0.0):
        shorten_toasts(toast_s)
    if model := options.pop("model", ""):
        from tui_chat.cli.typed import Typed

        ending.exit_process(full_screen.open_chat(Typed(model=model)))
    crash = options.pop("crash", "")
    is_stuck, noise = options.pop("is_stuck", False), options.pop("noise", "")
    if most := options.pop("most_file_bytes", 0):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    terminal.require_terminal()
    log_file = logs.configure()
    session = ChatSession(
        RudeBackend(Script(**options), is_stuck, noise),
        load_registry(),
        SessionSettings(LoadRequest("guide")),
        TranscriptWriter(paths.database_file()),
    )

    def program() -> int:
        from tui_chat.ui import app

        if crash:
            spoil(crash, session)
        return app.run(session, app.UiSettings())

    ending.exit_process(full_screen.run_screens(session, program, log_file))


if __name__ == "__main__":
    main()
