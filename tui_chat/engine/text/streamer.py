"""Turns sampled tokens into pieces of text while the model writes them.

Decoding is incremental: it never emits part of a character, and keeps leading spaces.
`ReplyStreamer` also applies stop tokens and stop strings, and emits a `Delta` for each token.
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
"""Tokens at the end of the prompt that the decoder gets as context."""


class StreamFailedError(RuntimeError):
    """Raised to a reader of the stream if generation failed. Holds the error's text only."""


class TokenText:
    """Incremental decoder: turns ids into text one at a time.

    Args:
        backend: The tokenizer.
        context: The preceding ids. They tell the decoder whether the text continues another one, in
            which case a leading space is kept, or even starts within a character.
    """

    def __init__(self, backend: Tokenizer, context: Sequence[int] = ()) -> None:
        self._backend = backend
        ids = list(context[-_CONTEXT_IDS:])
        whole = len(ids)
        # A context that ends within a character: its last tokens go through `push`, so that the
        # first token of the reply completes the character.
        while whole and self._decode(ids[:whole]).endswith("\ufffd"):
            whole -= 1
        self._ids = ids[:whole]
        self._emitted = len(self._decode(self._ids))
        self._stream: Any = DecodeStream(ids=self._ids, skip_special_tokens=False)
        for token_id in ids[whole:]:
            self.push(token_id)

    def push(self, token_id: int) -> str:
        """Add a token, and return the text it completes; empty within a character."""
        self._ids.append(token_id)
        piece = self._step(token_id) if self._stream is not None else self._rest()
        self._emitted += len(piece)
        return piece

    def _step(self, token_id: int) -> str:
        try:
            return str(self._stream.step(self._backend, token_id) or "")
        except Exception:
            # `DecodeStream` refuses the few decoders whose later tokens change earlier text. From
            # here on, decode the whole text for each token, which is slower but works.
            self._stream = None
            return self._rest()

    def _rest(self) -> str:
        text = self._decode(self._ids)
        return "" if text.endswith("\ufffd") else text[self._emitted :]

    def flush(self) -> str:
        """Return the rest of the text, without a character that was never completed.

        A later decoder that continues from these ids emits that character as a whole.
        """
        rest = self._decode(self._ids)[self._emitted :].rstrip("\ufffd")
        self._emitted += len(rest)
        return rest

    def _decode(self, ids: list[int]) -> str:
        return str(self._backend.decode(ids, skip_special_tokens=False))


class ReplyStreamer(TextIteratorStreamer):  # type: ignore[misc]  # transformers is untyped here
    """Stream of a reply: takes tokens, and emits a `Delta` for each on the same thread.

    The decode loop calls `put_token`. `model.generate` can use it as well, through `put`. Without
    `on_delta`, iterating from another thread yields the text, as with the base class; but the text
    arrives token by token, and the iterator ends when generation fails.

    Args:
        backend: The tokenizer.
        on_delta: Called for each token of the reply, and once more if text is left at the end.
        prompt: Ids of the prompt, as context for the decoder. The prompt itself is not streamed.
        stop_ids: Tokens that end the reply and are not part of it.
        stops: Literal strings that end the reply and are not shown.
        logprob: Returns the log-probability of the next token. Called once for each token, in
            order, except for stop tokens.
        on_first: Called once, when the first token is known and the prefill is therefore complete.
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
        """Why the reply ended: by a stop token or a stop string; None while it may go on."""
        self.token_ids: list[int] = []
        """The tokens of the reply."""
        self.first_at = 0.0
        """When the first token was known, on the monotonic clock; 0 before."""
        self.last_at = 0.0
        """When the newest token was known, on the monotonic clock; 0 before the first."""
        self.error = ""
        """The text of the error passed to `fail`; empty if there was none."""
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
        """Take the prompt, shape (1, n), then each token, shape (1,), from `model.generate`."""
        if self._is_prompt_next:
            self._is_prompt_next = False
            return
        for token_id in value.flatten().tolist():
            self.put_token(token_id)

    def put_token(self, token_id: int) -> None:
        """Add a token of the reply. If the reply ends with it, `reason` says why."""
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
        """Emit the text held back, and end the iterator. Later calls do nothing."""
        if self._ended:
            return
        self._flush()
        self._close()

    def fail(self, error: BaseException | str) -> None:
        """Emit the text held back, and end the iterator with an error.

        Only the text of the error is kept, since the exception's frames would keep the model in
        memory.
        """
        if not self._ended:
            self.error = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
            with suppress(Exception):  # the decoder itself may have failed
                self._flush()
            self._close()

    def _flush(self) -> None:
        """Emit the text held back."""
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
        self.text_queue.put(None)  # ends a second reader or loop as well
        if self.error:
            raise StreamFailedError(self.error)
        raise StopIteration
