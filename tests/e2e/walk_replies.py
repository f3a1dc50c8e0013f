"""What the scripted model says in a random walk."""

from __future__ import annotations

import random

_PIECES = (
    "# A heading\n\nA paragraph with *some* **marks**, `code` and a [link](https://example.org/).",
    "- one\n  - two\n    - three\n      - four\n- five\n\n  more of five\n- six",
    "1. first\n2. second\n   - inner\n3. third\n\n10. ten",
    "| name | size |\n|---|---:|\n| ant | 1 |\n| whale | 30000 |\n| `a\\|b` | *no* |",
    "```python\ndef f(x):\n    return x + 1  # a comment\n\n\nprint(f(2))\n```",
    "```\nplain code\n\twith a tab\n" + "very long line of code " * 8 + "\n```",
    "> a quotation\n> of two lines\n>\n> > and one inside\n\nafter it",
    "The sum is $a^2 + b^2 = c^2$ and\n\n$$\n\\int_0^1 x\\,dx = \\frac12\n$$\n\n\\[ e = mc^2 \\]",
    "Long" + "word" * 60 + " and then short ones.",
    "日本語の文章です。とても長いので、折り返されることになります。" * 4,
    "Ein Absatz mit Umlauten äöüß, naïve café, Ελληνικά, русский текст.\n\n\n\nAfter empty lines.",
    "a long paragraph " + "of many words that goes on and on " * 12 + "until its end.",
    "one  \nhard break\\\nanother\n\n---\n\nbelow a rule\n\nSetext\n======\n\n***bold italic***",
    "<div>raw html</div> and 1 < 2 & 3 > 2\n\n    indented code\n\n* star\n+ plus",
    "- [ ] open\n- [x] done\n\nTerm[^1]\n\n[^1]: A note.\n\n~~gone~~ https://example.com/x?y=z",
)


def replies_of(seed: int, count: int = 40) -> list[str]:
    """What the script says: every kind of Markdown, in lengths from a word to some screens."""
    chance = random.Random(f"replies/{seed}")
    made = ["ok", "Yes.\n\n\n", "\n\nlate start"]
    while len(made) < count:
        pieces = [chance.choice(_PIECES) for _ in range(chance.choice((1, 1, 2, 3, 5)))]
        made.append("\n\n".join(pieces) + chance.choice(("", "", "\n", "\n\n  \n")))
    chance.shuffle(made)
    return made
