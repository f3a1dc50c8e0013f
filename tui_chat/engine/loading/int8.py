"""int8 weights as torchao quantises and stores them: one scale for each row.

The only place that knows torchao. It is imported when int8 is asked for, not before.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def quantisation_config() -> Any:
    """What `from_pretrained` needs to quantise weights as it reads them, weight-only, by rows.

    The output embedding stays as it is, as in 8bit and 4bit.
    """
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    # The compiler's settings are not for a library to change.
    return TorchAoConfig(Int8WeightOnlyConfig(version=2, set_inductor_config=False))


def int8_parts(weight: Any) -> tuple[Tensor, Tensor] | None:
    """The values, shape (rows, columns), and the scales, shape (rows, 1), of a quantised weight;
    None for any other.
    """
    values, scales = getattr(weight, "qdata", None), getattr(weight, "scale", None)
    if values is None or scales is None:
        return None
    return values, scales


def weight_bytes(model: Any) -> int:
    """Bytes of all parameters and buffers, quantised ones as they are stored."""
    total = 0
    for tensor in (*model.parameters(), *model.buffers()):
        parts = int8_parts(tensor) or (tensor,)
        total += sum(part.numel() * part.element_size() for part in parts)
    return total
