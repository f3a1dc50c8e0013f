"""The keys and values of the last prompt and reply, kept for the next one.

Owns the knowledge of which ids the cache holds; a new prompt keeps the longest common prefix and
computes the rest. Caches that cannot be cut (sliding windows, recurrent states) are kept only
where the new prompt goes on exactly where they end. Refuses to guess: whatever is in doubt is
dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tui_chat.engine.tokenizer import common_prefix


class PrefixCache:
    """One cache and the ids it holds. For one thread.

    Args:
        config: Configuration of the model, which says what layers the cache needs.
    """

    def __init__(self, config: Any) -> None:
        self._config = config.get_text_config(decoder=True)
        self._cache: Any = None
        self._ids: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids whose keys and values are held, from the first position on."""
        return self._ids

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values held. Any thread."""
        layers = getattr(self._cache, "layers", ())
        tensors = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
        return sum(t.numel() * t.element_size() for t in tensors if t is not None)

    def take(self, prompt: Sequence[int]) -> tuple[Any, int]:
        """Hand out the cache for a prompt.

        Until `keep` says what became of it, it counts as holding nothing.

        Args:
            prompt: At least one id.

        Returns:
            The cache, and how many ids of the prompt it holds: less than all, since the logits
            after the last one have to be computed.
        """
        common = common_prefix(self._ids, prompt[:-1])
        is_all = common == len(self._ids)
        cache, self._cache, self._ids = self._cache, None, ()
        if common and (is_all or _is_cuttable(cache)):
            if not is_all:
                _cut(cache, common)
            return cache, common
        return DynamicCache(config=self._config), 0

    def keep(self, cache: Any, ids: Sequence[int], is_whole: bool = True) -> None:
        """Take the cache back.

        Args:
            cache: What `take` handed out.
            ids: What was computed with it, from the first position on. The last ones may be
                missing from the cache, as the token that ends a reply.
            is_whole: Whether every forward pass ran to its end. Where one was interrupted, the
                layers hold different lengths; they are cut to the shortest.
        """
        if _is_cuttable(cache):
            length = min([len(ids), *(layer.get_seq_length() for layer in cache.layers)])
            _cut(cache, length)
        elif is_whole and cache.get_seq_length() <= len(ids):
            length = cache.get_seq_length()
        else:
            length = 0
        self._cache, self._ids = (cache, tuple(ids[:length])) if length else (None, ())

    def drop(self) -> None:
        """Forget everything, and free its memory."""
        self._cache, self._ids = None, ()


def _is_cuttable(cache: Any) -> bool:
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _cut(cache: Any, length: int) -> None:
    """Cut every layer to a length; they may differ after an interrupted forward pass."""
    for layer in cache.layers:
        surplus = layer.get_seq_length() - length
        if surplus > 0:
            layer.crop(-surplus)
