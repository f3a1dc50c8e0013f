"""The int8 precision: weights quantised by torchao, with one scale for each row.

No other module imports torchao, and this one does so only to load a model in int8.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def quantisation_config() -> Any:
    """Return the config with which `from_pretrained` quantises weights to int8, row by row.

    Activations are not quantised, nor is the output embedding, as in 8bit and 4bit.
    """
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    # Otherwise torchao changes the global settings of torch.compile's Inductor.
    return TorchAoConfig(Int8WeightOnlyConfig(version=2, set_inductor_config=False))


def int8_parts(weight: Any) -> tuple[Tensor, Tensor] | None:
    """Return the parts of a weight that torchao has quantised.

    Returns:
        The values, shape (rows, columns), and the scales, shape (rows, 1); None for any other
        tensor.
    """
    values, scales = getattr(weight, "qdata", None), getattr(weight, "scale", None)
    if values is None or scales is None:
        return None
    return values, scales


def weight_bytes(model: Any) -> int:
    """Return the bytes of all parameters and buffers, counting quantised ones as stored."""
    total = 0
    for tensor in (*model.parameters(), *model.buffers()):
        parts = int8_parts(tensor) or (tensor,)
        total += sum(part.numel() * part.element_size() for part in parts)
    return total
