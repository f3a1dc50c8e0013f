"""Importing a dump as large as Open Assistant's: how long it takes, and how much memory.

    python -m benchmarks.oasst_dump [--messages N] [--rounds N]

Makes up message trees of the shape of that data: a part grown to four levels with ranked replies,
the others a prompt with few replies or none, with labels and review counts. Words are as frequent
as in natural text and lengths log-normal, as in `benchmarks.search`. The dump is written as trees
and as flat messages in random order, compressed, and each file is imported by the real command in a
home of its own. A tenth of it is imported as well: memory that grows with the file would show.

Prints a table for people and ends with one JSON line; exits with 1 if a message is missing.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.search import SHIFT, vocabulary

MESSAGES = 161_443
"""Messages of the published data set."""
GROWN = 0.16
"""Share of trees that were grown; of the others a half has one reply at most."""
MEDIAN_WORDS = {"prompter": 12, "assistant": 75}
SPREAD = 1.0
START = datetime(2023, 1, 1, tzinfo=UTC)
LABELS = (
    "spam", "fails_task", "lang_mismatch", "pii", "not_appropriate", "hate_speech",
    "sexual_content", "quality", "toxicity", "humor", "helpfulness", "creativity", "violence",
)  # fmt: skip
MIB = 2**20
Node = dict[str, Any]


class Writer:
    """Makes trees up, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._words = vocabulary(self._rng)
        self._weights = list(
            itertools.accumulate(1 / (rank + SHIFT) for rank in range(1, len(self._words) + 1))
        )
        self._made = 0

    def trees(self, messages: int) -> Iterator[Node]:
        """Root nodes with their replies in them, with exactly so many messages in all."""
        while self._made < messages:
            is_grown = self._rng.random() < GROWN
            root = self._node(None, None)
            level = [root]
            for _ in range(3 if is_grown else self._rng.choice((0, 1, 1))):
                below = []
                for parent in level:
                    most = 3 if is_grown else 2
                    count = min(self._rng.randint(0, most), messages - self._made)
                    parent["replies"] = [self._node(parent, rank) for rank in range(count)]
                    below += parent["replies"]
                level = below
            yield root

    def _node(self, parent: Node | None, rank: int | None) -> Node:
        rng = self._rng
        self._made += 1
        role = "assistant" if parent is not None and parent["role"] == "prompter" else "prompter"
        count = max(1, round(rng.lognormvariate(0, SPREAD) * MEDIAN_WORDS[role]))
        created = START + timedelta(seconds=30 * self._made)
        return {
            "message_id": self._id(),
            "parent_id": parent["message_id"] if parent else None,
            "user_id": self._id(),
            "created_date": created.isoformat(),
            "text": " ".join(rng.choices(self._words, cum_weights=self._weights, k=count)),
            "role": role,
            "lang": rng.choice(("en", "en", "es", "de")),
            "review_count": 3,
            "review_result": True,
            "deleted": rng.random() < 0.02,
            "rank": rank if role == "assistant" else None,
            "synthetic": False,
            "model_name": None,
            "emojis": {"+1": rng.randint(1, 3)} if rng.random() < 0.2 else {},
            "replies": [],
            "labels": {n: {"value": rng.choice((0.0, 0.25, 0.5, 1.0)), "count": 3} for n in LABELS},
            "events": {},
            "detoxify": {"toxicity": rng.random(), "insult": rng.random(), "threat": rng.random()},
        }

    def _id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))


def flat(root: Node) -> Iterator[Node]:
    """The nodes of a tree as flat messages."""
    stack = [root]
    while stack:
        node = stack.pop()
        stack += node["replies"]
        row = {name: value for name, value in node.items() if name != "replies"}
        yield {**row, "message_tree_id": root["message_id"], "tree_state": "ready_for_export"}


def write_dumps(folder: Path, messages: int) -> tuple[dict[str, Path], int]:
    """A dump as trees and one as flat messages in random order, and how many trees they hold."""
    paths = {form: folder / f"{messages}.{form}.jsonl.gz" for form in ("trees", "messages")}
    count = 0
    rows: list[str] = []
    with gzip.open(paths["trees"], "wt", encoding="utf-8", compresslevel=1) as file:
        for root in Writer(1).trees(messages):
            head = {"message_tree_id": root["message_id"], "tree_state": "ready_for_export"}
            file.write(json.dumps({**head, "prompt": root}) + "\n")
            rows += map(json.dumps, flat(root))
            count += 1
    random.Random(2).shuffle(rows)
    with gzip.open(paths["messages"], "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(row + "\n" for row in rows)
    return paths, count


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the command."""

    seconds: float
    processor_s: float
    """Time that it spent on a processor; what other work on the machine does not lengthen much."""
    peak_bytes: int
    """The most memory that was resident."""
    messages: int
    """Messages that it says it has imported."""


_CHILD = """
import sys
import time
from tui_chat import cli
code = cli.run(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(peak, time.process_time())
sys.exit(code)
"""
"""The command; after what it prints, the most memory that was resident, in KiB, and its processor
time in seconds.

What `getrusage` says of a child is at least what its parent had when it made it.
"""


def import_file(path: Path, home: Path) -> Run:
    """Import a file with the real command, in a process and a home of its own."""
    argv = [sys.executable, "-c", _CHILD, "transcripts", "import", str(path), "--json"]
    began = time.monotonic()
    done = subprocess.run(
        argv, env={**os.environ, "TUI_CHAT_HOME": str(home)}, stdout=subprocess.PIPE, check=True
    )
    seconds = time.monotonic() - began
    record, cost = done.stdout.splitlines()
    peak, processor = cost.split()
    messages = json.loads(record)["messages"]
    return Run(seconds, float(processor), int(peak) * 1024, messages)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    figures: list[dict[str, Any]] = []
    print(
        f"{'file':<10} {'messages':>9} {'trees':>7} {'size':>9} {'time':>9} {'processor':>9}"
        f" {'peak memory':>12}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for messages in (1, options.messages // 10, options.messages):
            paths, trees = write_dumps(folder, messages)
            for form, path in paths.items():
                for number in range(options.rounds):
                    run = import_file(path, folder / f"{form}-{messages}-{number}")
                    shown = (
                        f"{form:<10} {run.messages:>9,} {trees:>7,}",
                        f"{path.stat().st_size / MIB:>5.1f} MiB {run.seconds:>7.1f} s",
                        f"{run.processor_s:>7.1f} s {run.peak_bytes / MIB:>8.1f} MiB",
                    )
                    print(*shown, flush=True)
                    figures.append(
                        {"form": form, "wanted": messages, "trees": trees, **asdict(run)}
                    )
    print(json.dumps({"measurement": "oasst-dump", "runs": figures}))
    return 0 if all(run["messages"] == run["wanted"] for run in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
