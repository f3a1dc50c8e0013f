"""Print the lowest version of every dependency, to test the lower ends of the ranges.

Use: `python -m scripts.lowest_versions > lowest.txt`, install that into a fresh environment, and
run the tests there.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lowest(requirement: str) -> str:
    """A requirement as the one lowest version that it admits: `rich>=14.2,<16` is `rich==14.2`.

    Raises:
        ValueError: If it has no lower end.
    """
    found = re.fullmatch(r"([A-Za-z0-9._-]+)(?:>=|==)([0-9][0-9.]*)(?:,<[0-9.]+)?", requirement)
    if found is None:
        raise ValueError(f"{requirement} has no lower end")
    return f"{found[1]}=={found[2]}"


def main() -> int:
    """Print the versions that the program needs, then those of the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["test"]:
        print(lowest(requirement))
    return 0


if __name__ == "__main__":
    sys.exit(main())
