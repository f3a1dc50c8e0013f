"""Searching many chats: how soon the first results are there, how large the index is.

    python -m benchmarks.search [--messages N] [--rounds N] [--ranked N]

Makes a database of messages whose words are as frequent as in natural text (Zipf's law as
Mandelbrot wrote it: the word of rank r stands 1 / (r + 2.7) as often) and whose lengths are
log-normal. Asks for words and phrases that are rare, common, everywhere and begun, with filters
and without, each once per round, as a person's typing does: parse, open, search, close. Prints the
median, the 95th percentile and the largest time of each and of all, and what the index takes
against the text. `--ranked` has so many matches compared in place of what the program compares.
Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tui_chat.chat.query import parse_query
from tui_chat.storage.database import search as searching
from tui_chat.storage.database.connection import transaction
from tui_chat.storage.database.file import open_database, open_reader
from tui_chat.storage.database.records import utc_text

VOCABULARY = 60_000
SHIFT = 2.7
MEDIAN_WORDS, SPREAD = 60, 0.9
MESSAGES_PER_CHAT = 20
START = datetime(2025, 1, 1, tzinfo=UTC)
_SYLLABLES = [c + v for c in "bcdfghjklmnprstvz" for v in ("a", "e", "i", "o", "u", "an", "er")]


def vocabulary(rng: random.Random) -> list[str]:
    """Different words, the most frequent first; frequent ones are shorter."""
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        most = 1 + min(3, len(words) // 50)
        words["".join(rng.choices(_SYLLABLES, k=rng.randint(1, most)))] = None
        if len(words) < 60 and most == 1:
            words[rng.choice("aio") + rng.choice("nstr")] = None
    return list(words)


def fill(path: Path, messages: int, words: list[str], rng: random.Random) -> int:
    """Write the messages; returns the bytes of their texts."""
    weights = list(itertools.accumulate(1 / (rank + SHIFT) for rank in range(1, len(words) + 1)))
    connection = open_database(path).connection
    size = 0
    with transaction(connection):
        for number in range(messages):
            chat, place = divmod(number, MESSAGES_PER_CHAT)
            created = utc_text(START + timedelta(minutes=5 * number))
            if place == 0:
                connection.execute(
                    "INSERT INTO chats (id, created, updated, title, model, details)"
                    " VALUES (?, ?, ?, ?, 'guide', ?)",
                    (f"{chat:032x}", created, created, f"Chat {chat}",
                     '{"tags":["work"]}' if chat % 10 == 0 else "{}"),
                )  # fmt: skip
            count = max(1, round(rng.lognormvariate(0, SPREAD) * MEDIAN_WORDS))
            text = " ".join(rng.choices(words, cum_weights=weights, k=count))
            size += len(text.encode())
            connection.execute(
                "INSERT INTO messages (chat_id, id, parent_id, role, created, status, text, model,"
                " marks) VALUES (?, ?, ?, ?, ?, 'complete', ?, ?, ?)",
                (f"{chat:032x}", f"{number:032x}", f"{number - 1:032x}" if place else None,
                 "assistant" if place % 2 else "user", created, text, "guide" if place % 2 else "",
                 '{"rating":1}' if number % 25 == 0 else "{}"),
            )  # fmt: skip
    connection.close()
    return size


def index_size(path: Path) -> int:
    """Bytes of the pages of everything that is in the file for searching."""
    with open_reader(path) as connection:
        (size,) = connection.execute(
            "SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'messages_found%'"
            " OR name IN ('messages_by_time', 'messages_marked')"
        ).fetchone()
    return int(size)


def queries(words: list[str]) -> dict[str, str]:
    """What is asked for, by what it is like."""
    rare, common, frequent = words[20_000], words[800], words[100]
    return {
        "a rare word": rare,
        "a common word": common,
        "the most frequent word": words[0] + " ",
        "five frequent words": " ".join(words[:5]) + " ",
        "two common words": f"{frequent} {common}",
        "a phrase of frequent words": f'"{words[1]} {words[2]}"',
        "one letter": "b",
        "two letters": "ba",
        "three letters": rare[:3],
        "a frequent word and a begun one": f"{words[0]} {common[:2]}",
        "a frequent word of good replies": f"{words[0]} rated:up role:assistant",
        "a frequent word of a tag before a day": f"{words[0]} tag:work before:2025-06-01",
        "a frequent word no chat with that tag has": f"{words[0]} tag:none",
        "a frequent word of long ago": f"{words[0]} before:2025-01-02",
        "a frequent word of another model": f"{words[0]} model:other",
        "filters alone": "role:user after:2025-02-01 tag:work",
        "nothing": "xyzzyqq",
    }


def measure(path: Path, text: str) -> float:
    """Milliseconds from the typed text to the first page of results."""
    began = time.perf_counter()
    query = parse_query(text, is_typing=True)
    with open_reader(path) as connection:
        searching.search(connection, query)
    return (time.perf_counter() - began) * 1000


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    return sorted(values)[max(0, round(len(values) * share) - 1)]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--ranked", type=int, default=searching.RANKED)
    options = parser.parse_args()
    searching.RANKED = options.ranked
    rng = random.Random(1)
    words = vocabulary(rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transcripts.db"
        text_bytes = fill(path, options.messages, words, rng)
        index_bytes = index_size(path)
        asked = queries(words)
        for text in asked.values():
            measure(path, text)  # the file is in the memory of the system, as it is while typing
        times: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(options.rounds):
            for name, text in asked.items():
                times[name].append(measure(path, text))
    print(f"{'query':<44} {'median':>9} {'p95':>9} {'largest':>9}")
    for name, values in [*times.items(), ("all", [v for row in times.values() for v in row])]:
        print(
            f"{name:<44} {statistics.median(values):>6.1f} ms {percentile(values, 0.95):>6.1f} ms"
            f" {max(values):>6.1f} ms"
        )
    print(f"text {text_bytes / 1e6:.1f} MB, index {index_bytes / 1e6:.1f} MB")
    every = [value for values in times.values() for value in values]
    figures = {
        "median_ms": statistics.median(every),
        "p95_ms": percentile(every, 0.95),
        "largest_ms": max(every),
        "slowest_query_median_ms": max(statistics.median(v) for v in times.values()),
        "index_to_text": index_bytes / text_bytes,
    }
    print(json.dumps({"measurement": "search", "messages": options.messages, **figures}))


if __name__ == "__main__":
    main()
