"""The real screens, terminal and database with a model that speaks a script.

Run by the tests in a pseudo-terminal, with a file that holds the script as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from threading import Event

from tui_chat import ending, logs, paths, terminal
from tui_chat.cli import full_screen
from tui_chat.engine.backend import Emit, GenerateRequest, LoadRequest
from tui_chat.engine.registry import load_registry
from tui_chat.engine.scripted import Script, ScriptedBackend
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.storage.writer import TranscriptWriter


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


def spoil(place: str, session: ChatSession) -> None:
    """Let the opening of the help (`help`) or the first words of a reply (`chat`) fail.

    What was typed is in a local variable then, as it often is.
    """
    from tui_chat.ui.screens.help import HelpScreen
    from tui_chat.ui.session_mirror import SessionMirror

    def fail_in_help(screen: HelpScreen) -> None:
        typed = screen.app.screen_stack[0].query_one("#prompt").text
        raise RuntimeError(f"a mistake after {len(typed)} characters")

    async def fail_in_chat(mirror: SessionMirror, said: object) -> None:
        if len(path := session.messages()) > 1 and path[1].text:
            typed = path[0].text
            raise RuntimeError(f"a mistake after {len(typed)} characters")
        await apply(mirror, said)

    apply = SessionMirror.apply
    if place == "help":
        HelpScreen.on_mount = fail_in_help
    else:
        SessionMirror.apply = fail_in_chat


def main() -> None:
    options = json.loads(Path(sys.argv[1]).read_text())
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
