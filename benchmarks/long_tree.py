"""A chat of two long branches: what it costs to open, and to flip between them at the root.

    python -m benchmarks.long_tree [--messages N] [--rounds N] [--markdown]

Both versions of the first message have N messages below them. The real screens show them in a
pseudo-terminal, with a scripted model, so that the memory is the chat's. With `--markdown` every
reply has one of five forms, with lists, code, a table and headings, so that hardly any message has
the widgets of the one that it takes the place of. What is given is resident
memory beyond that of the same program with an empty chat.

Prints a line for people and ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no type hints

from benchmarks.paced_chat import argv_of
from benchmarks.terminal_program import TerminalProgram
from tui_chat.chat.conversation import Conversation
from tui_chat.storage.database.writing import TranscriptStore

PROMPT = "Type a message"
FIRST_MESSAGE = "\x1b[1;3Ag"
"""Alt+Up goes to the transcript, g to its first message."""
KEYS = {"B": "\x1b[C", "A": "\x1b[D"}
"""The key that shows each branch: Right and Left."""
MIB = 2**20
_CODE = "```python\ndef area(a, b):\n    return a * b\n```"
FORMS = (
    "Two ways:\n\n1. Change the *first* value.\n2. Change the other:\n   - a little\n   - or more",
    f"Like this:\n\n{_CODE}\n\nThen call it with [two numbers](https://example.org).",
    "| name | value |\n|---|---|\n| width | 2 |\n| height | 3 |\n\nThe area is 6.",
    "## Why\n\nBecause the sides are **multiplied**.\n\n> As Euclid says.\n\nThat is all.",
    f"- one\n- two\n\n{_CODE}\n\n- three\n\nA last paragraph that is long enough for two lines of"
    " the screen, or for three where it is narrow, as terminals often are beside an editor.",
)
"""What replies are like with `--markdown`."""


def two_branches(messages: int, is_markdown: bool = False) -> Conversation:
    """A chat whose first message has two versions, A and B, and the end of A is active."""
    chat = Conversation(title="A long chat")
    ends = {}
    for branch in "AB":
        chat.set_leaf(None)
        for number in range(messages):
            text = f"Message {branch}{number}. of a long chat, with **some** text and `code` in it."
            if is_markdown and number % 2:
                text += "\n\n" + FORMS[(number // 2 + (branch == "B")) % len(FORMS)]
            chat.append("assistant" if number % 2 else "user", text)
        ends[branch] = chat.leaf_id
    chat.set_leaf(ends["A"])
    return chat


@contextmanager
def screens(home: str, resume: str | None) -> Iterator[TerminalProgram]:
    """The screens with a saved chat or an empty one, once they show it."""
    wanted = {"folder": home, "fd": 2, "reply": "Yes.", "tokens_per_s": 100, "messages": 0,
              "resume": resume}  # fmt: skip
    with TerminalProgram(
        argv_of(wanted), {"TUI_CHAT_HOME": home, "TEXTUAL_ANIMATIONS": "none"}
    ) as program:
        program.wait_for(lambda text: PROMPT in text)
        yield program


def settle(program: TerminalProgram, quiet_s: float = 1.0) -> None:
    """Read until nothing has been drawn for a while."""
    while (written := program.read(quiet_s)) != b"":
        if written is None:
            raise EOFError("the program has ended")
        program.feed(written)


def resident(program: TerminalProgram) -> float:
    """Resident memory, in MiB."""
    return float(psutil.Process(program.pid).memory_info().rss) / MIB


def processor(program: TerminalProgram) -> float:
    """Seconds of processor time that the program has used."""
    times = psutil.Process(program.pid).cpu_times()
    return float(times.user + times.system)


def flips(program: TerminalProgram, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds from each key to the other branch on the screen, and of processor time for each.

    The latter counts all that follows from the key until the screen rests.
    """
    times, costs = [], []
    program.send(FIRST_MESSAGE)
    program.wait_for(lambda text: "Message A0." in text)
    settle(program)
    for number in range(rounds):
        branch = "BA"[number % 2]
        used = processor(program)
        began = time.perf_counter()
        program.send(KEYS[branch])
        shown = program.wait_for(lambda text, b=branch: f"Message {b}0." in text, 30)
        times.append(shown - began)
        settle(program, 0.3)
        costs.append(processor(program) - used)
    return times, costs


def measure(messages: int, rounds: int, is_markdown: bool = False) -> dict[str, float]:
    """Open, flip and weigh such a chat."""
    with tempfile.TemporaryDirectory() as home:
        with TranscriptStore(Path(home) / "transcripts.db") as store, store.change():
            store.save_conversation(two_branches(messages, is_markdown))
        with screens(home, None) as program:
            settle(program)
            empty = resident(program)
        with screens(home, "last") as program:
            program.wait_for(lambda text: f"Message A{messages - 1}." in text)
            settle(program)
            opened = resident(program)
            times, costs = flips(program, rounds)
            after = resident(program)
    return {
        "messages": messages,
        "branches": 2,
        "flip_median_ms": round(statistics.median(times) * 1000, 1),
        "flip_max_ms": round(max(times) * 1000, 1),
        "flip_cpu_median_ms": round(statistics.median(costs) * 1000, 1),
        "empty_mib": round(empty, 1),
        "opened_growth_mib": round(opened - empty, 1),
        "flipped_growth_mib": round(after - empty, 1),
    }


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    os.environ.pop("NO_COLOR", None)
    figures = measure(options.messages, options.rounds, options.markdown)
    for name, value in figures.items():
        print(f"{name:>20}  {value}")
    print(json.dumps({"measurement": "long tree", "markdown": options.markdown, **figures}))


if __name__ == "__main__":
    main()
