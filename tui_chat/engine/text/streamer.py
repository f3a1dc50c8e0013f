"""From sampled tokens to pieces of text, as the model writes them.

Owns incremental decoding (never half a character, leading spaces kept), stop tokens and stop
strings, and the `Delta` for each token. Refuses to know why a reply was cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Literal

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from transformers import TextIteratorStreamer

from tui_chat.chat.events import Delta
from tui_chat.engine.text.stop_strings import StopMatcher

_CONTEXT_IDS = 8
"""Prompt tokens that the decoder sees before the first one of the reply."""


class StreamFailedError(RuntimeError):
    """Raised to a reader of the stream whose generation failed; carries text only."""


class TokenText:
    """Turns ids into text one at a time.

    Args:
        backend: The tokenizer.
        context: The ids before. They tell the decoder whether it begins in the middle of a text,
            where a leading space counts, or even of a character.
    """

    def __init__(self, backend: Tokenizer, context: Sequence[int] = ()) -> None:
        self._backend = backend
        ids = list(context[-_CONTEXT_IDS:])
        whole = len(ids)
        while whole and self._decode(ids[:whole]).endswith("\ufffd"):
            whole -= 1
        self._ids = ids[:whole]
        self._emitted = len(self._decode(self._ids))
        self._stream: Any = DecodeStream(ids=self._ids, skip_special_tokens=False)
        for token_id in ids[whole:]:
            self.push(token_id)

    def push(self, token_id: int) -> str:
        """The text that became complete with this token; empty within a character."""
        self._ids.append(token_id)
        piece = self._step(token_id) if self._stream is not None else self._rest()
        self._emitted += len(piece)
        return piece

    def _step(self, token_id: int) -> str:
        try:
            return str(self._stream.step(self._backend, token_id) or "")
        except Exception:
            # Decoders whose earlier text changes with later tokens are rare, and slower is better
            # than no reply.
            self._stream = None
            return self._rest()

    def _rest(self) -> str:
        text = self._decode(self._ids)
        return "" if text.endswith("\ufffd") else text[self._emitted :]

    def flush(self) -> str:
        """What is left at the end, without a character that was never completed.

        Whoever goes on from these ids gets that character as a whole.
        """
        rest = self._decode(self._ids)[self._emitted :].rstrip("\ufffd")
        self._emitted += len(rest)
        return rest

    def _decode(self, ids: list[int]) -> str:
        return str(self._backend.decode(ids, skip_special_tokens=False))


class ReplyStreamer(TextIteratorStreamer):  # type: ignore[misc]  # transformers is untyped here
    """What `model.generate` hands its tokens to.

    Each token becomes one `Delta` for `on_delta`, called on the thread that generates. Without
    `on_delta`, iterating from another thread yields the text, as with the stock streamer; unlike
    it, text comes token by token, and the iterator ends when generation fails.

    Args:
        backend: The tokenizer.
        on_delta: Called for each token of the reply, and once more if text is left at the end.
        prompt: Ids of the prompt, for the text they end in. The prompt itself is not streamed.
        stop_ids: Tokens that end the reply and are no part of it.
        stops: Literal strings that end the reply and are not shown.
        logprob: Gives the logarithm of the probability of the next token handed over, in order.
        on_first: Called once, when the first token is known and the prompt so done.
    """

    def __init__(
        self,
        backend: Tokenizer,
        on_delta: Callable[[Delta], None] | None = None,
        prompt: Sequence[int] = (),
        stop_ids: Sequence[int] = (),
        stops: Sequence[str] = (),
        logprob: Callable[[], float] | None = None,
        on_first: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(backend, skip_prompt=True)
        self.reason: Literal["eos", "stop"] | None = None
        """Why no more tokens are wanted."""
        self.token_ids: list[int] = []
        """The tokens of the reply."""
        self.first_at = 0.0
        """When the first token was known, on the monotonic clock."""
        self.last_at = 0.0
        self.error = ""
        """What `fail` was told."""
        self._on_delta = on_delta
        self._text = TokenText(backend, prompt)
        self._matcher = StopMatcher(stops)
        self._stop_ids = frozenset(stop_ids)
        self._logprob = logprob
        self._on_first = on_first
        self._is_prompt_next = True
        self._ended = False

    def set_stops(self, stops: tuple[str, ...]) -> None:
        """Replace the stop strings from the next token on."""
        self._matcher.stops = stops

    def put(self, value: Any) -> None:
        """Take the prompt, then each token, as tensors of shape (1, n) and (1,)."""
        if self._is_prompt_next:
            self._is_prompt_next = False
            return
        for token_id in value.flatten().tolist():
            self.put_token(token_id)

    def put_token(self, token_id: int) -> None:
        """Take a token of the reply; `reason` then says whether the reply ends with it."""
        if self.reason is not None:
            return
        self.last_at = monotonic()
        if not self.first_at:
            self.first_at = self.last_at
            if self._on_first is not None:
                self._on_first()
        if token_id in self._stop_ids:
            self.reason = "eos"
            return
        text = self._matcher.feed(self._text.push(token_id))
        if self._matcher.found is not None:
            self.reason = "stop"
        self.token_ids.append(token_id)
        logprobs = (self._logprob(),) if self._logprob is not None else ()
        self._emit(Delta(text, (token_id,), logprobs))

    def end(self) -> None:
        """Show what was held back, and end the iterator. Later calls do nothing."""
        if self._ended:
            return
        self._flush()
        self._close()

    def fail(self, error: BaseException | str) -> None:
        """Show what was held back, and end the iterator with an error.

        Only the text of the error is kept, so no model is kept by it.
        """
        if not self._ended:
            self.error = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
            with suppress(Exception):  # the error may well be of the decoder
                self._flush()
            self._close()

    def _flush(self) -> None:
        """Show what was held back."""
        rest = self._matcher.feed(self._text.flush()) + self._matcher.flush()
        if self._matcher.found is not None:
            self.reason = self.reason or "stop"
        if rest:
            self._emit(Delta(rest))

    def _emit(self, delta: Delta) -> None:
        if self._on_delta is not None:
            self._on_delta(delta)
        else:
            self.text_queue.put(delta.text)

    def _close(self) -> None:
        self._ended = True
        self.text_queue.put(self.stop_signal)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        value: str | None = self.text_queue.get(timeout=self.timeout)
        if value is not None:
            return value
        self.text_queue.put(None)  # a second reader, or a second loop, ends as well
        if self.error:
            raise StreamFailedError(self.error)
        raise StopIteration
