"""One reply after the other from a loaded model: prefill in chunks, then token by token.

Owns the KV cache between replies and the promise that a request ends with exactly one `Finished`
or `Failed`, after which the model can be used again. Refuses to load anything.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import Any

import torch
from transformers import GenerationConfig

from tui_chat.chat.events import Failed, Finished, FinishReason, Prefill, Stats
from tui_chat.engine.backend import Emit, GenerateRequest
from tui_chat.engine.decoding import CompiledForward, DecodePath, TokenLoop
from tui_chat.engine.failures import failure_event, forget_frames
from tui_chat.engine.kv_cache import PrefixCache
from tui_chat.engine.loader import release_memory
from tui_chat.engine.sampling import LiveSampler, forbidden_ids
from tui_chat.engine.speculation import Drafter, Guesser
from tui_chat.engine.stopping import Cancelled, cancellable
from tui_chat.engine.streamer import ReplyStreamer
from tui_chat.engine.threads import ThreadChoice
from tui_chat.engine.tokenizer import HFEncoder
from tui_chat.errors import ContextError, ModelLoadError, TuiChatError

log = logging.getLogger(__name__)

PREFILL_CHUNK = 256
"""Prompt tokens in one forward pass. Fixed, since other sizes round differently."""


class ReplyWriter:
    """Writes replies with one model. For one thread.

    Args:
        model: A causal language model as transformers loads it. Its generation defaults are
            cleared: what a reply is sampled with is in its request, and nowhere else.
        encoder: Its tokenizer.
        end_ids: Tokens that end a reply besides those of the request, as the model's files list.
        chunk: Prompt tokens in one forward pass, at least 1.
        compiled: The compiled step of the model, asked for before each token; None while there is
            none.
        cache_budget: Bytes that the caches of other branches may take.
        threads: Numbers of threads to choose from, in ascending order; None leaves torch's.
        draft: Guesses tokens ahead, where a request asks for it.
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
        draft: Drafter | None = None,
    ) -> None:
        self._model = model
        self._encoder = encoder
        self._end_ids = end_ids
        self._chunk = chunk
        self._compiled = compiled
        counts = threads or (torch.get_num_threads(),)
        self._threads = ThreadChoice(counts, torch.set_num_threads)
        self._guesser = Guesser(draft)
        self._cache = PrefixCache(model.config, cache_budget)
        self._device = model.get_input_embeddings().weight.device
        self._rows = int(model.get_output_embeddings().weight.shape[0])
        self._forbidden: dict[tuple[int, ...], torch.Tensor] = {}
        keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._options = {"logits_to_keep": 1} if keeps_logits else {}
        model.generation_config = GenerationConfig(pad_token_id=encoder.eos_id)

    @property
    def cache_bytes(self) -> int:
        """What the KV cache holds."""
        return self._cache.nbytes

    def write(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        """Write one reply: `Prefill`, then `Delta`s, then one `Finished` or `Failed`."""
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
        if failed is not None:
            emit(failed)
            self._cache.drop()
            with suppress(RuntimeError):  # a lost device has nothing to give back
                release_memory()

    def _write(self, request: GenerateRequest, emit: Emit, cancel: Event) -> Finished:
        began = monotonic()
        end_ids = () if request.ignore_eos else (*request.stop_ids, *self._end_ids)
        stop_ids = tuple(dict.fromkeys(end_ids))
        sampler = LiveSampler(request.params, request.seed, self._forbid(stop_ids))
        cache, reused = self._cache.take(request.ids)
        new = len(request.ids) - reused
        streamer = ReplyStreamer(
            self._encoder.backend,
            emit,
            request.ids,
            stop_ids,
            sampler.params.stop,
            sampler.logprobs.popleft,
            lambda: emit(Prefill(new, reused, new)),
        )
        is_whole = True
        path: DecodePath = "eager"
        with torch.inference_mode(), cancellable(self._model, cancel):
            try:
                self._prefill(request.ids, cache, reused, emit)
                path = self._decode(request, cache, sampler, streamer, cancel)
            except Cancelled:
                is_whole = False
            except BaseException as error:
                streamer.fail(error)
                raise
        streamer.end()
        self._cache.keep(cache, (*request.ids, *sampler.chosen), is_whole)
        reason: FinishReason = streamer.reason or ("cancelled" if cancel.is_set() else "length")
        return Finished(reason, _stats(request, reused, streamer, began, path))

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
        """Compute keys and values of all chunks but the last, which `generate` takes."""
        new = len(ids) - reused
        self._threads.use_all()
        emit(Prefill(new, reused))
        for start in range(reused, len(ids) - self._chunk, self._chunk):
            self._model(
                input_ids=torch.tensor([ids[start : start + self._chunk]], device=self._device),
                past_key_values=cache,
                use_cache=True,
                **self._options,
            )
            emit(Prefill(new, reused, start + self._chunk - reused))

    def _decode(
        self,
        request: GenerateRequest,
        cache: Any,
        sampler: LiveSampler,
        streamer: ReplyStreamer,
        cancel: Event,
    ) -> DecodePath:
        """Write the tokens; returns the path that computed the last one."""

        def take(token: int) -> bool:
            streamer.set_stops(sampler.params.stop)
            streamer.put_token(token)
            is_full = len(sampler.chosen) >= sampler.params.max_new_tokens
            return is_full or streamer.reason is not None or cancel.is_set()

        loop = TokenLoop(
            cache,
            sampler,
            take,
            self._compiled,
            self._threads,
            lambda: sampler.params.speculate,
            self._guesser,
            self._options,
        )
        input_ids = torch.tensor([request.ids], device=self._device)
        self._model.generate(
            input_ids,
            generation_config=GenerationConfig(
                do_sample=False,  # the sampler chooses
                max_new_tokens=request.context - len(request.ids),
                use_cache=True,
            ),
            attention_mask=torch.ones_like(input_ids),
            past_key_values=cache,
            custom_generate=loop,
        )
        return loop.path


def _stats(
    request: GenerateRequest,
    reused: int,
    streamer: ReplyStreamer,
    began: float,
    path: DecodePath,
) -> Stats:
    decode_s = streamer.last_at - streamer.first_at
    tokens = len(streamer.token_ids)
    return Stats(
        prompt_tokens=len(request.ids),
        reused_tokens=reused,
        completion_tokens=tokens,
        dropped_turns=request.dropped_turns,
        ttft_s=streamer.first_at - began if streamer.first_at else 0.0,
        decode_tokens_per_s=(tokens - 1) / decode_s if tokens > 1 and decode_s > 0 else 0.0,
        total_s=monotonic() - began,
        seed=request.seed,
        path=path,
    )
