"""What the full screen costs: replies in the real program against the same ones without it.

The program runs in a pseudo-terminal with a model of its own, and nobody follows its screen. It is
idle while this process writes the same reply, so the two take turns on one machine.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks import measured_chat
from benchmarks.pseudo_terminal import PseudoTerminal
from tui_chat.bench.figures import BenchOptions
from tui_chat.bench.meter import ReplyMeter
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.prompt import PromptComposer
from tui_chat.engine.contract.backend import ReplyPath
from tui_chat.errors import TuiChatError

QUESTION = "What can you do?"
PATIENCE_S = 1800.0
"""How long loading, building a path and writing a reply may take."""


@dataclass(frozen=True, slots=True)
class ScreenFigures:
    """Decoding with the full screen around it and without, in tokens per second."""

    with_screen: float
    without: float
    share: float
    """Median of the shares of single pairs."""


def measure_screen(
    meter: ReplyMeter,
    path: ReplyPath,
    options: BenchOptions,
    argv: Sequence[str] = measured_chat.ARGV,
) -> ScreenFigures:
    """Decode the same reply with the screen and without, in alternating rounds.

    Args:
        meter: On the path to be measured. The chat loads the same model once more.
        path: That path.
        options: What to load, how many tokens to write, and the rounds.
        argv: The program to open, which takes what it is to do as one more argument.

    Raises:
        TuiChatError: If the chat ends, cannot load the model, or a reply fails.
    """
    info = meter.info
    conversation = Conversation()
    conversation.append("user", QUESTION)
    composer = PromptComposer(meter.template, meter.encoder, info.context, info.reserve)
    ids = composer.compose(conversation.path()).ids
    request = meter.request(ids, options.new_tokens, info.context)
    pairs = []
    with _open_chat(meter, path, options, argv) as chat:
        for _ in range(options.rounds):
            chat.terminal.send(f"/new\r{QUESTION}\r")
            with_screen = chat.wait_for("tokens_per_s")
            pairs.append((float(with_screen), meter.write(request).stats.decode_tokens_per_s))
        chat.terminal.quit()
    return ScreenFigures(
        with_screen=round(statistics.median(a for a, _ in pairs), 2),
        without=round(statistics.median(b for _, b in pairs), 2),
        share=round(statistics.median(a / b if b else 0.0 for a, b in pairs), 4),
    )


@contextmanager
def _open_chat(
    meter: ReplyMeter, path: ReplyPath, options: BenchOptions, argv: Sequence[str]
) -> Iterator[_MeasuredChat]:
    """The chat, once it has loaded the same model and is on the same path."""
    info = meter.info
    load = replace(
        options.load,
        precision=info.precision,
        device=info.device,
        context=info.context,
        reserve=info.reserve,
    )
    values = options.params.with_values({"max_new_tokens": options.new_tokens}).to_dict()
    params = {name: value for name, value in values.items() if value is not None and name != "stop"}
    reading, writing = os.pipe()
    try:
        with tempfile.TemporaryDirectory() as folder:
            wanted = {
                "load": asdict(load),
                "path": path,
                "params": params,
                "folder": folder,
                "fd": writing,
            }
            with PseudoTerminal((*argv, json.dumps(wanted)), pass_fds=(writing,)) as terminal:
                chat = _MeasuredChat(terminal, reading)
                chat.wait_for("ready")
                yield chat
    finally:
        os.close(reading)
        os.close(writing)


class _MeasuredChat:
    """The running chat and what it reports.

    Args:
        terminal: Where it runs.
        reports: The file descriptor that its reports come from, as JSON lines.
    """

    def __init__(self, terminal: PseudoTerminal, reports: int) -> None:
        self.terminal = terminal
        self._reports = reports
        self._pending = b""

    def wait_for(self, fact: str) -> Any:
        """Take what the program draws until it reports this; returns its value.

        Raises:
            TuiChatError: If it reports a failure, ends, or says nothing for very long.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while b"\n" in self._pending:
                line, self._pending = self._pending.split(b"\n", 1)
                report = json.loads(line)
                if "failed" in report:
                    raise TuiChatError("The chat could not be measured", report["failed"])
                if fact in report:
                    return report[fact]
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self.terminal.fd, self._reports], [], [], left)[0]
            if self._reports in ready:
                self._pending += os.read(self._reports, 65536)
            elif not ready or self.terminal.read(0) is None:
                raise TuiChatError(
                    "The chat could not be measured",
                    "It said nothing for half an hour" if not ready else "It ended by itself",
                    "Its log says why",
                )
