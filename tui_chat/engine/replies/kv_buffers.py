"""KV cache of a single sequence, in buffers with room to grow.

The cache of transformers copies all keys and values to append one token. Here, a new token is
written behind the others. Each layer has one buffer for keys and one for values, in which the
tokens of a head are contiguous; the compiled decode path reads these buffers directly. The caches
store no token ids; `kv_cache` has them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

STEP = 256
"""Tokens by which a buffer grows at least; it grows by half its size if that is more."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """The cache of one full-attention layer, for a single sequence.

    `keys` and `values` are what transformers expects, shape (1, key heads, tokens, head size). They
    are views of `key_buffer` and `value_buffer`, shape (key heads, capacity, head size).
    """

    def __init__(self) -> None:
        self.key_buffer: Tensor | None = None
        self.value_buffer: Tensor | None = None
        self.length = 0
        """Number of tokens held."""
        super().__init__()

    @property
    def keys(self) -> Tensor | None:
        """Keys of the tokens held; None before the first token."""
        return self._view(self.key_buffer)

    @keys.setter
    def keys(self, value: Tensor | None) -> None:
        self.key_buffer = self._buffer(value)

    @property
    def values(self) -> Tensor | None:
        """Values of the tokens held; None before the first token."""
        return self._view(self.value_buffer)

    @values.setter
    def values(self, value: Tensor | None) -> None:
        self.value_buffer = self._buffer(value)

    def _view(self, buffer: Tensor | None) -> Tensor | None:
        return None if buffer is None else buffer[None, :, : self.length]

    def _buffer(self, value: Tensor | None) -> Tensor | None:
        """Return the buffer for keys or values that transformers assigns, and set `length`."""
        self.length = 0 if value is None or not value.numel() else value.shape[-2]
        return value[0] if self.length and value is not None else None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Note dtype and device. `update` allocates the buffers with the first tokens."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def make_room(self, capacity: int) -> None:
        """Make room for this many tokens in total. The layer must already have buffers."""
        assert self.key_buffer is not None and self.value_buffer is not None
        if self.key_buffer.shape[1] < capacity:
            self.key_buffer = self._grown(self.key_buffer, capacity)
            self.value_buffer = self._grown(self.value_buffer, capacity)

    def _grown(self, buffer: Tensor, capacity: int) -> Tensor:
        """Return a larger copy of a buffer, its capacity a multiple of `STEP`."""
        present = buffer.shape[1]
        size = max(capacity, present + max(STEP, present // 2))
        size += -size % STEP
        grown = buffer.new_empty((buffer.shape[0], size, buffer.shape[2]))
        grown[:, : self.length] = buffer[:, : self.length]
        return grown

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append tokens, and return all keys and values.

        Args:
            key_states: Shape (1, key heads, new tokens, head size).
            value_states: As `key_states`.
            args: Ignored; transformers passes them.
            kwargs: Ignored; transformers passes them.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.key_buffer is None or self.value_buffer is None:
            self.key_buffer = key_states.new_empty((key_states.shape[1], 0, key_states.shape[3]))
            self.value_buffer = value_states.new_empty(
                (value_states.shape[1], 0, value_states.shape[3])
            )
        end = self.length + key_states.shape[-2]
        self.make_room(end)
        self.key_buffer[:, self.length : end] = key_states[0]
        self.value_buffer[:, self.length : end] = value_states[0]
        self.length = end
        return self.key_buffer[None, :, :end], self.value_buffer[None, :, :end]

    def get_seq_length(self) -> int:
        """Return the number of tokens held."""
        return self.length

    def crop(self, tokens_to_remove: int) -> None:
        """Drop the last tokens. As in transformers, the count is 0 or negative."""
        self.length = max(0, self.length - abs(tokens_to_remove))


def new_cache(config: Any) -> Any:
    """Return an empty cache for a model, with a `GrowingLayer` for each full-attention layer.

    Args:
        config: Configuration of the decoder, which lists the layers.
    """
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    if getattr(cache, "layer_class_to_replicate", None) is DynamicLayer:
        cache.layer_class_to_replicate = GrowingLayer
    return cache


def is_cuttable(cache: Any) -> bool:
    """Return whether tokens can be removed from the end of a cache."""
    return all(type(layer) is GrowingLayer for layer in cache.layers)


def cut(cache: Any, length: int) -> None:
    """Cut every layer of a cache to a number of tokens.

    The layers may hold different numbers of tokens after an interrupted forward pass.
    """
    for layer in cache.layers:
        surplus = layer.get_seq_length() - length
        if surplus > 0:
            layer.crop(-surplus)


def copy_of(cache: Any, length: int, config: Any) -> Any:
    """Return a new cache with the first tokens of a cuttable one.

    Args:
        cache: The cache to copy from. It is not changed.
        length: Number of tokens to copy.
        config: Configuration of the decoder, as for `new_cache`.
    """
    copy = new_cache(config)
    for index, layer in enumerate(cache.layers):
        copy.update(layer.keys[:, :, :length], layer.values[:, :, :length], index)
    return copy


def cache_bytes(cache: Any) -> int:
    """Return the bytes that a cache's tensors take, room to grow included. Any thread may ask."""
    names = ("key_buffer", "value_buffer")
    total = 0
    for layer in getattr(cache, "layers", ()):
        own = names if isinstance(layer, GrowingLayer) else ("keys", "values")
        tensors = [getattr(layer, name, None) for name in own]
        total += sum(t.numel() * t.element_size() for t in tensors if t is not None)
    return total
