"""Keys and values in buffers with room to grow.

The library's own cache copies all keys and values for every token to add one. Here a new token is
written behind the others, and the buffers, one for each layer with the tokens of a head side by
side, are what the compiled decode path reads. Refuses to know which ids they belong to.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

STEP = 256
"""Tokens that a buffer grows by at least; with half its size, where that is more."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """The cache of one full-attention layer, for a single sequence.

    `keys` and `values` are what the library expects, shape (1, key heads, tokens, head size): views
    of `key_buffer` and `value_buffer`, shape (key heads, capacity, head size).
    """

    def __init__(self) -> None:
        self.key_buffer: Tensor | None = None
        self.value_buffer: Tensor | None = None
        self.length = 0
        """Tokens held."""
        super().__init__()

    @property
    def keys(self) -> Tensor | None:
        """Keys of the tokens held."""
        return self._view(self.key_buffer)

    @keys.setter
    def keys(self, value: Tensor | None) -> None:
        self.key_buffer = self._buffer(value)

    @property
    def values(self) -> Tensor | None:
        """Values of the tokens held."""
        return self._view(self.value_buffer)

    @values.setter
    def values(self, value: Tensor | None) -> None:
        self.value_buffer = self._buffer(value)

    def _view(self, buffer: Tensor | None) -> Tensor | None:
        return None if buffer is None else buffer[None, :, : self.length]

    def _buffer(self, value: Tensor | None) -> Tensor | None:
        """Where the library replaces the keys or values, its tensor becomes the buffer."""
        self.length = 0 if value is None or not value.numel() else value.shape[-2]
        return value[0] if self.length and value is not None else None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Note what is stored; the buffers are made with the first tokens."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def make_room(self, capacity: int) -> None:
        """Let at least so many tokens fit; only for a layer that has held some."""
        assert self.key_buffer is not None and self.value_buffer is not None
        if self.key_buffer.shape[1] < capacity:
            self.key_buffer = self._grown(self.key_buffer, capacity)
            self.value_buffer = self._grown(self.value_buffer, capacity)

    def _grown(self, buffer: Tensor, capacity: int) -> Tensor:
        """A larger copy of a buffer."""
        present = buffer.shape[1]
        size = max(capacity, present + max(STEP, present // 2))
        size += -size % STEP
        grown = buffer.new_empty((buffer.shape[0], size, buffer.shape[2]))
        grown[:, : self.length] = buffer[:, : self.length]
        return grown

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add tokens, and return all keys and values.

        Args:
            key_states: Shape (1, key heads, new tokens, head size).
            value_states: As `key_states`.
            args: Not needed.
            kwargs: Not needed.
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
        """Tokens held."""
        return self.length

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; given as 0 or a negative number, as the library does."""
        self.length = max(0, self.length - abs(tokens_to_remove))


def new_cache(config: Any) -> Any:
    """An empty cache for a model, with buffers wherever a layer attends to everything.

    Args:
        config: Of the decoder; it says what layers the cache needs.
    """
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    if getattr(cache, "layer_class_to_replicate", None) is DynamicLayer:
        cache.layer_class_to_replicate = GrowingLayer
    return cache


def is_cuttable(cache: Any) -> bool:
    """Whether tokens can be taken off its end."""
    return all(type(layer) is GrowingLayer for layer in cache.layers)


def cut(cache: Any, length: int) -> None:
    """Cut every layer to a length; they may differ after an interrupted forward pass."""
    for layer in cache.layers:
        surplus = layer.get_seq_length() - length
        if surplus > 0:
            layer.crop(-surplus)


def copy_of(cache: Any, length: int, config: Any) -> Any:
    """A second cache with the first tokens of a cuttable one.

    Args:
        cache: Left as it is.
        length: Tokens to copy.
        config: As for `new_cache`.
    """
    copy = new_cache(config)
    for index, layer in enumerate(cache.layers):
        copy.update(layer.keys[:, :, :length], layer.values[:, :, :length], index)
    return copy


def cache_bytes(cache: Any) -> int:
    """Bytes that its tensors occupy, room to grow included. Any thread."""
    names = ("key_buffer", "value_buffer")
    total = 0
    for layer in getattr(cache, "layers", ()):
        own = names if isinstance(layer, GrowingLayer) else ("keys", "values")
        tensors = [getattr(layer, name, None) for name in own]
        total += sum(t.numel() * t.element_size() for t in tensors if t is not None)
    return total
