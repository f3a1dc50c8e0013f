"""State of a reply that is being written: its sampler, its text stream and its end.

Single replies and the rows of a batch both use it. The caller computes the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from time import monotonic

from torch import Tensor

from tui_chat.chat.events import Finished, FinishReason, Stats
from tui_chat.engine.contract.backend import Emit, GenerateRequest
from tui_chat.engine.replies.decoding import DecodePath
from tui_chat.engine.replies.sampling import LiveSampler
from tui_chat.engine.text.streamer import ReplyStreamer
from tui_chat.engine.text.tokenizer import HFEncoder


class OpenReply:
    """A reply that is being written.

    Args:
        request: The request to reply to.
        encoder: The tokenizer of the model.
        stop_ids: Tokens that end the reply, from `ends_of`.
        forbidden: True for each id that must not be sampled, shape (vocabulary,).
        emit: Takes the deltas of the reply.
        on_first: Called once, when the first token is known.
        cancel: When set, the reply ends with the next token.
    """

    def __init__(
        self,
        request: GenerateRequest,
        encoder: HFEncoder,
        stop_ids: tuple[int, ...],
        forbidden: Tensor,
        emit: Emit,
        on_first: Callable[[], None],
        cancel: Event,
    ) -> None:
        self.request = request
        self.cancel = cancel
        self.sampler = LiveSampler(request.params, request.seed, forbidden)
        self.streamer = ReplyStreamer(
            encoder.backend,
            emit,
            request.ids,
            stop_ids,
            self.sampler.params.stop,
            self.sampler.logprobs.popleft,
            on_first,
        )

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and reply so far, including the token that ends the reply."""
        return (*self.request.ids, *self.sampler.chosen)

    def take(self, token: int) -> bool:
        """Add the token that the sampler chose, and return whether the reply ends with it."""
        self.streamer.set_stops(self.sampler.params.stop)
        self.streamer.put_token(token)
        is_full = len(self.sampler.chosen) >= self.sampler.params.max_new_tokens
        return is_full or self.streamer.reason is not None or self.cancel.is_set()

    def finish(self, reused: int, began: float, path: DecodePath) -> Finished:
        """End the reply: emit the text held back, and return its statistics.

        Args:
            reused: Number of prompt tokens that were already in the KV cache.
            began: When the request began, on the monotonic clock.
            path: The path that computed the last token.
        """
        streamer, request = self.streamer, self.request
        streamer.end()
        reason: FinishReason = streamer.reason or (
            "cancelled" if self.cancel.is_set() else "length"
        )
        decode_s = streamer.last_at - streamer.first_at
        tokens = len(streamer.token_ids)
        stats = Stats(
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
        return Finished(reason, stats)


def ends_of(request: GenerateRequest, end_ids: Sequence[int]) -> tuple[int, ...]:
    """Return the tokens that end a reply.

    Args:
        request: The request; with `ignore_eos`, no token ends the reply.
        end_ids: End tokens that the model's files list.
    """
    return () if request.ignore_eos else tuple(dict.fromkeys((*request.stop_ids, *end_ids)))
