"""Keeps the held-out questions out of the corpus: `python -m tui_chat.guide.decontaminate FILE..`

Owns `corpus/held_out.sha256`: hashes, so that the corpus can refuse a question that it must never
teach without holding its text. Run it when a questions file changes, then train again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tui_chat.guide.corpus_files import CORPUS
from tui_chat.guide.evaluate import read_questions
from tui_chat.guide.topics import HELD_OUT_HASHES, digest


def hashes(paths: list[Path]) -> list[str]:
    """The hashes of every user turn in some questions files, sorted."""
    turns = (turn for path in paths for q in read_questions(path) for turn in q.turns)
    return sorted({digest(turn) for turn in turns})


def main() -> None:
    """Read the command line and write the hashes."""
    parser = argparse.ArgumentParser(prog="python -m tui_chat.guide.decontaminate")
    parser.add_argument("questions", type=Path, nargs="+")
    given = parser.parse_args()
    found = hashes(given.questions)
    (CORPUS / HELD_OUT_HASHES).write_text("\n".join(found) + "\n", "ascii")
    print(f"{len(found)} questions are kept out of the corpus")


if __name__ == "__main__":
    main()
