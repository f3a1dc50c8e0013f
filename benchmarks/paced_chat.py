"""The full-screen chat with a scripted model that writes at a steady pace and reports its progress.

    python -m benchmarks.paced_chat FILE

The file is JSON; it has `folder` (for the database), `fd` (where to report), `reply`,
`tokens_per_s`, `messages` (how many the chat has already), and perhaps `every`, `context` (tokens;
a reply takes half of them at most) and `resume` (a saved chat to go on with). Every so many tokens,
by default a hundred, it reports how many there were, when, the processor time that the whole
process has used, and its memory in bytes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import psutil  # type: ignore[import-untyped]  # it ships no type hints

from tui_chat.chat.events import Delta, EngineEvent
from tui_chat.engine.contract.backend import Emit, GenerateRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend

EVERY = 100


class PacedBackend(ScriptedBackend):
    """Reports as it writes.

    Args:
        script: What it writes, and when.
        fd: Where to report.
        every: After how many tokens.
    """

    def __init__(self, script: Script, fd: int, every: int = EVERY) -> None:
        super().__init__(script)
        self._fd = fd
        self._every = every

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        written = 0

        def tell(event: EngineEvent) -> None:
            nonlocal written
            emit(event)
            if isinstance(event, Delta):
                if written % self._every == 0:
                    facts = {
                        "tokens": written,
                        "cpu_s": time.process_time(),
                        "at": time.monotonic(),
                        "rss": psutil.Process().memory_info().rss,
                    }
                    os.write(self._fd, json.dumps(facts).encode() + b"\n")
                written += 1

        super().generate(request, tell, cancel)


def argv_of(wanted: dict[str, Any]) -> list[str]:
    """Return the command that runs the chat so; what is wanted is written into its folder.

    A reply can be longer than an argument may be.
    """
    file = Path(wanted["folder"]) / "wanted.json"
    file.write_text(json.dumps(wanted), encoding="utf-8")
    return [sys.executable, "-m", "benchmarks.paced_chat", str(file)]


def main(wanted: dict[str, Any]) -> int:
    """Run the chat until it is left; returns the exit code."""
    from tui_chat import logs
    from tui_chat.chat.conversation import Conversation
    from tui_chat.cli.full_screen import run_screens
    from tui_chat.engine.contract.backend import LoadRequest
    from tui_chat.engine.files.registry import load_registry
    from tui_chat.session import ChatSession, SessionSettings
    from tui_chat.storage.saving.writer import TranscriptWriter
    from tui_chat.terminal import ownership as terminal

    terminal.require_terminal()
    log_file = logs.configure()
    context = wanted.get("context", 8192)
    script = Script(
        [wanted["reply"]], token_s=1 / wanted["tokens_per_s"], context=context, reserve=context // 2
    )
    session = ChatSession(
        PacedBackend(script, wanted["fd"], wanted.get("every", EVERY)),
        load_registry(),
        SessionSettings(LoadRequest("guide"), overrides={"max_new_tokens": context // 2}),
        TranscriptWriter(Path(wanted["folder"]) / "transcripts.db"),
    )
    if wanted.get("resume"):
        session.open_chat(session.load_chat(wanted["resume"]))
    elif wanted["messages"]:
        conversation = Conversation(title="A long chat")
        for number in range(wanted["messages"]):
            text = f"Message {number} of a long chat, with **some** text and `code` in it."
            conversation.append("assistant" if number % 2 else "user", text)
        session.open_chat(conversation)

    def program() -> int:
        from tui_chat.ui import app

        return app.run(session, app.UiSettings())

    return run_screens(session, program, log_file)


if __name__ == "__main__":
    from tui_chat.terminal.ending import exit_process

    exit_process(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
