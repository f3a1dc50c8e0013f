"""Number formats that all widgets share."""

from __future__ import annotations


def grouped(number: int) -> str:
    """Format a count with its digits in groups of three: `12 048`."""
    return f"{number:,}".replace(",", " ")
