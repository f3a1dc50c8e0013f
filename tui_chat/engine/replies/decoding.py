"""The decode loop: chooses and computes one token after the other until the reply ends.

The transformers model computes the tokens, or its compiled step where one is ready. Both write to
the same KV cache, so the path may change within a reply. If the compiled step fails, the model
computes that token. With `speculate`, one forward pass of the model also checks guessed tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from tui_chat.engine.machine.threads import ThreadChoice
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.kv_buffers import cut, is_cuttable
from tui_chat.engine.replies.speculation import Guesser

DecodePath = Literal["eager", "turbo"]
"""What computes a token: the transformers model or its compiled step."""
_Work = Literal["eager", "turbo", "check"]
"""What a forward pass is timed as; `check` is one that checks guessed tokens."""


class StepFailedError(Exception):
    """Raised when a compiled step could not compute a token.

    The cache is unchanged, and the caller must not use the step again.
    """


class CompiledForward(Protocol):
    """A compiled forward pass of one token."""

    def fits(self, cache: Any) -> bool:
        """Return whether the step can continue from this cache."""

    def __call__(self, token: int, cache: Any) -> Tensor:
        """Compute one token, add its keys and values to the cache, and return its logits.

        Returns:
            Logits in fp32, shape (vocabulary,). The caller may change them; the next call
            overwrites them.

        Raises:
            StepFailedError: If the step could not compute the token.
        """

    def let_go(self) -> None:
        """Drop every reference to a cache. The next call binds its cache again."""


class TokenLoop:
    """The decode loop of one reply.

    Args:
        cache: Keys and values of the beginning of the prompt, short of its last token.
        choose: Returns the next token, given the ids so far, shape (length,), and logits in fp32,
            shape (vocabulary,).
        take: Receives each chosen token, and returns whether the reply ends with it.
        compiled: Returns the compiled step, or None while there is none. Called before each token.
        threads: Chooses how many threads compute a token.
        guesses: Returns how many tokens may be guessed ahead, 0 for none. Called before each token.
        guesser: Guesses the tokens.
        options: Further arguments of the model's forward pass.
    """

    def __init__(
        self,
        cache: Any,
        choose: Callable[[Tensor, Tensor], int],
        take: Callable[[int], bool],
        compiled: Callable[[], CompiledForward | None],
        threads: ThreadChoice,
        guesses: Callable[[], int],
        guesser: Guesser,
        options: dict[str, Any],
    ) -> None:
        self.path: DecodePath = "eager"
        """The path that computed the newest token."""
        self._cache = cache
        self._choose = choose
        self._take = take
        self._compiled = compiled
        self._threads = threads
        self._guesses = guesses
        self._guesser = guesser
        self._checking: deque[tuple[int, Tensor]] = deque()
        """Guesses that the sampler has not reached yet, each with the logits after it."""
        self._work: _Work | None = None
        self._began = 0.0
        self._checked_s = 0.0
        self._right = 0
        self._room = 0
        self._options = options

    def write(self, model: Any, input_ids: Tensor, longest: int) -> None:
        """Choose and compute tokens until the reply ends.

        Args:
            model: A causal language model.
            input_ids: The whole prompt, shape (1, tokens).
            longest: The most tokens that prompt and reply may have together.
        """
        try:
            self._write(model, input_ids, longest)
        finally:
            step = self._compiled()
            if step is not None:
                step.let_go()

    def _write(self, model: Any, input_ids: Tensor, longest: int) -> None:
        self._guesser.begin()
        count = input_ids.shape[1]
        # The last token of the longest reply is never computed, so the cache needs no place for it.
        self._room = longest - 1
        ids = input_ids.new_empty((1, longest))
        ids[:, :count] = input_ids
        logits = self._eager(model, input_ids[:, self._cache.get_seq_length() :])
        # Here the cache holds the first `count` ids, and behind them the guesses in `_checking`.
        while True:
            token = self._choose(ids[0, :count], logits)
            self._note_time()
            ids[0, count] = token
            count += 1
            if self._take(token) or count >= ids.shape[1]:
                self._end_check(count - 1)
                return
            self._guesser.add(token)
            # A right guess is in the cache already, and the logits after it are known.
            if self._checking and self._checking[0][0] == token:
                logits = self._checking.popleft()[1]
                self._right += 1
                continue
            self._end_check(count - 1)
            guessed = self._guess(ids[0, :count])
            if guessed:
                logits = self._check(model, ids[:, count - 1 : count], guessed)
            else:
                logits = self._next(model, ids[:, count - 1 : count], token)

    def _next(self, model: Any, new_id: Tensor, token: int) -> Tensor:
        """Compute the logits after one more token, by the compiled step if it is ready."""
        step = self._compiled()
        if step is not None and step.fits(self._cache):
            self._begin("turbo")
            with suppress(StepFailedError):
                logits = step(token, self._cache)
                self.path = "turbo"
                return logits
        self._begin("eager")
        self.path = "eager"
        return self._eager(model, new_id)

    def _begin(self, work: _Work) -> None:
        """Set the threads and start the clock for a forward pass."""
        self._threads.before(work)
        self._work = work
        self._began = perf_counter()

    def _note_time(self) -> None:
        """Record how long the last forward pass took, once its token has been chosen.

        A GPU computes asynchronously, so the pass is known to be over only when its token is read.
        """
        if self._work is None:
            return
        seconds = perf_counter() - self._began
        self._threads.after(self._work, seconds)
        if self._work == "check":
            self._checked_s = seconds
        else:
            self._guesser.computed(seconds)
        self._work = None

    def _guess(self, ids: Tensor) -> list[int]:
        """Return the tokens to check in the next forward pass; none if checking does not pay."""
        most = min(self._guesses(), self._room - len(ids))
        if most <= 0 or not is_cuttable(self._cache):
            return []
        return self._guesser.guess(ids.tolist, most)

    def _check(self, model: Any, new_id: Tensor, guessed: list[int]) -> Tensor:
        """Compute the logits after a token and after each guessed token in one forward pass.

        Returns:
            The logits after the token. Those after the guesses wait in `_checking`.
        """
        self.path = "eager"
        new_ids = torch.cat([new_id, new_id.new_tensor([guessed])], dim=1)
        self._begin("check")
        # Without `options`, which may ask for the logits of the last token only.
        output = forward(model, new_ids, self._cache)
        rows = output.logits[0].to(torch.float32)
        self._right = 0
        self._checking = deque(zip(guessed, rows[1:], strict=True))
        logits: Tensor = rows[0]
        return logits

    def _end_check(self, length: int) -> None:
        """Report the result of the last check, and remove the wrong guesses from the cache.

        Args:
            length: Tokens that the cache may keep.
        """
        if self._checked_s:
            self._guesser.checked(self._checked_s, self._right)
            self._checked_s = 0.0
        if self._checking:
            self._checking.clear()
            cut(self._cache, length)

    def _eager(self, model: Any, new_ids: Tensor) -> Tensor:
        """Add tokens, shape (1, n), to the cache; return the logits after the last one."""
        output = forward(model, new_ids, self._cache, **self._options)
        logits: Tensor = output.logits[0, -1].to(torch.float32, copy=True)
        return logits
