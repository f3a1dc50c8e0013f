"""The full-screen chat as `bench --ui` opens it: with a model that reports what its replies cost.

Run in a pseudo-terminal, with what it is to do as JSON in its one argument. Saves its chats, as
any chat does, but into a folder that the benchmark throws away.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ARGV = (sys.executable, "-m", "tui_chat.cli.measured_chat")
"""The command, but for its argument."""


def main(wanted: str) -> int:
    """Run the chat until it is left; returns the exit code.

    Args:
        wanted: A JSON object: `load` (the fields of `LoadRequest`), `path` (of decoding), `params`
            (sampling parameters), `folder` (for the database), `fd` (where to report).
    """
    from tui_chat import logs
    from tui_chat.bench.reporting import ReportingBackend
    from tui_chat.cli.full_screen import run_screens
    from tui_chat.engine.contract.backend import LoadRequest
    from tui_chat.engine.files.registry import load_registry
    from tui_chat.session import ChatSession, SessionSettings
    from tui_chat.storage.saving.writer import TranscriptWriter
    from tui_chat.terminal import ownership as terminal

    options = json.loads(wanted)
    terminal.require_terminal()
    log_file = logs.configure()
    registry = load_registry()
    session = ChatSession(
        ReportingBackend(registry, options["path"], options["fd"]),
        registry,
        SessionSettings(LoadRequest(**options["load"]), overrides=options["params"]),
        TranscriptWriter(Path(options["folder"]) / "transcripts.db"),
    )

    def program() -> int:
        from tui_chat.ui import app

        return app.run(session, app.UiSettings())

    return run_screens(session, program, log_file)


if __name__ == "__main__":
    from tui_chat.terminal.ending import exit_process

    exit_process(main(sys.argv[1]))
