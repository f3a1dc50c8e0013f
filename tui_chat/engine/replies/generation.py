"""Writes replies with a loaded model, one or several at once: prefill in chunks, then decoding.

`ReplyWriter` keeps the KV cache from one reply to the next. It ends every request with exactly one
`Finished` or `Failed`, and the model can be used again after either.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Event
from time import monotonic
from typing import Any

import torch

from tui_chat.chat.events import Failed, Finished, Prefill
from tui_chat.engine.contract.backend import Emit, EmitEach, GenerateRequest
from tui_chat.engine.contract.failures import failure_event, forget_frames
from tui_chat.engine.loading.loader import release_memory
from tui_chat.engine.machine.devices import device_memory
from tui_chat.engine.machine.threads import ThreadChoice
from tui_chat.engine.replies.batch import Batch, longest_of
from tui_chat.engine.replies.decoding import CompiledForward, DecodePath, TokenLoop
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.kv_batch import cache_of_row, token_bytes
from tui_chat.engine.replies.kv_buffers import is_cuttable, new_cache
from tui_chat.engine.replies.kv_cache import PrefixCache
from tui_chat.engine.replies.open_reply import OpenReply, ends_of
from tui_chat.engine.replies.sampling import forbidden_ids
from tui_chat.engine.replies.speculation import Guesser
from tui_chat.engine.replies.stopping import Cancelled, cancellable
from tui_chat.engine.text.tokenizer import HFEncoder
from tui_chat.errors import ContextError, ModelLoadError, TuiChatError

log = logging.getLogger(__name__)

BATCH_SHARE = 0.5
"""Largest share of free memory for the keys and values of several replies, 0 to 1. The rest is left
for logits, activations and other programs."""
PREFILL_CHUNK = 256
"""Prompt tokens per forward pass. Fixed, because other sizes round differently."""


class ReplyWriter:
    """Reply writer for one model. Use it from one thread only.

    Args:
        model: A causal language model as transformers loads it. Its generation defaults are
            ignored: sampling parameters come from the request alone.
        encoder: The tokenizer of the model.
        end_ids: Tokens that end a reply besides those of the request, from the model's files.
        chunk: Prompt tokens per forward pass, at least 1.
        compiled: Returns the compiled step of the model, or None while there is none. Called before
            each token.
        cache_budget: Returns how many bytes the KV caches of other branches may take.
        threads: Thread counts to choose from, in ascending order; None keeps torch's.
        free: Returns the free bytes on the model's device; None measures them.
    """

    def __init__(
        self,
        model: Any,
        encoder: HFEncoder,
        end_ids: tuple[int, ...] = (),
        chunk: int = PREFILL_CHUNK,
        compiled: Callable[[], CompiledForward | None] = lambda: None,
        cache_budget: Callable[[], int] = lambda: 0,
        threads: Sequence[int] | None = None,
        free: Callable[[], int] | None = None,
    ) -> None:
        self._model = model
        self._encoder = encoder
        self._end_ids = end_ids
        self._chunk = chunk
        self._compiled = compiled
        counts = threads or (torch.get_num_threads(),)
        self._threads = ThreadChoice(counts, torch.set_num_threads)
        self._guesser = Guesser()
        self._cache = PrefixCache(model.config, cache_budget)
        self._device = model.get_input_embeddings().weight.device
        self._free = free or (lambda: device_memory(str(self._device)).free)
        self._rows = int(model.get_output_embeddings().weight.shape[0])
        self._forbidden: dict[tuple[int, ...], torch.Tensor] = {}
        keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._options = {"logits_to_keep": 1} if keeps_logits else {}

    @property
    def cache_bytes(self) -> int:
        """Bytes of the KV caches held."""
        return self._cache.nbytes

    def write(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        """Write one reply, emitting `Prefill`, then `Delta`s, then one `Finished` or `Failed`."""
        try:
            self._check(request)
        except TuiChatError as refused:
            emit(failure_event(refused))
            return
        failed: Failed | None = None
        try:
            emit(self._write(request, emit, cancel))
        except BaseException as error:
            if not isinstance(error, TuiChatError):
                log.error("a reply failed\n%s", traceback.format_exc())
            failed = failure_event(error)
            forget_frames(error)
        # After the handler, where the exception no longer keeps any tensors alive.
        if failed is not None:
            emit(failed)
            self._forget()

    def _forget(self) -> None:
        """Drop the KV caches, which may be wrong after a failure."""
        self._cache.drop()
        with suppress(RuntimeError):  # a lost device has nothing to give back
            release_memory()

    def _write(self, request: GenerateRequest, emit: Emit, cancel: Event) -> Finished:
        began = monotonic()
        cache, reused = self._cache.take(request.ids)
        new = len(request.ids) - reused
        reply = self._open(request, emit, Prefill(new, reused, new), cancel)
        is_whole = True
        path: DecodePath = "eager"
        with torch.inference_mode(), cancellable(self._model, cancel.is_set):
            try:
                self._prefill(request.ids, cache, reused, emit)
                path = self._decode(reply, cache)
            except Cancelled:
                is_whole = False
            except BaseException as error:
                reply.streamer.fail(error)
                raise
        finished = reply.finish(reused, began, path)
        self._cache.keep(cache, reply.ids, is_whole)
        return finished

    def _open(
        self, request: GenerateRequest, emit: Emit, read: Prefill, cancel: Event
    ) -> OpenReply:
        """Return the reply to be written for a request.

        Args:
            request: The request.
            emit: Takes the events of the reply.
            read: The event to emit once the whole prompt has been read.
            cancel: Ends the reply when set.
        """
        stop_ids = ends_of(request, self._end_ids)
        return OpenReply(
            request,
            self._encoder,
            stop_ids,
            self._forbid(stop_ids),
            emit,
            lambda: emit(read),
            cancel,
        )

    # Several replies at once ----------------------------------------------------------------------

    def write_several(
        self, requests: Sequence[GenerateRequest], emit: EmitEach, cancels: Sequence[Event]
    ) -> None:
        """Write several replies to one prompt; see `Backend.generate_several`."""
        try:
            self._check(requests[0])
        except TuiChatError as refused:
            for number in range(len(requests)):
                emit(number, failure_event(refused))
            return
        waiting = list(range(len(requests)))
        while waiting:
            count = self._rows_that_fit(requests[0], len(waiting))
            numbers, waiting = waiting[:count], waiting[count:]
            if count > 1 and self._write_batch(numbers, requests, emit, cancels):
                continue
            # A batch without memory has still put the prompt into the KV cache for these.
            for number in numbers:
                self.write(requests[number], partial(emit, number), cancels[number])

    def _rows_that_fit(self, request: GenerateRequest, wanted: int) -> int:
        """Return how many replies to a prompt fit in one batch, 1 to `wanted`."""
        config = self._model.config.get_text_config(decoder=True)
        if wanted == 1 or not is_cuttable(new_cache(config)):
            return 1
        row = token_bytes(config, self._model.dtype) * longest_of(request)
        return max(1, min(wanted, int(self._free() * BATCH_SHARE) // row))

    def _write_batch(
        self,
        numbers: Sequence[int],
        requests: Sequence[GenerateRequest],
        emit: EmitEach,
        cancels: Sequence[Event],
    ) -> bool:
        """Write the replies with these numbers in one batch.

        Returns:
            False if there was no memory for the batch; only the prompt has been read then.
        """
        began = monotonic()
        ids = requests[numbers[0]].ids
        cache, reused = self._cache.take(ids)
        read = Prefill(len(ids) - reused, reused, len(ids) - reused)
        batch = Batch(self._model, self._threads, self._keep_row, reused, began, self._options)
        for number in numbers:
            each = partial(emit, number)
            batch.add(self._open(requests[number], each, read, cancels[number]), each)
        has_room = True
        with torch.inference_mode(), cancellable(self._model, lambda: batch.is_cancelled):
            try:
                self._prefill(ids, cache, reused, batch.emit)
                logits = self._read_last(ids, cache)
                has_room = batch.make_room(cache)
                if has_room:
                    batch.write(logits)
            except Cancelled:
                batch.finish()
            except BaseException as error:
                batch.fail(error)
        if batch.has_failed:
            self._forget()
        else:
            self._cache.keep(cache, ids)
        return has_room

    def _read_last(self, ids: Sequence[int], cache: Any) -> torch.Tensor:
        """Compute the last chunk of a prompt, and return the logits after it.

        Returns:
            Logits in fp32, shape (vocabulary,).
        """
        last = torch.tensor([ids[cache.get_seq_length() :]], device=self._device)
        output = forward(self._model, last, cache, **self._options)
        logits: torch.Tensor = output.logits[0, -1].to(torch.float32)
        return logits

    def _keep_row(self, batch_cache: Any, row: int, ids: Sequence[int]) -> None:
        """Keep the KV cache of one row, in case the chat continues with its reply."""
        if self._cache.has_room(len(ids) * token_bytes(self._cache.config, self._model.dtype)):
            self._cache.keep(cache_of_row(batch_cache, row, self._cache.config), ids)

    # Steps of a single reply ----------------------------------------------------------------------

    def _check(self, request: GenerateRequest) -> None:
        if not request.ids:
            raise ContextError("There is nothing to reply to", "The prompt is empty")
        if not all(0 <= i < self._rows for i in request.ids):
            raise ModelLoadError(
                "The prompt does not belong to this model",
                f"It has tokens outside 0 to {self._rows - 1}",
                "Send the message again",
            )
        if len(request.ids) >= request.context:
            raise ContextError(
                "The prompt leaves no room for a reply",
                f"It has {len(request.ids):,} tokens, and the context {request.context:,}",
                "Shorten the message or the system prompt",
            )

    def _forbid(self, stop_ids: tuple[int, ...]) -> torch.Tensor:
        if stop_ids not in self._forbidden:
            mask = forbidden_ids(
                self._rows, self._encoder.vocabulary, self._encoder.special_ids, stop_ids
            )
            self._forbidden = {stop_ids: mask.to(self._device)}
        return self._forbidden[stop_ids]

    def _prefill(self, ids: Sequence[int], cache: Any, reused: int, emit: Emit) -> None:
        """Compute the keys and values of all chunks but the last, whose logits the caller needs."""
        new = len(ids) - reused
        self._threads.use_all()
        emit(Prefill(new, reused))
        for start in range(reused, len(ids) - self._chunk, self._chunk):
            chunk = torch.tensor([ids[start : start + self._chunk]], device=self._device)
            forward(self._model, chunk, cache, **self._options)
            emit(Prefill(new, reused, start + self._chunk - reused))

    def _decode(self, reply: OpenReply, cache: Any) -> DecodePath:
        """Write the tokens, and return the path that computed the last one."""
        sampler, request = reply.sampler, reply.request
        loop = TokenLoop(
            cache,
            sampler,
            reply.take,
            self._compiled,
            self._threads,
            lambda: sampler.params.speculate,
            self._guesser,
            self._options,
        )
        loop.write(self._model, torch.tensor([request.ids], device=self._device), request.context)
        return loop.path
