"""One token after the other: the loop around the model, on whichever path is ready.

Owns the order of choosing, handing over and asking for the end, the same for both paths. Tokens are
computed by the model as transformers runs it, or by its compiled step where there is one; the two
may take turns within a reply, since they share the keys and values; a step that fails is left, and
the model computes its token. Refuses to know what a token means.
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
"""The model as the library runs it, or its compiled step."""
_Work = Literal["eager", "turbo", "check"]
"""What a forward pass is for."""


class StepFailedError(Exception):
    """A compiled step could not compute a token. The cache is as before; it is not to be asked
    again."""


class CompiledForward(Protocol):
    """A compiled forward pass of one token."""

    def fits(self, cache: Any) -> bool:
        """Whether it can go on from this cache."""

    def __call__(self, token: int, cache: Any) -> Tensor:
        """Compute one token: its keys and values go into the cache, its logits come back.

        Returns:
            Logits in fp32, shape (rows,), for the caller to change until the next call.

        Raises:
            StepFailedError: If it could not.
        """

    def let_go(self) -> None:
        """Keep no cache alive; the next call takes hold of one again."""


class TokenLoop:
    """Writes one reply.

    Args:
        cache: The keys and values of the beginning of the prompt.
        choose: Chooses a token by the ids so far, shape (length,), and logits in fp32, shape
            (rows,).
        take: Takes each chosen token; whether the reply ends with it.
        compiled: The compiled step, asked for before each token; None while there is none.
        threads: Chooses how many threads compute a token.
        guesses: How many tokens may be guessed ahead, asked for before each token; 0 for none.
        guesser: Guesses them.
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
        """What computed the newest token."""
        self._cache = cache
        self._choose = choose
        self._take = take
        self._compiled = compiled
        self._threads = threads
        self._guesses = guesses
        self._guesser = guesser
        self._checking: deque[tuple[int, Tensor]] = deque()
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
            longest: Tokens of prompt and reply together, at most.
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
        self._room = longest - 1
        ids = input_ids.new_empty((1, longest))
        ids[:, :count] = input_ids
        logits = self._eager(model, input_ids[:, self._cache.get_seq_length() :])
        while True:
            token = self._choose(ids[0, :count], logits)
            self._note_time()
            ids[0, count] = token
            count += 1
            if self._take(token) or count >= ids.shape[1]:
                self._end_check(count - 1)
                return
            self._guesser.add(token)
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
        """The logits after one more token, on the path that is ready."""
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
        """Before a forward pass."""
        self._threads.before(work)
        self._work = work
        self._began = perf_counter()

    def _note_time(self) -> None:
        """After the token that a forward pass was for has been chosen.

        Only then it is over on a device that computes while the program goes on.
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
        """The tokens to check with the next forward pass; none where that does not pay."""
        most = min(self._guesses(), self._room - len(ids))
        if most <= 0 or not is_cuttable(self._cache):
            return []
        return self._guesser.guess(ids.tolist, most)

    def _check(self, model: Any, new_id: Tensor, guessed: list[int]) -> Tensor:
        """The logits after a token; those after each guess wait for the guess to be chosen."""
        self.path = "eager"
        new_ids = torch.cat([new_id, new_id.new_tensor([guessed])], dim=1)
        self._begin("check")
        output = forward(model, new_ids, self._cache)
        rows = output.logits[0].to(torch.float32)
        self._right = 0
        self._checking = deque(zip(guessed, rows[1:], strict=True))
        logits: Tensor = rows[0]
        return logits

    def _end_check(self, length: int) -> None:
        """Take what was guessed wrong out of the cache.

        Args:
            length: Tokens that the cache may hold.
        """
        if self._checked_s:
            self._guesser.checked(self._checked_s, self._right)
            self._checked_s = 0.0
        if self._checking:
            self._checking.clear()
            cut(self._cache, length)

    def _eager(self, model: Any, new_ids: Tensor) -> Tensor:
        """The logits after the last of some tokens, shape (1, n); they go into the cache."""
        output = forward(model, new_ids, self._cache, **self._options)
        logits: Tensor = output.logits[0, -1].to(torch.float32, copy=True)
        return logits
