"""Keeps the KV caches of recent prompts and replies, so that the next prompt reuses what it can.

Each cache is stored with the token ids it holds. A new prompt reuses the longest prefix it shares
with one of them, and the model computes the rest. Several caches are kept within a budget of bytes,
so that returning to another branch or chat needs no new prefill; the least recently used one is
dropped first. Caches that cannot be cut (sliding windows, recurrent states) are reused only by a
prompt that contains all they hold. A cache whose contents are in doubt is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tui_chat.engine.replies.kv_buffers import cache_bytes, copy_of, cut, is_cuttable, new_cache
from tui_chat.engine.text.tokenizer import common_prefix

WORTH_KEEPING = 16
"""Tokens that another branch must have of its own for its cache to be kept; fewer are as quickly
computed again."""


@dataclass(slots=True, eq=False)
class _Held:
    """A cache and the ids whose keys and values it holds, from the first position on."""

    cache: Any
    ids: tuple[int, ...]


class PrefixCache:
    """The KV caches of recent prompts with the ids they hold. Use it from one thread only.

    Args:
        config: Configuration of the model, which lists the layers of a cache.
        budget: Returns how many bytes the caches besides the newest may take. Called whenever
            caches are added or taken.
    """

    def __init__(self, config: Any, budget: Callable[[], int] = lambda: 0) -> None:
        self.config = config.get_text_config(decoder=True)
        """Configuration of the decoder, which lists the layers of a cache."""
        self._budget = budget
        self._held: list[_Held] = []  # the newest last

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the cache used last; empty if there is none."""
        held = self._held
        return held[-1].ids if held else ()

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values held. Any thread may ask."""
        return sum(cache_bytes(held.cache) for held in tuple(self._held))

    def take(self, prompt: Sequence[int]) -> tuple[Any, int]:
        """Hand out a cache for a prompt.

        The caller owns the cache until it returns it with `keep`.

        Args:
            prompt: The ids of the prompt, at least one.

        Returns:
            The cache, and how many ids of the prompt it holds. The last id is never among them,
            since the logits after it have to be computed.
        """
        best, common = None, 0
        for held in self._held:
            length = common_prefix(held.ids, prompt[:-1])
            usable = length == len(held.ids) or is_cuttable(held.cache)
            if usable and length and length >= common:
                best, common = held, length
        if best is None:
            self._make_room(0)
            return new_cache(self.config), 0
        self._held.remove(best)
        if len(best.ids) - common >= WORTH_KEEPING:
            # Cutting would lose the other branch: hand out a copy, if the budget has room for both.
            self._held.append(best)
            self._make_room(0)
            if self._held and self._held[-1] is best:
                return copy_of(best.cache, common, self.config), common
        if common < len(best.ids):
            cut(best.cache, common)
        return best.cache, common

    def has_room(self, nbytes: int) -> bool:
        """Return whether the budget allows a cache of so many bytes besides the newest one."""
        return nbytes <= self._budget()

    def _make_room(self, newest: int) -> None:
        """Drop the oldest caches until all but the `newest` last ones fit the budget."""
        if len(self._held) <= newest:
            return
        budget = self._budget()
        while len(self._held) > newest:
            others = self._held[: len(self._held) - newest]
            if sum(cache_bytes(held.cache) for held in others) <= budget:
                break
            del self._held[0]

    def keep(self, cache: Any, ids: Sequence[int], is_whole: bool = True) -> None:
        """Take a cache back.

        Args:
            cache: The cache that `take` handed out, or a new one.
            ids: The ids computed with it, from the first position on. The cache may lack the last
                ones: the token that ends a reply is never computed.
            is_whole: Whether every forward pass was completed. After an interrupted one the layers
                hold different numbers of tokens, and are cut to the shortest.
        """
        if is_cuttable(cache):
            length = min([len(ids), *(layer.get_seq_length() for layer in cache.layers)])
            cut(cache, length)
        elif is_whole and cache.get_seq_length() <= len(ids):
            length = cache.get_seq_length()
        else:
            length = 0
        if length:
            kept = tuple(ids[:length])
            # A cache whose ids the new one begins with has become redundant.
            self._held = [h for h in self._held if h.ids != kept[: len(h.ids)]]
            self._held.append(_Held(cache, kept))
        self._make_room(1)

    def drop(self) -> None:
        """Drop all caches, and free their memory."""
        self._held = []
