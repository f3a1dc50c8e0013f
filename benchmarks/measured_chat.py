"""The full-screen chat with a model that reports what its replies cost, for `measured_screen`.

    python -m benchmarks.measured_chat JSON

It saves its chats, as any chat does, but into a folder that the benchmark throws away. Its replies
end at their length alone, on a decode path that is chosen before the first.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event

from tui_chat.bench.decode_paths import check_path
from tui_chat.chat.events import EngineEvent, Failed, Finished, ModelInfo
from tui_chat.engine.contract.backend import Emit, GenerateRequest, LoadRequest, ReplyPath
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.local import LocalBackend
from tui_chat.errors import TuiChatError

ARGV = (sys.executable, "-m", "benchmarks.measured_chat")
"""The command, but for its argument."""


class ReportingBackend(LocalBackend):
    """Reports `ready`, the tokens per second of each reply, or what has failed.

    Args:
        registry: The models known by name.
        path: The decode path of all replies.
        fd: Where to report.
    """

    def __init__(self, registry: Registry, path: ReplyPath, fd: int) -> None:
        super().__init__(registry)
        self._wanted_path = path
        self._fd = fd

    def preflight(self, request: LoadRequest) -> LoadRequest:
        try:
            return super().preflight(request)
        except TuiChatError as error:
            self._report(failed=error.one_line)
            raise

    def load(self, request: LoadRequest, emit: Emit, cancel: Event) -> ModelInfo:
        try:
            info = super().load(request, emit, cancel)
            self.choose_path(self._wanted_path, cancel)
        except TuiChatError as error:
            self._report(failed=error.one_line)
            raise
        self._report(ready=True)
        return info

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        def tell(event: EngineEvent) -> None:
            emit(event)
            if isinstance(event, Failed):
                self._report(failed=event.one_line)
            elif isinstance(event, Finished):
                try:
                    check_path(event.stats, self._wanted_path)
                except TuiChatError as error:
                    self._report(failed=error.one_line)
                else:
                    self._report(
                        tokens=event.stats.completion_tokens,
                        tokens_per_s=event.stats.decode_tokens_per_s,
                    )

        super().generate(replace(request, ignore_eos=True), tell, cancel)

    def _report(self, **facts: object) -> None:
        with suppress(OSError):  # nobody listens any more, and the chat ends soon
            os.write(self._fd, json.dumps(facts).encode() + b"\n")


def main(wanted: str) -> int:
    """Run the chat until it is left; returns the exit code.

    Args:
        wanted: A JSON object: `load` (the fields of `LoadRequest`), `path` (of decoding), `params`
            (sampling parameters), `folder` (for the database), `fd` (where to report).
    """
    from tui_chat import logs
    from tui_chat.cli.full_screen import run_screens
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
