"""Which Textual the tests run with. The pictures are of one release, and 8.1 does less than 8.2."""

from __future__ import annotations

import textual

PICTURED = "8.2.8"
"""The release that the pictures were taken with; `pyproject.toml` pins it for the tests."""
IS_PICTURED = textual.__version__ == PICTURED
IS_8_1 = textual.__version__.startswith("8.1.")
