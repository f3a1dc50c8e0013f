"""Quantises matrices to 8 bits row by row while they are read, as bitsandbytes does.

Owns the arithmetic of LLM.int8() for weights, and the question which weights of a model it is for.
bitsandbytes' own function for CPUs computes the same numbers of a whole matrix at once: five passes
over temporary tensors of up to four times its size, each in memory that is fresh from the system.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tui_chat.engine.files.checkpoint import Checkpoint
from tui_chat.engine.loading.tensor_pieces import TensorPieces


class RowQuantiser:
    """Quantises the pieces of one matrix; any number of threads may call it at once.

    Row-wise absmax quantisation, section 2.1 of LLM.int8() (arXiv:2208.07339), on the weights
    rounded to fp16: q = round(127 w / max|w|). Bit for bit what bitsandbytes computes from them;
    transformers rounds the weights of an fp32 file to the dtype of the computation before.

    Args:
        weight: Filled with q, int8 of shape (rows, columns).
        scales: Filled with max|w|, fp32 of shape (rows,).
    """

    def __init__(self, weight: torch.Tensor, scales: torch.Tensor) -> None:
        self._weight = weight
        self._scales = scales

    def __call__(self, pieces: TensorPieces) -> None:
        columns = self._weight.shape[1]
        size = min(pieces.step, pieces.numel)
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
    """The names of the weights that the library would quantise with `load_in_8bit`.

    Empty where they cannot be quantised row by row as they are stored: under other names than the
    model's, transposed as GPT-2's, or beside weights that have to stay in fp32. The library does
    it then.

    Args:
        model_class: A `PreTrainedModel` class.
        config: Its config.
        checkpoint: The files. Of pickled ones the names are not known.
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
