"""Writes several replies to one prompt in one batch, a row for each reply.

Reading the weights takes most of the time of a token, and a batch reads them once for all rows.
Each row has its own sampler, random numbers and stop strings, so its text is the one it would have
as a single reply, except for the order of summation. A row that ends leaves the batch, and every
row ends with exactly one `Finished` or `Failed`. `generation` reads the prompt first.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from tui_chat.chat.events import EngineEvent
from tui_chat.engine.contract.backend import Emit, GenerateRequest
from tui_chat.engine.contract.failures import failure_code, failure_event, forget_frames
from tui_chat.engine.machine.threads import ThreadChoice
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.kv_batch import batch_cache, keep_rows
from tui_chat.engine.replies.open_reply import OpenReply
from tui_chat.errors import TuiChatError

log = logging.getLogger(__name__)

KeepRow = Callable[[Any, int, Sequence[int]], None]
"""Called with the cache of a batch, the number of a row whose reply has ended, and the token ids of
that row. The cache may lack the last id."""


@dataclass(slots=True, eq=False)
class _Row:
    """One reply of the batch."""

    reply: OpenReply
    emit: Emit
    ids: Tensor
    """Prompt and reply, shape (context,); only the first `count` are set."""
    count: int
    """Number of tokens in `ids` so far."""
    is_open: bool = True
    """Whether the row has yet to emit its `Finished` or `Failed`."""


class Batch:
    """A batch of replies to one prompt. Each instance is used once.

    Args:
        model: A causal language model.
        threads: Chooses how many threads compute a token.
        keep: Called for each row whose reply ended without an error.
        reused: Number of prompt tokens that were already in the KV cache.
        began: When the requests began, on the monotonic clock.
        options: Further arguments of the model's forward pass.
    """

    def __init__(
        self,
        model: Any,
        threads: ThreadChoice,
        keep: KeepRow,
        reused: int,
        began: float,
        options: dict[str, Any],
    ) -> None:
        self.has_failed = False
        """Whether any row ended with an error."""
        self._model = model
        self._threads = threads
        self._keep = keep
        self._reused = reused
        self._began = began
        self._options = options
        self._rows: list[_Row] = []
        self._cache: Any = None

    def add(self, reply: OpenReply, emit: Emit) -> None:
        """Add a row. Call it before `write`.

        Args:
            reply: A reply to the same prompt as the other rows.
            emit: Takes the row's progress and its `Finished` or `Failed`.
        """
        prompt = reply.request.ids
        device = self._model.get_input_embeddings().weight.device
        ids = torch.empty(reply.request.context, dtype=torch.int64, device=device)
        ids[: len(prompt)] = torch.tensor(prompt)
        self._rows.append(_Row(reply, emit, ids, len(prompt)))

    @property
    def is_cancelled(self) -> bool:
        """Whether the user has cancelled every remaining row.

        Aborts a forward pass that is under way. Between tokens, each row checks its own `cancel`.
        """
        return all(row.reply.cancel.is_set() for row in self._rows)

    def emit(self, event: EngineEvent) -> None:
        """Send an event to every remaining row."""
        for row in self._rows:
            row.emit(event)

    def make_room(self, prompt: Any) -> bool:
        """Copy the prompt's keys and values into every row.

        Args:
            prompt: The cache of the whole prompt. It is not changed.

        Returns:
            False if there was not enough memory, True otherwise.
        """
        capacity = max(longest_of(row.reply.request) for row in self._rows)
        try:
            self._cache = batch_cache(prompt, len(self._rows), capacity)
        except (RuntimeError, MemoryError) as error:
            if failure_code(error) != "oom":
                raise
            forget_frames(error)
            return False
        return True

    def write(self, logits: Tensor) -> None:
        """Write the replies. Call `make_room` first.

        Args:
            logits: The logits after the prompt in fp32, shape (vocabulary,).

        Raises:
            Cancelled: If every row was cancelled during a forward pass. The caller then calls
                `finish`.
        """
        self._take(logits.expand(len(self._rows), -1).clone())
        while self._rows:
            self._take(self._step())

    def finish(self) -> None:
        """End every remaining row with the text it has so far."""
        for row in self._rows:
            self._finish(row)
        self._rows = []

    def fail(self, error: BaseException) -> None:
        """End every remaining row with an error."""
        for row in self._rows:
            self._fail(row, error)
        self._rows = []

    def _step(self) -> Tensor:
        """Compute the logits after the newest token of each row, shape (rows, vocabulary)."""
        newest = torch.stack([row.ids[row.count - 1 : row.count] for row in self._rows])
        self._threads.before("batch")
        began = perf_counter()
        output = forward(self._model, newest, self._cache, **self._options)
        logits: Tensor = output.logits[:, -1].to(torch.float32, copy=True)
        self._threads.after("batch", perf_counter() - began)
        return logits

    def _take(self, logits: Tensor) -> None:
        """Choose a token for each row, and remove the rows that end with it."""
        left: list[int] = []
        # The numbers are rows of `logits` and of the cache, so no row may leave within this loop.
        for number, row in enumerate(self._rows):
            try:
                is_ended = self._choose(row, logits[number])
                if is_ended:
                    self._finish(row)
            except Exception as error:
                self._fail(row, error)
            else:
                if is_ended:
                    self._keep(self._cache, number, row.reply.ids)
                else:
                    left.append(number)
        if 0 < len(left) < len(self._rows):
            keep_rows(self._cache, left)
        self._rows = [self._rows[number] for number in left]

    def _choose(self, row: _Row, logits: Tensor) -> bool:
        """Choose the next token of a row, and return whether the reply ends with it."""
        token = row.reply.sampler(row.ids[: row.count], logits)
        row.ids[row.count] = token
        row.count += 1
        return row.reply.take(token) or row.count >= len(row.ids)

    def _finish(self, row: _Row) -> None:
        if row.is_open:
            finished = row.reply.finish(self._reused, self._began, "eager")
            # Closed before `emit`: if that raises, `_fail` must not send a second end.
            row.is_open = False
            row.emit(finished)

    def _fail(self, row: _Row, error: BaseException) -> None:
        self.has_failed = True
        if not isinstance(error, TuiChatError):
            log.error("a reply failed\n%s", "".join(traceback.format_exception(error)))
        if row.is_open:
            row.is_open = False
            row.reply.streamer.fail(error)
            row.emit(failure_event(error))
        forget_frames(error)


def longest_of(request: GenerateRequest) -> int:
    """Return the most tokens that prompt and reply may have together, by the current parameters."""
    return min(request.context, len(request.ids) + request.params().max_new_tokens)
