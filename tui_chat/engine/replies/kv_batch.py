"""Keys and values of several replies to one prompt, one row for each.

All rows begin with the prompt's keys and values and grow together by one token at a time, so that
none needs padding or a mask. A row that has ended is taken out. Refuses to know which tokens the
rows hold.
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
    """The keys and values of one full-attention layer, for several rows of equal length.

    `keys` and `values` are what the library expects, shape (rows, key heads, tokens, head size):
    views of buffers with room for more tokens.

    Args:
        keys: Of the prompt, shape (1, key heads, tokens, head size); copied to every row.
        values: As `keys`.
        rows: How many.
        capacity: Tokens that fit before the buffers have to grow, at least those of the prompt.
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
        """Add tokens to every row, and return all keys and values.

        Args:
            key_states: Shape (rows, key heads, new tokens, head size).
            value_states: As `key_states`.
            args: Not needed.
            kwargs: Not needed.
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
        """Forget all other rows.

        Args:
            rows: Their numbers, in the order in which they stand from now on.
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
    """A cache with so many rows that all begin with what another one holds.

    Args:
        cache: A cuttable one; left as it is.
        rows: How many.
        capacity: Tokens that each row has room for, at least those that the other cache holds.
    """
    batch = DynamicCache()
    batch.layers = [BatchLayer(layer.keys, layer.values, rows, capacity) for layer in cache.layers]
    return batch


def keep_rows(batch: Any, rows: Sequence[int]) -> None:
    """Forget all other rows of a cache that `batch_cache` made; layer by layer, so that no second
    copy of all is ever held.
    """
    for layer in batch.layers:
        layer.keep_rows(torch.tensor(rows, device=layer.device))


def cache_of_row(batch: Any, row: int, config: Any) -> Any:
    """A cuttable cache of its own with what one row holds.

    Args:
        batch: As `batch_cache` made it; left as it is.
        row: Its number.
        config: Of the decoder, as for `new_cache`.
    """
    cache = new_cache(config)
    for index, layer in enumerate(batch.layers):
        cache.update(layer.keys[row : row + 1], layer.values[row : row + 1], index)
    return cache


def token_bytes(config: Any, dtype: torch.dtype) -> int:
    """Bytes of the keys and values of one token.

    Args:
        config: Of the decoder.
        dtype: In which they are kept.
    """
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * key_heads * size * dtype.itemsize)
