"""Commands in this process, with a home of their own and a model that speaks a script."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tui_chat import cli
from tui_chat.engine import local
from tui_chat.engine.contract.scripted import Script, ScriptedBackend


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        (line,) = self.err.splitlines()
        assert line.startswith("tui-chat: ")
        return line.removeprefix("tui-chat: ")


class CommandLine:
    """Runs commands as the installed program would."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.script = Script()
        self.backends: list[ScriptedBackend] = []
        self._capsys = capsys
        self._patch = patch
        patch.setattr(local, "LocalBackend", self._backend)

    def _backend(self, *_: object, **__: object) -> ScriptedBackend:
        self.backends.append(ScriptedBackend(self.script))
        return self.backends[-1]

    def __call__(self, *arguments: str, stdin: str | bytes | None = "") -> Result:
        """Run a command.

        Args:
            arguments: The command line.
            stdin: What is piped in; None for a closed stdin.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        piped = None if data is None else io.TextIOWrapper(io.BytesIO(data))
        self._patch.setattr(sys, "stdin", piped)
        self._capsys.readouterr()
        code = cli.run(arguments)
        captured = self._capsys.readouterr()
        return Result(code, captured.out, captured.err)

    @property
    def prompts(self) -> list[str]:
        """The prompts that were sent, oldest first, with their control tokens."""
        return [b.encoder.decode(r.ids) for b in self.backends for r in b.requests]  # type: ignore[union-attr]  # loaded


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TUI_CHAT_HOME", str(folder))
    for name in ("TUI_CHAT_MODEL", "TUI_CHAT_PRECISION", "TUI_CHAT_LOG", "EXAMPLE_PROMPTS"):
        monkeypatch.delenv(name, raising=False)
    folder.mkdir()
    return folder


@pytest.fixture
def run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """Runs commands."""
    import logging

    yield CommandLine(capsys, monkeypatch)
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler).__module__ == "tui_chat.logs":
            root.removeHandler(handler)
            handler.close()
