"""Line-by-line chat for `chat --plain` and `ask`, on the same session and events as the screens.

Labels and replies go to stdout, progress and errors to stderr. The output uses no colours and no
cursor movement, so it works in a dumb terminal, in a pipe and with a screen reader.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Delta, Failed, Finished, Loading, ModelInfo, Ready
from tui_chat.chat.model_size import format_bytes
from tui_chat.chat.params import parse_assignment
from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line
from tui_chat.session import ChatSession, EngineUpdate, SessionEvent
from tui_chat.terminal.safe_writer import SafeWriter
from tui_chat.terminal.shell_remedies import shell_line

USER_LABEL, REPLY_LABEL = "Prompter: ", "Assistant: "
"""The labels before each message, as in Graphcore's chatbot for these models."""

_QUIET_S = 2.0
"""Seconds of loading before the first progress line."""
_NARRATE_EVERY_S = 5.0


class LineClient:
    """Blocking calls on a session.

    Args:
        session: A session that has not been started.
        narrate: Receives each line of loading progress.
        on_ready: Called with the loaded model; may raise to refuse it.
    """

    def __init__(
        self,
        session: ChatSession,
        narrate: Callable[[str], None],
        on_ready: Callable[[ModelInfo], None] | None = None,
    ) -> None:
        self.session = session
        self._narrate = narrate
        self._on_ready = on_ready
        self._events: queue.SimpleQueue[SessionEvent | None] = queue.SimpleQueue()
        self._told_at = time.monotonic()
        session.subscribe(self._events.put)

    def load(self) -> None:
        """Load the model and wait until it is ready.

        Raises:
            TuiChatError: If the model cannot be loaded, or `on_ready` refuses it.
        """
        # Shifted so that the first progress line comes after _QUIET_S, the rest at the interval.
        self._told_at = time.monotonic() + _QUIET_S - _NARRATE_EVERY_S
        self.session.start()
        while True:
            event = self._events.get()
            if not isinstance(event, EngineUpdate) or event.message_id is not None:
                continue
            if isinstance(event.event, Ready):
                if self._on_ready is not None:
                    self._on_ready(event.event.info)
                return
            if isinstance(event.event, Failed):
                raise event.event.error
            if isinstance(event.event, Loading):
                self._tell_loading(event.event)

    def reply(self, begin: Callable[[], Message], write: Callable[[str], None]) -> Finished:
        """Request a reply and wait until it ends.

        The first Ctrl+C stops the reply, which then ends with the reason `cancelled`; the second
        raises.

        Args:
            begin: Requests the reply, as `session.send` does, and returns its message.
            write: Receives the text as it arrives.

        Raises:
            TuiChatError: If the reply fails; `write` has received the text up to then.
            KeyboardInterrupt: On the second Ctrl+C.
        """
        with self._interrupts_queued():
            message = begin()
            while True:
                event = self._events.get()
                if event is None:
                    self.session.cancel()
                elif isinstance(event, EngineUpdate) and event.message_id == message.id:
                    if isinstance(event.event, Delta):
                        write(event.event.text)
                    elif isinstance(event.event, Failed):
                        raise event.event.error
                    elif isinstance(event.event, Finished):
                        return event.event

    @contextmanager
    def _interrupts_queued(self) -> Iterator[None]:
        """Turn the first Ctrl+C in this block into a queued event instead of an exception."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        is_first = True

        def interrupt(number: int, frame: FrameType | None) -> None:
            nonlocal is_first
            if not is_first:
                raise KeyboardInterrupt
            is_first = False
            self._events.put(None)  # SimpleQueue.put is reentrant, so safe in a signal handler

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _tell_loading(self, step: Loading) -> None:
        if time.monotonic() - self._told_at < _NARRATE_EVERY_S:
            return
        self._told_at = time.monotonic()
        size = f" {format_bytes(step.done)} of {format_bytes(step.total)}" if step.total else ""
        self._narrate(f"Loading {safe_line(step.model, 80)}: {step.stage}{size}")


# One reply --------------------------------------------------------------------------------------


def ask(client: LineClient, prompt: str, write: Callable[[str], None]) -> Finished:
    """Send one prompt and return how its reply ended.

    Raises:
        TuiChatError: If the model cannot be loaded or the reply fails.
        KeyboardInterrupt: If Ctrl+C stopped the reply; its text so far is part of the chat.
    """
    client.load()
    end = client.reply(lambda: client.session.send(prompt), write)
    if end.reason == "cancelled":
        raise KeyboardInterrupt
    return end


def reply_record(session: ChatSession, end: Finished) -> dict[str, Any]:
    """Return the last reply as the record that `ask --json` prints."""
    message = session.messages()[-1]
    info = session.info
    stats = end.stats
    return {
        "text": message.text,
        "finish_reason": end.reason,
        "model": message.model,
        "precision": message.precision,
        "device": info.device if info is not None else "",
        "template": info.template if info is not None else "",
        "seed": message.seed,
        "params": dict(message.params),
        "prompt_tokens": stats.prompt_tokens,
        "reused_tokens": stats.reused_tokens,
        "completion_tokens": stats.completion_tokens,
        "dropped_turns": stats.dropped_turns,
        "ttft_s": round(stats.ttft_s, 4),
        "decode_tokens_per_s": round(stats.decode_tokens_per_s, 2),
        "chat_id": session.conversation.id if session.save_state is not None else None,
        "message_id": message.id,
    }


# A chat -----------------------------------------------------------------------------------------


class PlainChat:
    """A line-by-line chat.

    Args:
        client: The client of the session.
        out: Receives labels and replies.
        complain: Receives each error as one line.
        is_scripted: Whether the prompts come from a list; they are echoed then.
    """

    def __init__(
        self,
        client: LineClient,
        out: SafeWriter,
        complain: Callable[[str], None],
        is_scripted: bool = False,
    ) -> None:
        self._client = client
        self._session = client.session
        self._out = out
        self._complain = complain
        self._is_scripted = is_scripted
        self._failures = 0

    def run(self, prompts: Iterable[str]) -> int:
        """Answer prompts until they end or one is blank.

        Returns:
            1 if any prompt of a script failed, else 0.
        """
        self._client.load()
        for prompt in prompts:
            if not prompt.strip():
                break
            if self._is_scripted:
                self._out.write(f"{USER_LABEL}{prompt}\n")
            try:
                if not self._command(prompt):
                    break
            except TuiChatError as error:
                self._out.end_line()
                self._complain(shell_line(error))
                self._failures += 1
        return 1 if self._failures and self._is_scripted else 0

    def _command(self, prompt: str) -> bool:
        """Run a command, or send the line as a message; return False to end the chat."""
        name, _, rest = prompt.strip().partition(" ")
        rest = rest.strip()
        session = self._session
        if name == "/quit":
            return False
        if name == "/new":
            session.new_chat()
        elif name == "/set" and rest:
            session.set_param(*parse_assignment(rest))
        elif name == "/preset" and rest:
            session.apply_preset(rest)
        elif name == "/system":
            if rest:
                session.set_system(rest)
            self._out.write(f"System: {session.conversation.system or 'none'}\n")
        elif name == "/retry":
            self._reply(session.regenerate)
        elif name == "/help":
            self._out.write("/new  /retry  /set NAME=VALUE  /preset NAME  /system TEXT  /quit\n")
        else:
            self._reply(lambda: session.send(prompt))
        return True

    def _reply(self, begin: Callable[[], Message]) -> None:
        self._out.write(REPLY_LABEL)
        try:
            end = self._client.reply(begin, self._out.write)
        finally:
            self._out.end_line()
        if end.reason == "cancelled":
            self._out.write("(stopped)\n")


def typed_prompts(read: Callable[[str], str], write: Callable[[str], None]) -> Iterator[str]:
    """Yield prompts as they are typed or piped in, until the input ends.

    Args:
        read: Shows a label and returns a line, as `input` does; raises `EOFError` at the end.
        write: Receives line breaks, and the notice shown after Ctrl+C.

    Raises:
        KeyboardInterrupt: On the second Ctrl+C in a row.
    """
    was_interrupted = False
    while True:
        try:
            line = read(USER_LABEL)
        except EOFError:
            write("\n")
            return
        except KeyboardInterrupt:
            write("\n")
            if was_interrupted:
                raise
            was_interrupted = True
            write("(Press Ctrl+C again to quit)\n")
            continue
        was_interrupted = False
        yield line
