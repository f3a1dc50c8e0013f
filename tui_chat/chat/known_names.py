"""The names of precisions and templates, which settings, models.toml and the command line accept.

They are apart from their implementations because every start reads settings, while few starts need
the implementations before the first frame.
"""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["fp32", "bf16", "fp16", "8bit", "int8", "4bit"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PRECISION_NAMES: tuple[str, ...] = ("auto", *PRECISIONS)

TEMPLATE_NAMES: tuple[str, ...] = (
    "oasst", "oasst-prefix", "chatml", "llama2", "mistral", "vicuna", "raw", "auto",
)  # fmt: skip
"""The fixed templates, in the order of `templates.TEMPLATES`, and `auto`, the model's own."""
