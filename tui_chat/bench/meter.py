"""Writes single replies on a given decode path, and reports what they cost.

`ReplyMeter` can also write a reply to a prompt that shares nothing with any KV cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from threading import Event

from tui_chat.bench.decode_paths import check_path
from tui_chat.bench.figures import FILLER, BenchOptions
from tui_chat.chat.events import Delta, EngineEvent, Failed, Finished, ModelInfo, Stats
from tui_chat.engine.contract.backend import Backend, GenerateRequest, ReplyPath
from tui_chat.errors import TuiChatError

_PRINTABLE = " ".join(map(chr, range(33, 127)))
"""Characters whose tokens begin fresh prompts."""


@dataclass(frozen=True, slots=True)
class Written:
    """One reply."""

    text: str
    token_ids: tuple[int, ...]
    stats: Stats


class ReplyMeter:
    """Has a loaded backend write replies of fixed lengths.

    Args:
        backend: A backend with a loaded model.
        info: Description of that model.
        options: How to sample replies, and what prompts are made of.
    """

    def __init__(self, backend: Backend, info: ModelInfo, options: BenchOptions) -> None:
        encoder, template = backend.encoder, backend.template
        assert encoder is not None and template is not None  # the model is loaded
        self.encoder, self.template = encoder, template
        self.info = info
        self._backend = backend
        self._options = options
        self._path: ReplyPath | None = None
        self._fresh = 0
        ids = encoder.encode(f"{_PRINTABLE} {options.text} {FILLER}")
        self._first_ids = tuple(dict.fromkeys(i for i in ids if i not in encoder.special_ids))

    def use(self, path: ReplyPath) -> None:
        """Decode on this path from now on. Waits until the path is ready.

        Raises:
            TuiChatError: If the path is not available here.
        """
        if path != self._path:
            self._backend.choose_path(path, Event())
            self._path = path

    def with_new_id(self, ids: tuple[int, ...], position: int, number: int) -> tuple[int, ...]:
        """Return a prompt with one id replaced, so that no KV cache holds it from that position on.

        Args:
            ids: The prompt.
            position: Position of the id to replace.
            number: Each number gives another id, as long as the tokenizer has enough.
        """
        others = [i for i in self._first_ids if i != ids[position]]
        return (*ids[:position], others[number % len(others)], *ids[position + 1 :])

    def request(self, ids: Iterable[int], new_tokens: int, context: int) -> GenerateRequest:
        """Return a request for a reply that only its length ends.

        Args:
            ids: The prompt.
            new_tokens: Tokens to write, at least 1. The reply has fewer if the context is full
                before.
            context: Tokens of prompt and reply together.
        """
        params = self._options.params.with_values({"max_new_tokens": new_tokens, "stop": ()})
        seed = params.seed or 0
        return GenerateRequest(tuple(ids), lambda: params, seed, (), context, ignore_eos=True)

    def filled(self, new_tokens: int, context: int) -> GenerateRequest:
        """Return such a request with a prompt that fills the context up to the reply.

        The prompt repeats the text of the options.

        Args:
            new_tokens: Tokens to write, at least 1.
            context: Tokens of prompt and reply together.
        """
        ids = self.encoder.encode(self._options.text) or self.encoder.encode(FILLER)
        count = context - new_tokens
        return self.request((ids * (count // len(ids) + 1))[:count], new_tokens, context)

    def write(self, request: GenerateRequest) -> Written:
        """Write one reply.

        Raises:
            TuiChatError: If the reply fails, or was not decoded on the path in use.
        """
        deltas: list[Delta] = []
        ends: list[Finished | Failed] = []

        def take(event: EngineEvent) -> None:
            if isinstance(event, Delta):
                deltas.append(event)
            elif isinstance(event, Finished | Failed):
                ends.append(event)

        self._backend.generate(request, take, Event())
        (end,) = ends
        if isinstance(end, Failed):
            raise TuiChatError(end.title, end.detail, end.hint)
        if self._path is not None:
            check_path(end.stats, self._path)
        ids = tuple(i for delta in deltas for i in delta.token_ids)
        return Written("".join(delta.text for delta in deltas), ids, end.stats)

    def write_fresh(self, request: GenerateRequest) -> Written:
        """Write a reply to an equally long prompt that reuses at most its first token.

        The prompt is that of the request, but for its first two tokens, a pair that no earlier
        prompt began with.

        Raises:
            TuiChatError: If the reply fails, or more than one token was reused.
        """
        first, second = divmod(self._fresh, len(self._first_ids))
        self._fresh += 1
        opening = (self._first_ids[second], self._first_ids[first % len(self._first_ids)])
        length = len(request.ids)
        written = self.write(replace(request, ids=(*opening, *request.ids[2:])[:length]))
        if written.stats.reused_tokens > 1:
            raise TuiChatError(
                "Prefill could not be measured",
                f"{written.stats.reused_tokens} tokens of a new prompt were in the KV cache",
            )
        return written
