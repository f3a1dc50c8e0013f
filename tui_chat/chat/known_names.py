"""The names that settings, models.toml and the command line choose from: precisions, templates.

Apart from what they stand for, since every start reads settings and few starts need the rest before
the first frame.
"""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["fp32", "bf16", "fp16", "8bit", "int8", "4bit"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PRECISION_NAMES: tuple[str, ...] = ("auto", *PRECISIONS)

TEMPLATE_NAMES: tuple[str, ...] = (
    "oasst", "oasst-prefix", "chatml", "llama2", "mistral", "vicuna", "raw", "auto",
)  # fmt: skip
"""The templates with fixed parts, in the order of `templates.TEMPLATES`, and the model's own."""
