"""The keys and values of recent prompts and replies, kept for the next one.

Owns the knowledge of which ids each cache holds; a new prompt keeps the longest common prefix of
any of them and computes the rest. Several are kept, so that going back to another branch or chat
costs nothing, up to a number of bytes; the one not used for the longest time goes first. Caches
that cannot be cut (sliding windows, recurrent states) are kept only where the new prompt goes on
exactly where they end. Refuses to guess: whatever is in doubt is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tui_chat.engine.replies.kv_buffers import cache_bytes, copy_of, cut, is_cuttable, new_cache
from tui_chat.engine.text.tokenizer import common_prefix

WORTH_KEEPING = 16
"""Tokens of another branch below which computing them again is as good as keeping them."""


@dataclass(slots=True, eq=False)
class _Held:
    """A cache and the ids whose keys and values are in it, from the first position on."""

    cache: Any
    ids: tuple[int, ...]


class PrefixCache:
    """The caches of recent prompts, and the ids they hold. For one thread.

    Args:
        config: Configuration of the model, which says what layers a cache needs.
        budget: Bytes that the caches besides the newest one may take at most; asked for whenever
            one is to be added.
    """

    def __init__(self, config: Any, budget: Callable[[], int] = lambda: 0) -> None:
        self.config = config.get_text_config(decoder=True)
        """Of the decoder; it says what layers a cache needs."""
        self._budget = budget
        self._held: list[_Held] = []  # the newest last

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the cache used last; empty if there is none."""
        held = self._held
        return held[-1].ids if held else ()

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values held. Any thread."""
        return sum(cache_bytes(held.cache) for held in tuple(self._held))

    def take(self, prompt: Sequence[int]) -> tuple[Any, int]:
        """Hand out a cache for a prompt.

        Until `keep` says what became of it, it counts as holding nothing.

        Args:
            prompt: At least one id.

        Returns:
            The cache, and how many ids of the prompt it holds: less than all, since the logits
            after the last one have to be computed.
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
            self._held.append(best)
            self._make_room(0)
            if self._held and self._held[-1] is best:
                return copy_of(best.cache, common, self.config), common
        if common < len(best.ids):
            cut(best.cache, common)
        return best.cache, common

    def has_room(self, nbytes: int) -> bool:
        """Whether a cache of so many bytes may be kept besides the newest one."""
        return nbytes <= self._budget()

    def _make_room(self, newest: int) -> None:
        """Forget the oldest until all but the `newest` last ones are within the budget."""
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
            cache: What `take` handed out.
            ids: What was computed with it, from the first position on. The last ones may be
                missing from the cache, as the token that ends a reply.
            is_whole: Whether every forward pass ran to its end. Where one was interrupted, the
                layers hold different lengths; they are cut to the shortest.
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
            # What the new one begins with, it also stands for.
            self._held = [h for h in self._held if h.ids != kept[: len(h.ids)]]
            self._held.append(_Held(cache, kept))
        self._make_room(1)

    def drop(self) -> None:
        """Forget everything, and free its memory."""
        self._held = []
