"""A model that tells another process what its replies cost, as JSON lines on a file descriptor.

Inside the full-screen chat it stands where the model of users does. Its replies end at their length
alone, on a decode path that is chosen before the first.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from threading import Event

from tui_chat.bench.decode_paths import check_path
from tui_chat.chat.events import EngineEvent, Failed, Finished, ModelInfo
from tui_chat.engine.contract.backend import Emit, GenerateRequest, LoadRequest, ReplyPath
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.local import LocalBackend
from tui_chat.errors import TuiChatError


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
