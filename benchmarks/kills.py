"""What is left of a chat whose program is killed while a reply streams.

    python -m benchmarks.kills [KILLS] [--seed N]

Each time the real program opens in a pseudo-terminal on the same database, gets a question, and is
ended with SIGKILL at a random moment of the reply, which a script speaks at 200 tokens/s. Then the
database is checked, and the reply in it is compared with the tokens that the program had written.

Prints a line for people and ends with one JSON line; exits with 1 if something was lost beyond
`MOST_TOKENS` and `MOST_S`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import paced_chat
from benchmarks.pseudo_terminal import PseudoTerminal
from tui_chat.storage.database.connection import connect
from tui_chat.storage.database.reading import read_transcripts

TOKENS_PER_S = 200.0
REPLY = " ".join(f"w{number}" for number in range(1200))
LONGEST_S = 2.5
"""Latest kill, in seconds after the first token."""
MOST_TOKENS = 64
MOST_S = 0.3
"""A kill may cost that many tokens or that much time, whichever is more."""


@dataclass(frozen=True, slots=True)
class Killed:
    """What one kill left behind."""

    is_sound: bool
    """Whether the database passes SQLite's integrity check."""
    has_question: bool
    """Whether the user's message is in it, and the reply is a beginning of what was written."""
    written: int
    """Tokens that the program had written."""
    saved: int
    """Tokens of the reply in the database."""
    lost_s: float
    """Age of the oldest token that is missing, in seconds; 0 if none is."""

    @property
    def lost(self) -> int:
        """Tokens that are missing."""
        return max(0, self.written - self.saved)

    @property
    def is_within(self) -> bool:
        """Whether no more is lost than may be."""
        return self.lost <= MOST_TOKENS or self.lost_s <= MOST_S


def kill_once(home: Path, question: str, after_s: float) -> Killed:
    """Kill the program in the middle of its reply to a question, and look at what is left.

    Args:
        home: Folder of the database, which may have chats from before.
        question: What to ask; no other message of the database may be the same.
        after_s: When to kill it, in seconds after the first token.
    """
    times, killed_at = _stream_and_kill(home, question, after_s)
    path = home / "transcripts.db"
    connection = connect(path)
    try:
        is_sound = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    finally:
        connection.close()
    with read_transcripts(path) as reader:
        messages = reader.load(reader.find("last")).path()
    saved = messages[-1].text if messages[-1].role == "assistant" else ""
    tokens = len(saved.split())
    return Killed(
        is_sound,
        any(m.text == question for m in messages) and REPLY.startswith(saved),
        len(times),
        tokens,
        killed_at - times[tokens] if tokens < len(times) else 0.0,
    )


def _stream_and_kill(home: Path, question: str, after_s: float) -> tuple[list[float], float]:
    """When each token was written, and when the program was killed (`time.monotonic`)."""
    reading, writing = os.pipe()
    wanted = {"folder": str(home), "fd": writing, "reply": REPLY, "messages": 0,
              "tokens_per_s": TOKENS_PER_S, "every": 1}  # fmt: skip
    argv = paced_chat.argv_of(wanted)
    with open(reading, "rb", buffering=0) as pipe:
        with PseudoTerminal(argv, {"TUI_CHAT_HOME": str(home)}, pass_fds=(writing,)) as terminal:
            os.close(writing)
            os.set_blocking(reading, False)
            terminal.skip_to("ype a message")
            terminal.send(question + "\r")
            told = b""
            while not told:
                if terminal.read(0.01) is None:
                    raise EOFError("the chat has ended")
                told += pipe.read() or b""
            end = time.monotonic() + after_s
            while (left := end - time.monotonic()) > 0:
                terminal.read(left)
            os.kill(terminal.pid, signal.SIGKILL)
            killed_at = time.monotonic()
        os.set_blocking(reading, True)
        told += pipe.read()
    lines = [line for line in told.split(b"\n") if line.endswith(b"}")]
    return [json.loads(line)["at"] for line in lines], killed_at


def questions_saved(home: Path, questions: Sequence[str]) -> int:
    """How many of the questions are still there, each in a chat of its own."""
    with read_transcripts(home / "transcripts.db") as reader:
        chats = [reader.load(chat.id) for chat in reader.list_chats()]
    texts = {m.text for chat in chats for m in chat.messages() if m.role == "user"}
    return len(texts.intersection(questions))


def summary(results: Sequence[Killed], questions_left: int) -> dict[str, float]:
    """The figures of a run."""
    lost = sorted(result.lost for result in results)
    ages = sorted(result.lost_s for result in results)
    return {
        "kills": len(results),
        "sound": sum(result.is_sound for result in results),
        "questions_lost": len(results) - min(
            questions_left, sum(result.has_question for result in results)
        ),
        "within": sum(result.is_within for result in results),
        "median_lost_tokens": lost[len(lost) // 2],
        "most_lost_tokens": lost[-1],
        "median_lost_s": round(ages[len(ages) // 2], 3),
        "most_lost_s": round(ages[-1], 3),
    }  # fmt: skip


def main() -> int:
    """Kill the program so many times; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    results: list[Killed] = []
    questions = [f"Question {number}?" for number in range(options.kills)]
    with tempfile.TemporaryDirectory() as folder:
        for question in questions:
            results.append(kill_once(Path(folder), question, chance.uniform(0.0, LONGEST_S)))
        figures = summary(results, questions_saved(Path(folder), questions))
    for name, value in figures.items():
        print(f"{name:>20}  {value}")
    print(json.dumps({"measurement": "kills", **figures}))
    good = figures["sound"] == figures["within"] == options.kills
    return 0 if good and not figures["questions_lost"] else 1


if __name__ == "__main__":
    sys.exit(main())
