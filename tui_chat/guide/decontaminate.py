"""Keep held-out questions out of the corpus: `python -m tui_chat.guide.decontaminate FILE..`.

It writes their hashes to `corpus/held_out.sha256`, which lets the corpus reject a question without
containing its text. Run it when a questions file changes, then train again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tui_chat.guide.corpus_files import CORPUS
from tui_chat.guide.evaluate import read_questions
from tui_chat.guide.topics import HELD_OUT_HASHES, digest


def hashes(paths: list[Path]) -> list[str]:
    """Return the sorted hashes of every scored question in some questions files.

    The first turn of a follow-up only leads to the scored one and may be as plain as `How do I stop
    a reply?`, which the corpus must contain; so it is not hashed.
    """
    scored = (question.turns[-1] for path in paths for question in read_questions(path))
    return sorted({digest(turn) for turn in scored})


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
