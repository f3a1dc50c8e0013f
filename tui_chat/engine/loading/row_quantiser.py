"""Quantises weight matrices to 8 bits for the CPU, row by row as they are read.

The result is that of bitsandbytes' 8-bit format (LLM.int8()). bitsandbytes' own function for CPUs
quantises a whole matrix at once: five passes over temporary tensors of up to four times its size,
each newly allocated from the system. `quantisable_weights` says which weights of a model qualify.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tui_chat.engine.files.checkpoint import Checkpoint
from tui_chat.engine.loading.tensor_pieces import TensorPieces


class RowQuantiser:
    """Quantises the pieces of one matrix. Several threads may call one instance at once.

    Row-wise absmax quantisation, section 2.1 of LLM.int8() (arXiv:2208.07339), of the weights
    rounded to fp16: q = round(127 w / max|w|), with the maximum over a row. The result equals that
    of bitsandbytes for the same fp16 weights bit for bit. Through transformers it can differ for an
    fp32 file, whose weights transformers first rounds to the compute dtype.

    Args:
        weight: Receives q; int8 of shape (rows, columns).
        scales: Receives max|w| of each row; fp32 of shape (rows,).
    """

    def __init__(self, weight: torch.Tensor, scales: torch.Tensor) -> None:
        self._weight = weight
        self._scales = scales

    def __call__(self, pieces: TensorPieces) -> None:
        columns = self._weight.shape[1]
        size = min(pieces.step, pieces.numel)
        # Buffers for one piece, reused for all: they stay in the cache of the core.
        half = torch.empty(size, dtype=torch.float16)
        magnitude = torch.empty_like(half)
        scaled = torch.empty(size, dtype=torch.float32)
        for first, values in pieces:
            row, rows, count = first // columns, len(values) // columns, len(values)
            shape = (rows, columns)
            weight = half[:count].copy_(values).view(shape)
            largest = torch.abs(weight, out=magnitude[:count].view(shape)).amax(dim=1).float()
            quotient = torch.mul(
                weight, (127.0 / largest).unsqueeze(-1), out=scaled[:count].view(shape)
            )
            self._weight[row : row + rows] = quotient.round_()
            self._scales[row : row + rows] = largest


def quantisable_weights(model_class: Any, config: Any, checkpoint: Checkpoint) -> frozenset[str]:
    """Return the names of the weights that transformers would quantise with `load_in_8bit`.

    The result is empty if the stored weights cannot be quantised row by row: if the files use other
    names than the model, store the matrices transposed as GPT-2 does, or hold weights that must
    stay in fp32. transformers quantises such a model itself.

    Args:
        model_class: A `PreTrainedModel` class.
        config: The config of the model.
        checkpoint: The files. Pickled ones list no names, so their result is empty.
    """
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import HfQuantizer
    from transformers.quantizers.quantizers_utils import should_convert_module

    with torch.device("meta"):
        model = model_class(config)
    if model._keep_in_fp32_modules or getattr(model, "_keep_in_fp32_modules_strict", None):
        return frozenset()
    modules = dict(model.named_modules())
    if any(isinstance(module, Conv1D) for module in modules.values()):
        return frozenset()
    kept = HfQuantizer.get_modules_to_not_convert(model)
    names = frozenset(
        f"{name}.weight"
        for name, module in modules.items()
        if type(module) is nn.Linear and should_convert_module(name, kept)
    )
    return names if names <= checkpoint.tensors.keys() else frozenset()
