"""How the screen behaves, measured from outside on the real program with the built-in model.

    python -m benchmarks.screen WHAT [--rounds N]

WHAT is one of first-paint, first-token, key-echo, cancel, open, extremes, long-reply,
longest-reply, decode and idle.

Each prints a line for people and ends with one JSON line. Ratios come from alternating rounds in
one run, since machines are noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import psutil  # type: ignore[import-untyped]  # it ships no type hints

from benchmarks import bare_generate, paced_chat
from benchmarks.measured_screen import ScreenFigures, measure_screen
from benchmarks.pseudo_terminal import PseudoTerminal
from benchmarks.random_model import make_random_model
from benchmarks.terminal_program import TerminalProgram, chat_argv
from tui_chat.bench import BenchOptions
from tui_chat.bench.decode_paths import PATHS
from tui_chat.bench.meter import ReplyMeter
from tui_chat.chat.conversation import Conversation
from tui_chat.engine.contract.backend import LoadRequest, ReplyPath
from tui_chat.engine.local import LocalBackend
from tui_chat.storage.saving.writer import TranscriptWriter

PROMPT = "Type a message"
QUESTION = "What can you do?"
WRITING = "▸"


@contextmanager
def chat(home: Path, *options: str) -> Iterator[TerminalProgram]:
    """The chat with an own home, ready to type."""
    environment = {"TUI_CHAT_HOME": str(home), "TUI_CHAT_TURBO": "false"}
    with TerminalProgram(chat_argv(*options), environment) as program:
        program.wait_for(lambda text: PROMPT in text)
        yield program


def ready(program: TerminalProgram) -> None:
    """Wait until the model is loaded and nothing is going on."""
    program.wait_for(lambda text: ("· cpu ·" in text or "· cuda" in text) and WRITING not in text)


def first_paint(rounds: int) -> dict[str, float]:
    """Process start to the first frame, against a bare Textual app with the same widgets.

    The screen is not followed, which would take longer the more there is on it.
    """
    placeholder = PROMPT[1:]  # the cursor stands on its first letter

    def ours(home: str) -> float:
        with TerminalProgram(chat_argv(), {"TUI_CHAT_HOME": home}) as program:
            return _until(program, placeholder)

    def bare(home: str) -> float:
        argv = [sys.executable, "-m", "benchmarks.bare_app"]
        with TerminalProgram(argv, {"TUI_CHAT_HOME": home}) as program:
            return _until(program, placeholder)

    return _against_bare("first_paint_s", ours, bare, rounds)


def first_token(rounds: int) -> dict[str, float]:
    """Process start to the first words of a reply, of a question typed at once, against a bare
    script that loads the same model and generates one token.
    """

    def ours(home: str) -> float:
        with TerminalProgram(chat_argv("--no-save"), {"TUI_CHAT_HOME": home}) as program:
            program.skip_to(PROMPT[1:])
            program.send(bare_generate.QUESTION + "\r")
            return _until(program, "A token is")

    def bare(home: str) -> float:
        del home
        with TerminalProgram([sys.executable, "-m", "benchmarks.bare_generate"]) as program:
            return _until(program, "first token:")

    return _against_bare("first_token_s", ours, bare, rounds)


def _until(program: TerminalProgram, shown: str) -> float:
    """Seconds from the start of a program until it writes something."""
    program.skip_to(shown)
    return time.perf_counter() - program.started


def _against_bare(
    name: str, ours: Callable[[str], float], bare: Callable[[str], float], rounds: int
) -> dict[str, float]:
    """Alternate two programs in one home, which they are given; the first round warms the disk."""
    with tempfile.TemporaryDirectory() as home:
        pairs = [(ours(home), bare(home)) for _ in range(rounds + 1)][1:]
    return {
        name: statistics.median(mine for mine, _ in pairs),
        "bare_s": statistics.median(other for _, other in pairs),
        "ratio": statistics.median(mine / other for mine, other in pairs),
    }


def idle(rounds: int) -> dict[str, float]:
    """Processor time of the whole program over seconds in which nothing happens, with a chat open
    and the model loaded.
    """
    shares = []
    with tempfile.TemporaryDirectory() as home, chat(Path(home)) as program:
        ready(program)
        keep_decoding(program)
        program.wait_for(lambda text: WRITING not in text and "tok/s" in text)
        process = psutil.Process(program.pid)
        read_for(program, 3)
        for _ in range(rounds):
            before = sum(process.cpu_times()[:2])
            read_for(program, 10)
            shares.append((sum(process.cpu_times()[:2]) - before) / 10)
    return {"median_share": statistics.median(shares), "max_share": max(shares)}


@contextmanager
def large_model() -> Iterator[Path]:
    """A model large enough to be decoded on all cores: 302 million random weights."""
    with tempfile.TemporaryDirectory() as folder:
        yield make_random_model(Path(folder), layers=24, width=1024)


def long_replies(model: Path | str) -> tuple[str, ...]:
    """Options under which a reply goes on until it is stopped or the context is full."""
    return ("--model", str(model), "--template", "oasst", "--preset", "greedy", "--set",
            "max_new_tokens=1500")  # fmt: skip


def keep_decoding(program: TerminalProgram) -> None:
    """Have a reply written that does not end by itself for a long time."""
    program.send(QUESTION + "\r")
    program.wait_for(lambda text: WRITING in text)


def key_echo(rounds: int) -> dict[str, float]:
    """A key press to its character in what the program writes, while a reply is decoded on all
    cores. The screen is followed between words only, since that takes a processor of its own.
    """
    times: list[float] = []
    with (
        large_model() as model,
        tempfile.TemporaryDirectory() as home,
        chat(Path(home), *long_replies(model)) as program,
    ):
        ready(program)
        typed, behind = "", b""
        while len(times) < rounds:
            if not typed and WRITING not in program.text:
                keep_decoding(program)
            typed += "abcdefghij"[len(typed) % 10]
            began = time.perf_counter()
            program.send(typed[-1])
            written = b""
            while typed.encode() not in written:
                written += program.read(10) or b""
            times.append(time.perf_counter() - began)
            while time.perf_counter() < began + 0.1:
                written += program.read(0.01) or b""
            behind += written
            if len(typed) == 40:
                program.feed(behind)
                behind = b""
                program.send("\x03")
                program.wait_for(lambda text: PROMPT in text)
                typed = ""
    times.sort()
    return {
        "keys": len(times),
        "median_ms": statistics.median(times) * 1000,
        "p99_ms": times[min(len(times) - 1, int(len(times) * 0.99))] * 1000,
    }


def read_for(program: TerminalProgram, seconds: float) -> None:
    """Take what the program draws, as a terminal would, between two key presses."""
    deadline = time.perf_counter() + seconds
    while (left := deadline - time.perf_counter()) > 0:
        program.pump(left)


def cancel(rounds: int) -> dict[str, float]:
    """Esc to an idle engine on the screen, with a model of the guide's size."""
    times = []
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as home,
        chat(Path(home), *long_replies(make_random_model(Path(folder), 6, 256))) as program,
    ):
        ready(program)
        for _ in range(rounds):
            keep_decoding(program)
            read_for(program, 0.3)
            began = time.perf_counter()
            program.send("\x1b")
            times.append(program.wait_for(lambda text: WRITING not in text, 20) - began)
            program.send("/new\r")
            program.wait_for(lambda text: "stopped" not in text)
    return {"median_ms": statistics.median(times) * 1000, "max_ms": max(times) * 1000}


def _save(conversation: Conversation, home: str) -> None:
    """Write a chat into the database of a home folder, all of it before this returns."""
    writer = TranscriptWriter(Path(home) / "transcripts.db").start()
    writer.save_conversation(conversation)
    writer.flush(60)
    writer.close()


def open_transcript(rounds: int, messages: int = 10_000) -> dict[str, float]:
    """Process start to the newest message of a long chat, against starting with an empty one."""
    long, empty = [], []
    with tempfile.TemporaryDirectory() as home:
        conversation = Conversation(title="A long chat")
        for number in range(messages):
            text = f"Message {number} of a long chat, with **some** text and `code` in it."
            conversation.append("assistant" if number % 2 else "user", text)
        _save(conversation, home)
        last = f"Message {messages - 1} "
        for _ in range(rounds):
            for options, shown, times in (
                (("--resume", "last"), last, long),
                ((), PROMPT, empty),
            ):
                env = {"TUI_CHAT_HOME": home}
                with TerminalProgram(chat_argv(*options), env) as program:
                    end = program.wait_for(lambda text, s=shown: s in text)
                    times.append(end - program.started)
    more = [a - b for a, b in zip(long, empty, strict=True)]
    return {
        "messages": messages,
        "start_with_it_s": statistics.median(long),
        "start_empty_s": statistics.median(empty),
        "opening_s": statistics.median(more),
    }


EXTREMES = {
    "newlines": "a\n" + "\n" * 50_000 + "b",
    "fences": "```py\nx = 1\n```\n\n" * 10_000,
    "rules": "---\n\n" * 20_000,
    "line": "lorem ipsum " * 83_333,
    "list": "".join(f"{'  ' * level}- level {level}\n" for level in range(200)),
}
"""Replies that are costly to lay out."""


def extremes(rounds: int) -> dict[str, float]:
    """Opening a chat with such a reply: from Enter in the list of chats to its end on the screen,
    and the slowest echo of ten keys that are typed from then on.
    """
    figures: dict[str, float] = {}
    for name, text in EXTREMES.items():
        shown, echoes = [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as home:
                conversation = Conversation(title="The chat")
                conversation.append("user", "Say much")
                conversation.append("assistant", f"{text}\n\nEND OF IT")
                _save(conversation, home)
                with chat(Path(home)) as program:
                    ready(program)
                    program.send("\x0f")
                    program.wait_for(lambda text: "The chat" in text)
                    read_for(program, 0.5)
                    program.send("\r")
                    began = time.perf_counter()
                    program.wait_for(lambda text: "END OF IT" in text)
                    shown.append(time.perf_counter() - began)
                    slowest = 0.0
                    for typed in ("abcdefghij"[: n + 1] for n in range(10)):
                        began = time.perf_counter()
                        program.send(typed[-1])
                        program.wait_for(lambda text, t=f"› {typed}": t in text, 10)
                        slowest = max(slowest, time.perf_counter() - began)
                    echoes.append(slowest)
        figures[f"{name}_s"] = statistics.median(shown)
        figures[f"{name}_key_ms"] = statistics.median(echoes) * 1000
    return figures


def long_reply(rounds: int, tokens: int = 2000) -> dict[str, float]:
    """Processor time and pace of a reply that comes at 100 tokens/s, in its last quarter against
    its second, in a new chat and in one of 2,000 messages.

    In the first quarter it does not yet fill the screen.
    """
    figures: dict[str, float] = {}
    for name, messages in (("new", 0), ("long", 2000)):
        costs, paces, shares = [], [], []
        for _ in range(rounds):
            marks = {mark["tokens"]: mark for mark in _paced(long_text(tokens), 100, messages)}
            second, last = (
                {key: marks[end][key] - marks[end - tokens // 4][key] for key in ("cpu_s", "at")}
                for end in (tokens // 2, tokens)
            )
            costs.append(last["cpu_s"] / second["cpu_s"])
            paces.append(second["at"] / last["at"])
            shares.append(last["cpu_s"] / last["at"])
        figures[f"{name}_cpu_ratio"] = statistics.median(costs)
        figures[f"{name}_pace_ratio"] = statistics.median(paces)
        figures[f"{name}_cpu_share"] = statistics.median(shares)
    return figures


def longest_reply(rounds: int, tokens: int = 200_000) -> dict[str, float]:
    """The same for a reply of 200,000 tokens that comes at 2,000 tokens/s, with the memory that it
    takes against the length of its text.
    """
    costs, paces, sizes = [], [], []
    text = long_text(tokens)
    for _ in range(rounds):
        marks = _paced(text, 2000, 0, every=1000, context=1 << 19)
        at = {mark["tokens"]: mark for mark in marks}
        second, last = (
            {key: at[end][key] - at[end - tokens // 4][key] for key in ("cpu_s", "at")}
            for end in (tokens // 2, tokens)
        )
        costs.append(last["cpu_s"] / second["cpu_s"])
        paces.append(second["at"] / last["at"])
        sizes.append((marks[-1]["rss"] - marks[0]["rss"]) / len(text))
    return {
        "cpu_ratio": statistics.median(costs),
        "pace_ratio": statistics.median(paces),
        "memory_of_text": statistics.median(sizes),
        "characters": len(text),
    }


def long_text(words: int) -> str:
    """Markdown as models write it: headings, paragraphs, lists and code, over and over."""
    part = (
        "## A heading\n\nSome **strong** text with `code` and [a link](https://example.org) in a "
        "paragraph that goes on for a while, so that it wraps.\n\n- one thing\n- another thing, "
        "with more to say about it\n\n```python\ndef greet(name):\n    return f'Hello {name}'\n"
        "```\n\n"
    )
    count = len(part.split())
    return part * (words // count + 1)


def _paced(reply: str, tokens_per_s: float, messages: int, **more: int) -> list[dict[str, float]]:
    """What `benchmarks.paced_chat` reported of one reply."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as folder, open(reading, "rb", buffering=0) as pipe:
        wanted = {"folder": folder, "fd": writing, "reply": reply, "messages": messages,
                  "tokens_per_s": tokens_per_s, **more}  # fmt: skip
        argv = paced_chat.argv_of(wanted)
        every = more.get("every", paced_chat.EVERY)
        expected = len(reply.split()) // every * every
        environment = {"TUI_CHAT_HOME": folder}
        with PseudoTerminal(argv, environment, pass_fds=(writing,)) as terminal:
            os.close(writing)
            os.set_blocking(reading, False)
            terminal.skip_to(f"{messages - 1} of" if messages else PROMPT[1:])
            terminal.send(QUESTION + "\r")
            marks: list[dict[str, float]] = []
            while not marks or marks[-1]["tokens"] < expected:
                if terminal.read(0.2) is None:
                    raise EOFError("the chat has ended")
                lines = (pipe.read() or b"").splitlines()
                marks += [json.loads(line) for line in lines]
            terminal.quit()
    return marks


def decode(rounds: int) -> dict[str, float]:
    """Tokens per second of the same reply with and without the screen around it, on both paths.

    A reply of the small model takes a few seconds, in which a shared machine can be twice as busy
    as in the next: there are three times as many of them.
    """
    figures: dict[str, float] = {}
    sizes = {"guide_size": (6, 256, 1400, 3), "all_cores": (24, 1024, 400, 1)}
    for name, (layers, width, tokens, times) in sizes.items():
        with tempfile.TemporaryDirectory() as folder:
            model = make_random_model(Path(folder), layers, width)
            for path in PATHS:
                screen = _with_and_without(model, path, tokens, times * rounds)
                figures[f"{name}_{path}_with_screen"] = screen.with_screen
                figures[f"{name}_{path}_without"] = screen.without
                figures[f"{name}_{path}_ratio"] = screen.share
    return figures


def _with_and_without(model: Path, path: ReplyPath, tokens: int, rounds: int) -> ScreenFigures:
    load = LoadRequest(str(model), template="oasst")
    options = BenchOptions(load, new_tokens=tokens, rounds=rounds)
    backend = LocalBackend()
    meter = ReplyMeter(backend, backend.load(backend.preflight(load), _ignore, Event()), options)
    try:
        meter.use(path)
        return measure_screen(meter, path, options)
    finally:
        backend.unload()


def _ignore(event: object) -> None:
    del event


MEASUREMENTS: dict[str, tuple[Callable[[int], dict[str, float]], int]] = {
    "first-paint": (first_paint, 7),
    "first-token": (first_token, 7),
    "idle": (idle, 3),
    "key-echo": (key_echo, 300),
    "cancel": (cancel, 20),
    "open": (open_transcript, 5),
    "extremes": (extremes, 3),
    "long-reply": (long_reply, 3),
    "longest-reply": (longest_reply, 1),
    "decode": (decode, 5),
}


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    os.environ.pop("NO_COLOR", None)
    measure, rounds = MEASUREMENTS[options.what]
    figures = measure(options.rounds or rounds)
    for name, value in figures.items():
        print(f"{name:>18}  {value:.3f}")
    print(json.dumps({"measurement": options.what, **figures}))


if __name__ == "__main__":
    main()
