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


def main() -> None:
    options = json.loads(Path(sys.argv[1]).read_text())
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

        return app.run(session, app.UiSettings())

    ending.exit_process(full_screen.run_screens(session, program, log_file))


if __name__ == "__main__":
    main()
