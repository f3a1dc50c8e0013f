"""Single replies, and what they cost.

Owns which decode path the backend is on, and prompts of which no KV cache holds anything.
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


@dataclass(frozen=True, slots=True)
class Written:
    """One reply."""

    text: str
    token_ids: tuple[int, ...]
    stats: Stats


class ReplyMeter:
    """Has a loaded backend write replies of fixed lengths.

    Args:
        backend: A model is loaded.
        info: That model.
        options: How replies are sampled, and what prompts are made of.
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
        """Decode on this path from now on, waiting until it is built.

        Raises:
            TuiChatError: If it cannot be had here.
        """
        if path != self._path:
            self._backend.choose_path(path, Event())
            self._path = path

    def with_new_id(self, ids: tuple[int, ...], position: int, number: int) -> tuple[int, ...]:
        """The same prompt but for one id, so that no KV cache holds what comes from there on.

        Args:
            ids: The prompt.
            position: Of the id to replace.
            number: Other numbers give other ids, as long as the tokenizer has enough.
        """
        others = [i for i in self._first_ids if i != ids[position]]
        return (*ids[:position], others[number % len(others)], *ids[position + 1 :])

    def request(self, ids: Iterable[int], new_tokens: int, context: int) -> GenerateRequest:
        """A reply that nothing but its length ends.

        Args:
            ids: The prompt.
            new_tokens: Tokens to write, at least 1; fewer if the context is full before.
            context: Tokens of prompt and reply together.
        """
        params = self._options.params.with_values({"max_new_tokens": new_tokens, "stop": ()})
        seed = params.seed or 0
        return GenerateRequest(tuple(ids), lambda: params, seed, (), context, ignore_eos=True)

    def filled(self, new_tokens: int, context: int) -> GenerateRequest:
        """The same with a prompt of the options' text that fills the rest of the context."""
        ids = self.encoder.encode(self._options.text) or self.encoder.encode(FILLER)
        count = context - new_tokens
        return self.request((ids * (count // len(ids) + 1))[:count], new_tokens, context)

    def write(self, request: GenerateRequest) -> Written:
        """Write one reply.

        Raises:
            TuiChatError: If it fails, or was not decoded on the path in use.
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
        """The same for a prompt as long, of which no KV cache holds more than the first token.

        It begins with two tokens that no other prompt begins with.

        Raises:
            TuiChatError: If it fails, or more was reused.
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
