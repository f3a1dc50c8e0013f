"""The program that a random walk goes through: takes the steps, and checks what comes of them."""

from __future__ import annotations

import json
import os
import pickle
import re
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.painted_terminal import COLUMNS, ROWS, WalkTerminal
from tests.e2e.pseudo_terminal import environment
from tests.e2e.walk_expected import difference
from tests.e2e.walk_fault import HANG_S, Fault
from tests.e2e.walk_replies import replies_of
from tests.e2e.walk_steps import ESC, Check, Continue, Quit, Resize, Rest, Send, Step, Stop
from tui_chat.storage.database.reading import read_transcripts

HOVER_S = 1.0
"""Seconds after which the mouse is moved again."""
PAINT_S = 10.0
"""How long the painted rows may differ from the text."""
START_S = 60.0
REPLY_S = 60.0

_LOG_FAULT = re.compile(r"^(?:.*Traceback \(most.*|\S+ \S+ (?:ERROR|CRITICAL) .*)$", re.MULTILINE)
_RAISED = re.compile(r"^([A-Za-z_.]*(?:Error|Exception|Matches|Interrupt|Exit)\b.*)$", re.MULTILINE)
_AT = re.compile(
    r'((?:tui_chat|textual|rich|asyncio)/[\w/]*\.py)[":]\S* (?:line )?(?:\d+,? )?in (\w+)'
)
_LEAVES = (b"\x03", b"\x11", b"/q", b"\x10")
"""What may leave the program: the keys, the command, and the palette that has it."""


class WalkedProgram:
    """A program that is walked through.

    Args:
        home: An empty folder.
        seed: Of the replies.
        model: A real model; the script if it is empty.
    """

    def __init__(self, home: Path, seed: int, model: str = "") -> None:
        self.home = home
        self.seed = seed
        self._model = model
        self._log = home / "tui-chat" / "logs" / "tui-chat.log"
        self._log_at = 0
        self._report = home / "report.pickle"
        self._number = 0
        self._words = self._hovers = 0
        self._recent: deque[bytes] = deque(maxlen=32)
        self.comparisons = self.starts = 0
        self.terminal = self._start()

    def _start(self) -> WalkTerminal:
        self.home.mkdir(parents=True, exist_ok=True)
        editor = self.home / "editor"
        editor.write_text('#!/bin/sh\nprintf "edited outside" > "$1"\n')
        editor.chmod(0o755)
        script = self.home / "script.json"
        options: dict[str, Any] = {"report": str(self._report), "toast_s": 0.3}
        if self._model:
            options["model"] = self._model
        else:
            options |= {"replies": replies_of(self.seed), "token_s": 0.003, "prefill_s": 0.01,
                        "load_s": 0.003}  # fmt: skip
        script.write_text(json.dumps(options))
        variables = environment(self.home, EDITOR=str(editor), BROWSER="true", NO_AT_BRIDGE="1")
        terminal = WalkTerminal(script, variables, self.home)
        self.starts += 1
        self._number = 0
        self._report.unlink(missing_ok=True)
        self._recent.clear()
        limit = time.monotonic() + START_S
        while "Type a message" not in "\n".join(terminal.lines):
            terminal.read(0.02)
            if not terminal.is_open or time.monotonic() > limit:
                self.terminal = terminal
                raise self._ended() if not terminal.is_open else Fault("does not start")
        return terminal

    def close(self) -> None:
        """End the program by force."""
        self.terminal.__exit__()

    # Steps

    def take(self, step: Step) -> None:
        """Do a step.

        Raises:
            Fault: If the program does what it must not.
        """
        terminal = self.terminal
        match step:
            case Send(data):
                self._recent.append(data)
                terminal.send(data)
                self._pace()
            case Resize(rows, columns):
                terminal.resize(rows, columns)
                self._pace()
            case Stop(name, milliseconds):
                os.kill(terminal.pid, signal.Signals[f"SIG{name}"])
                terminal.rest(milliseconds / 1000, milliseconds / 1000)
                self._continue()
            case Continue():
                os.kill(terminal.pid, signal.SIGCONT)
                self._pace()
            case Rest():
                terminal.rest()
            case Check():
                self.check()
            case Quit(data):
                self._quit(data)
        if not self.terminal.is_open:
            self._take_end()
        if self.terminal.painted.unknown:
            raise Fault("the terminal was sent what it must not be", self.terminal.painted.unknown)

    def _continue(self) -> None:
        """Continue the process, once it has stopped; a stop that is on its way would win."""
        limit = time.monotonic() + HANG_S
        while _state(self.terminal.pid) != "T":
            self.terminal.read(0.002)
            if time.monotonic() > limit or not self.terminal.is_open:
                return
        os.kill(self.terminal.pid, signal.SIGCONT)
        while self.terminal.is_open and self.terminal.has_its_modes_back():
            self.terminal.read(0.002)
            if time.monotonic() > limit:
                raise Fault("hang", "the terminal is not taken again after a stop")
        self._pace()

    def _pace(self) -> None:
        """Go on as soon as something was painted, and soon in any case."""
        self.terminal.read(0.006)

    def _quit(self, data: bytes) -> None:
        state = self._come_home(is_patient=False)
        if state is None:
            return
        if data == b"\x03":  # twice, with what it says in between
            self.terminal.send(data)
            self.terminal.rest()
        self.terminal.send(data)
        self._recent.append(b"\x11")
        self._wait(lambda: not self.terminal.is_open, "the program does not end")
        self._take_end(state)

    def _take_end(self, state: dict[str, Any] | None = None) -> None:
        """The program has ended: see that it was asked to, and start it again."""
        fault = self._ended()
        if fault.kind:
            raise fault
        if state is not None:
            self._compare_saved(state)
        self.terminal.__exit__()
        self.terminal = self._start()

    def _ended(self) -> Fault:
        """How the program ended; of no kind if all is well."""
        child = self.terminal.child
        limit = time.monotonic() + HANG_S
        while child.isalive():
            if time.monotonic() > limit:
                return Fault("the terminal is closed, and the program goes on")
            select.select([], [], [], 0.01)
        code = -child.signalstatus if child.signalstatus is not None else child.exitstatus
        self._read_log()
        said = self.terminal.output.rpartition(b"\x1b[?1049l")[2].decode(errors="replace")
        if code:
            return Fault(f"exit code {code}", said)
        if "Traceback" in said or "Error" in said:
            return Fault("a traceback at the end", said)
        if not any(word in b"".join(self._recent) for word in _LEAVES):
            return Fault("it left without being asked", said)
        return Fault("")

    def _compare_saved(self, state: dict[str, Any]) -> None:
        """Nothing that was said may be lost."""
        said = [m for m, _ in state["messages"] if m.role != "system" and not m.is_note]
        if not said:
            return
        with read_transcripts(self.home / "tui-chat" / "transcripts.db") as reader:
            saved = reader.load(state["chat"])
        for message in said:
            if message.id not in saved:
                raise Fault("a message is not saved", repr(message))
            text = saved[message.id].text
            is_kept = text.startswith(message.text) if message.is_unfinished else (
                text == message.text
            )  # fmt: skip
            if not is_kept:
                raise Fault("a message is saved as another one", f"{message!r}\n{text!r}")

    # Checking

    def check(self) -> None:
        """Leave all screens, type a word, and compare what is painted with the text."""
        state = self._come_home()
        if state is None:
            return
        self._probe()
        if not self.terminal.is_open:
            return
        self.terminal.send(b"\x1b[1;5F")
        limit = time.monotonic() + PAINT_S
        while True:
            state = self._state()
            if state is None:
                return
            if state["is_busy"] or state["state"] == "loading":
                limit = time.monotonic() + PAINT_S
            self.terminal.read(0.01)
            wrong = "" if not state["messages"] else difference(self.terminal.lines, state)
            if not wrong:
                break
            if time.monotonic() > limit:
                raise Fault("painted rows differ", f"{wrong}\n{_short(state)}")
        self.comparisons += 1
        self._read_log()

    def _probe(self) -> None:
        """Type a word, see it, and take it away again."""
        self._words += 1
        word = f"zq{self._words}x"
        self.terminal.send(word.encode())
        self._wait(lambda: f"› {word}" in self.terminal.text, f"{word} is not painted")
        self.terminal.send(b"\x03")
        self._wait(lambda: "› Type a message" in self.terminal.text, f"{word} is not cleared")

    def _come_home(self, is_patient: bool = True) -> dict[str, Any] | None:
        """Leave all screens with keys that a person would press; None if the program ended.

        Args:
            is_patient: Wait for replies and models.
        """
        terminal = self.terminal
        terminal.send(b"\x1b[<0;1;1m\x1b[I")  # no button is held, and the terminal has the focus
        if (terminal.painted.rows, terminal.painted.columns) != (ROWS, COLUMNS):
            terminal.resize(ROWS, COLUMNS)
        self._catch_up()
        limit = time.monotonic() + REPLY_S
        pressed: list[tuple[bytes, str]] = []
        is_sure = False
        while (state := self._state()) is not None:
            if time.monotonic() > limit or len(pressed) > 16:
                tried = "\n".join(f"{key!r} {before}" for key, before in pressed[-8:])
                raise Fault("the prompt is out of reach", f"{tried}\n{_short(state)}")
            is_busy = state["is_busy"] or state["state"] == "loading"
            is_main = state["screen"] == "ChatScreen"
            if state["size"] != (COLUMNS, ROWS):
                terminal.read(0.01)
                continue
            if is_main and is_busy and is_patient:
                terminal.read(0.02)
                continue
            is_home = state["focus"] == "prompt" and not (
                state["is_editing"] or state["is_completing"] or state["has_panel"]
                or state["has_find_bar"] or state["has_notice"]
            )  # fmt: skip
            if is_main and is_home and not state["draft"]:
                if is_sure:
                    return state
                is_sure = True  # but what was pressed before may still open something
                terminal.rest(0.06, 0.4)
                self._catch_up()
                continue
            is_sure = False
            key = ESC
            if is_main and state["focus"] == "prompt" and state["draft"]:
                key = ESC if state["is_editing"] or state["is_completing"] else b"\x03"
            elif is_main and state["has_find_bar"] and state["focus"] == "prompt":
                key = b"\x06"
            pressed.append((key, _short(state)))
            self._recent.append(key)  # Ctrl+C on a draft that was just cleared may leave
            terminal.send(key)
            self._catch_up()
            before = _place(state)
            soon = time.monotonic() + 0.3
            while (after := self._state()) is not None and _place(after) == before:
                terminal.read(0.01)
                if time.monotonic() > soon:
                    break
        return None

    def _catch_up(self) -> None:
        """Wait until the program has read all that was sent: it says where it saw the mouse."""
        if self.terminal.sent and self.terminal.sent[-1][1].endswith(ESC):
            self.terminal.rest(0.04, 0.2)
        self._hovers = self._hovers % 90 + 1
        self.terminal.send(b"\x1b[<35;%d;1M" % (self._hovers + 1))
        limit = time.monotonic() + HANG_S
        again = time.monotonic() + HOVER_S
        while (state := self._state()) is not None and state["mouse"] != (self._hovers, 0):
            if time.monotonic() > again:  # an editor may have had the terminal, and read it
                again += HOVER_S
                self.terminal.send(b"\x1b[<35;%d;1M" % (self._hovers + 1))
            if time.monotonic() > limit:
                raise Fault("hang", f"a move of the mouse is not read: {_short(state)}")
            self.terminal.read(0.005)
        self.terminal.rest(0.03, 0.3)

    def _state(self) -> dict[str, Any] | None:
        """What the program says of its screens; None if it has ended.

        Raises:
            Fault: If its loop does not answer.
        """
        limit = time.monotonic() + HANG_S
        if not self.terminal.read() or _state(self.terminal.pid) == "Z":
            self.terminal.is_open = False
            return None
        os.kill(self.terminal.pid, signal.SIGUSR1)
        while True:
            if self._report.exists():
                state: dict[str, Any] = pickle.loads(self._report.read_bytes())
                if state["number"] > self._number:
                    self._number = state["number"]
                    return state
            if not self.terminal.read(0.003):
                return None
            if _state(self.terminal.pid) == "T":
                # Ctrl+Z while an editor had the terminal stops both; a shell's fg continues both
                os.killpg(os.getpgid(self.terminal.pid), signal.SIGCONT)
            if time.monotonic() > limit:
                raise Fault("hang", f"the loop of the program does not answer\n{self._stacks()}")

    def _stacks(self) -> str:
        """Where every thread of the program is."""
        os.kill(self.terminal.pid, signal.SIGUSR2)
        self.terminal.rest(0.2, 1.0)
        file = self._report.with_suffix(".stacks")
        return file.read_text() if file.exists() else ""

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + HANG_S
        while self.terminal.is_open and not is_so():
            self.terminal.read(0.01)
            if time.monotonic() > limit:
                raise Fault("a key has no effect", what)

    def _read_log(self) -> None:
        """See that nothing went wrong that only the log tells of."""
        if not self._log.exists():
            return
        size = self._log.stat().st_size
        with self._log.open(errors="replace") as file:
            file.seek(self._log_at if size >= self._log_at else 0)
            text = file.read()
        self._log_at = size
        if _LOG_FAULT.search(text):
            raised = [r for r in _RAISED.findall(text) if not r.startswith("Traceback")]
            places = _AT.findall(text)
            where = " in ".join(reversed(places[-1])) if places else ""
            first = raised[-1] if raised else _LOG_FAULT.findall(text)[-1][20:]
            raise Fault(f"logged: {first[:100]} ({where})", text[-6000:])

    def explanation(self) -> str:
        """The last screen, what was printed, and the end of the log."""
        terminal = self.terminal
        child = terminal.child
        tail = self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""
        now = time.monotonic()
        sent = "\n".join(f"{at - now:8.3f} {data!r}" for at, data in terminal.sent)
        size = f"{terminal.painted.columns}x{terminal.painted.rows}"
        return (
            f"exit status: {child.exitstatus}, signal: {child.signalstatus}\n"
            f"--- screen {size}\n" + "\n".join(terminal.painted.lines) + "\n"
            f"--- sent\n{sent}\n--- output\n{terminal.output[-300:]!r}\n--- log\n{tail}"
        )


def _place(state: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(state[k] for k in state if k not in ("number", "messages", "count", "mouse"))


def _short(state: dict[str, Any]) -> str:
    return repr({k: v for k, v in state.items() if k != "messages"})


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
