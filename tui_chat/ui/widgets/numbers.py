"""Numbers as every widget writes them."""

from __future__ import annotations


def grouped(number: int) -> str:
    """A count with its digits in groups of three: `12 048`."""
    return f"{number:,}".replace(",", " ")
