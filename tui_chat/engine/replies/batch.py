"""Several replies to one prompt, token by token side by side: one row of a batch for each.

Reading the weights is most of the time that a token takes, and one reading serves all rows. Each
row has its own sampler, random numbers, stop strings and end, so that its text is that of a reply
by itself; only the order of summation differs. A row that has ended is taken out of the batch.
Owns that each row ends with exactly one `Finished` or `Failed`. Refuses to read the prompt.
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
"""Takes the cache of a batch, the number of a row whose reply has ended, and the ids it holds, the
last of which may be missing."""


@dataclass(slots=True, eq=False)
class _Row:
    """One reply."""

    reply: OpenReply
    emit: Emit
    ids: Tensor
    """Prompt and reply, shape (context,)."""
    count: int
    """How many of `ids` there are by now."""
    is_open: bool = True
    """Whether its last event is still to come."""


class Batch:
    """Writes several replies to one prompt. For one use.

    Args:
        model: A causal language model.
        threads: Chooses how many threads compute a token.
        keep: Told of each row that has ended well.
        reused: Tokens of the prompt that did not have to be computed.
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
        """Whether anything went wrong with any row."""
        self._model = model
        self._threads = threads
        self._keep = keep
        self._reused = reused
        self._began = began
        self._options = options
        self._rows: list[_Row] = []
        self._cache: Any = None

    def add(self, reply: OpenReply, emit: Emit) -> None:
        """Add a row, before anything is written.

        Args:
            reply: To the same prompt as the others.
            emit: Takes its last event.
        """
        prompt = reply.request.ids
        device = self._model.get_input_embeddings().weight.device
        ids = torch.empty(reply.request.context, dtype=torch.int64, device=device)
        ids[: len(prompt)] = torch.tensor(prompt)
        self._rows.append(_Row(reply, emit, ids, len(prompt)))

    @property
    def is_cancelled(self) -> bool:
        """Whether every row that is left is to end.

        Between two tokens each row is asked by itself; this ends a forward pass in its middle.
        """
        return all(row.reply.cancel.is_set() for row in self._rows)

    def emit(self, event: EngineEvent) -> None:
        """Tell every row that is left."""
        for row in self._rows:
            row.emit(event)

    def make_room(self, prompt: Any) -> bool:
        """Copy the keys and values of the prompt to every row.

        Args:
            prompt: The cache with the whole prompt; left as it is.

        Returns:
            Whether there was memory for it.
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
        """Write the replies; there has to be room for them.

        Args:
            logits: After the prompt, in fp32, shape (rows of the vocabulary,).

        Raises:
            Cancelled: If all were cancelled in the middle of a forward pass; `finish` ends them.
        """
        self._take(logits.expand(len(self._rows), -1).clone())
        while self._rows:
            self._take(self._step())

    def finish(self) -> None:
        """End every row that is left where it is."""
        for row in self._rows:
            self._finish(row)
        self._rows = []

    def fail(self, error: BaseException) -> None:
        """End every row that is left with an error."""
        for row in self._rows:
            self._fail(row, error)
        self._rows = []

    def _step(self) -> Tensor:
        """The logits after the newest token of each row, shape (rows, rows of the vocabulary)."""
        newest = torch.stack([row.ids[row.count - 1 : row.count] for row in self._rows])
        self._threads.before("batch")
        began = perf_counter()
        output = forward(self._model, newest, self._cache, **self._options)
        logits: Tensor = output.logits[:, -1].to(torch.float32, copy=True)
        self._threads.after("batch", perf_counter() - began)
        return logits

    def _take(self, logits: Tensor) -> None:
        """Choose a token for each row, and take the rows that end out of the batch."""
        left: list[int] = []
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
        """Choose the next token of a row; whether it ends with it."""
        token = row.reply.sampler(row.ids[: row.count], logits)
        row.ids[row.count] = token
        row.count += 1
        return row.reply.take(token) or row.count >= len(row.ids)

    def _finish(self, row: _Row) -> None:
        if row.is_open:
            finished = row.reply.finish(self._reused, self._began, "eager")
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
    """Tokens that prompt and reply can have together, by the parameters as they are now."""
    return min(request.context, len(request.ids) + request.params().max_new_tokens)
