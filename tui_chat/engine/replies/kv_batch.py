"""KV cache of a batch: the keys and values of several replies to one prompt, a row for each.

All rows start with the prompt and grow by one token at a time, so they have the same length and
need no padding or mask. Rows whose reply has ended are removed with `keep_rows`. The cache stores
no token ids; `batch` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tui_chat.engine.replies.kv_buffers import STEP, new_cache


class BatchLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """The cache of one full-attention layer, for several rows of equal length.

    `keys` and `values` are what transformers expects, shape (rows, key heads, tokens, head size).
    They are views of buffers with room for more tokens.

    Args:
        keys: Keys of the prompt, shape (1, key heads, tokens, head size). They are copied to every
            row.
        values: Values of the prompt, as `keys`.
        rows: Number of rows.
        capacity: Tokens that fit before the buffers grow, at least as many as the prompt has.
    """

    def __init__(self, keys: Tensor, values: Tensor, rows: int, capacity: int) -> None:
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self._buffers = (_repeated(keys, rows, capacity), _repeated(values, rows, capacity))
        self._show(keys.shape[-2])

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append tokens to every row, and return all keys and values.

        Args:
            key_states: Shape (rows, key heads, new tokens, head size).
            value_states: As `key_states`.
            args: Ignored; transformers passes them.
            kwargs: Ignored; transformers passes them.
        """
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        if end > self._buffers[0].shape[-2]:
            self._buffers = (_grown(self._buffers[0], end), _grown(self._buffers[1], end))
        self._buffers[0][:, :, start:end] = key_states
        self._buffers[1][:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def keep_rows(self, rows: Tensor) -> None:
        """Remove all other rows.

        Args:
            rows: Numbers of the rows to keep, in their new order.
        """
        length = self.keys.shape[-2]
        keys, values = self._buffers
        self._buffers = (keys.index_select(0, rows), values.index_select(0, rows))
        self._show(length)


def _repeated(states: Tensor, rows: int, capacity: int) -> Tensor:
    _, heads, tokens, size = states.shape
    buffer = states.new_empty((rows, heads, capacity, size))
    buffer[:, :, :tokens] = states
    return buffer


def _grown(buffer: Tensor, capacity: int) -> Tensor:
    rows, heads, present, size = buffer.shape
    grown = buffer.new_empty((rows, heads, max(capacity, present + max(STEP, present // 2)), size))
    grown[:, :, :present] = buffer
    return grown


def batch_cache(cache: Any, rows: int, capacity: int) -> Any:
    """Return a cache whose rows all start with the contents of another cache.

    Args:
        cache: A cuttable cache of one sequence. It is not changed.
        rows: Number of rows.
        capacity: Tokens that fit into each row, at least as many as `cache` holds.
    """
    batch = DynamicCache()
    batch.layers = [BatchLayer(layer.keys, layer.values, rows, capacity) for layer in cache.layers]
    return batch


def keep_rows(batch: Any, rows: Sequence[int]) -> None:
    """Remove all other rows from a cache made by `batch_cache`.

    Works layer by layer, so that no more than one layer is held twice.
    """
    for layer in batch.layers:
        layer.keep_rows(torch.tensor(rows, device=layer.device))


def cache_of_row(batch: Any, row: int, config: Any) -> Any:
    """Return a cuttable cache with a copy of one row.

    Args:
        batch: A cache made by `batch_cache`. It is not changed.
        row: The number of the row.
        config: Configuration of the decoder, as for `new_cache`.
    """
    cache = new_cache(config)
    for index, layer in enumerate(batch.layers):
        cache.update(layer.keys[row : row + 1], layer.values[row : row + 1], index)
    return cache


def token_bytes(config: Any, dtype: torch.dtype) -> int:
    """Return the bytes that the keys and values of one token take.

    Args:
        config: Configuration of the decoder.
        dtype: The dtype of keys and values.
    """
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * key_heads * size * dtype.itemsize)
