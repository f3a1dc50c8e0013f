"""A backend without torch that writes prepared replies at a chosen pace.

Tests of the screens, the session and the storage use it in place of a real model. Its sizes, speeds
and failures come from its `Script`.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tui_chat.chat.events import (
    Delta,
    Failed,
    Finished,
    FinishReason,
    Loading,
    ModelInfo,
    Prefill,
    Stats,
    TurboState,
    Unloaded,
)
from tui_chat.chat.known_names import PRECISIONS
from tui_chat.chat.model_size import MemoryEstimate, ModelChoice, PrecisionChoice
from tui_chat.chat.templates import PromptTemplate, TokenEncoder, template_named
from tui_chat.engine.contract.backend import Emit, EmitEach, GenerateRequest, LoadRequest, ReplyPath
from tui_chat.errors import ConfigError, MemoryShortError, ModelNotFoundError, TuiChatError

GIB = 1024**3
_WORDS = re.compile(r"\s*\S+|\s+")


class WordEncoder:
    """A tokenizer whose tokens are words, each with the white space before it.

    It gives a word the next free id when it first encodes it.
    """

    CONTROLS = (
        "<|endoftext|>", "<|prompter|>", "<|assistant|>", "<|system|>", "<|prefix_begin|>",
        "<|prefix_end|>", "<|im_start|>", "<|im_end|>",
    )  # fmt: skip

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._words: list[str] = []
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        return "words"

    @property
    def bos_id(self) -> int | None:
        return None

    @property
    def eos_id(self) -> int:
        return 0

    @property
    def special_ids(self) -> frozenset[int]:
        return frozenset(range(len(self.CONTROLS)))

    def encode(self, text: str) -> list[int]:
        with self._lock:
            return [self._id(word) for word in _WORDS.findall(text)]

    def control(self, token: str) -> int:
        try:
            return self.CONTROLS.index(token)
        except ValueError:
            raise ConfigError(f"The tokenizer has no token {token!r}") from None

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, with control tokens by their names."""
        base = len(self.CONTROLS)
        return "".join(self.CONTROLS[i] if i < base else self._words[i - base] for i in ids)

    def token_text(self, token_id: int) -> str:
        known = len(self.CONTROLS) + len(self._words)
        return self.decode([token_id]) if 0 <= token_id < known else f"<{token_id}>"

    def _id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = len(self.CONTROLS) + len(self._words)
            self._words.append(word)
        return self._ids[word]


@dataclass
class Script:
    """The replies, timing and failures of a `ScriptedBackend`."""

    replies: Sequence[str] = ("Hello! This reply comes from a script.",)
    """Replies for the requests in order; after the last one, the first again."""
    token_s: float = 0.0
    """Seconds before each token."""
    prefill_s: float = 0.0
    """Seconds for the prefill of each prompt."""
    load_s: float = 0.0
    """Seconds for each of the eleven steps of loading, from 0 % to 100 %."""
    failures: dict[int, tuple[int, Failed]] = field(default_factory=dict)
    """Requests that fail, by their index from 0: the number of tokens written before the failure,
    and the event."""
    load_failures: dict[str, TuiChatError] = field(default_factory=dict)
    """Loads that fail, by `model:precision` or `model`."""
    side_by_side: bool = True
    """Whether several replies to one prompt are written together, token by token, or one after the
    other."""
    models: Sequence[str] = ("guide", "oasst-12b")
    """Names of the models; a name with `12b` in it has the sizes of one with 12 billion weights."""
    free: int = 16 * GIB
    """Bytes of memory that are free for a model."""
    context: int = 2048
    reserve: int = 256


class ScriptedBackend:
    """Implements `engine.contract.backend.Backend` from a script.

    Args:
        script: What to do; the default `Script` if None.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self._info: ModelInfo | None = None
        self._encoder = WordEncoder()
        self._template: PromptTemplate = template_named("oasst")
        self._cached: tuple[int, ...] = ()
        self._turbo = TurboState()
        self._emit_background: Emit = lambda event: None
        self.requests: list[GenerateRequest] = []
        """Every request so far, in order, for tests to inspect."""

    @property
    def info(self) -> ModelInfo | None:
        return self._info

    @property
    def encoder(self) -> TokenEncoder | None:
        return self._encoder if self._info is not None else None

    @property
    def template(self) -> PromptTemplate | None:
        return self._template

    @property
    def turbo(self) -> TurboState:
        return self._turbo

    def listen(self, emit: Emit) -> None:
        self._emit_background = emit

    def choose_path(self, path: ReplyPath, cancel: threading.Event) -> None:
        if path == "turbo":
            raise TuiChatError("There is no compiled path for a script", "", "Use the eager path")

    def preflight(self, request: LoadRequest) -> LoadRequest:
        if request.model not in self.script.models:
            raise ModelNotFoundError(f"There is no model {request.model!r}")
        precision = "bf16" if request.precision == "auto" else request.precision
        choice = next(c for c in self.precisions(request.model) if c.precision == precision)
        if not choice.fits:
            raise MemoryShortError(
                f"{request.model} does not fit in {precision}", "It is too large", "Try 8bit"
            )
        return replace(request, precision=precision, device="cpu")

    def load(self, request: LoadRequest, emit: Emit, cancel: threading.Event) -> ModelInfo:
        total = 10 * GIB
        for step in range(11):
            emit(Loading(request.model, request.precision, "weights", total * step // 10, total,
                         step * self.script.load_s))  # fmt: skip
            if cancel.wait(self.script.load_s) if self.script.load_s else cancel.is_set():
                raise TuiChatError("Loading was stopped")
        for key in (f"{request.model}:{request.precision}", request.model):
            if key in self.script.load_failures:
                raise self.script.load_failures[key]
        self._info = ModelInfo(
            name=request.model,
            source=f"script:{request.model}",
            precision=request.precision,
            device="cpu",
            template="oasst",
            context=min(request.context or self.script.context, self.script.context),
            reserve=request.reserve if request.reserve is not None else self.script.reserve,
            parameters=6_000_000,
            weight_bytes=12_000_000,
        )
        return self._info

    def unload(self) -> Unloaded | None:
        if self._info is None:
            return None
        freed = Unloaded(self._info.name, self._info.precision, 2 * GIB)
        self._info, self._cached = None, ()
        return freed

    def generate(self, request: GenerateRequest, emit: Emit, cancel: threading.Event) -> None:
        for pause in self._steps(request, emit, cancel):
            if pause:
                cancel.wait(pause)

    def generate_several(
        self,
        requests: Sequence[GenerateRequest],
        emit: EmitEach,
        cancels: Sequence[threading.Event],
    ) -> None:
        together = len(requests) if self.script.side_by_side else 1
        for first in range(0, len(requests), together):
            numbers = range(first, min(first + together, len(requests)))
            going = [
                self._steps(requests[n], partial(emit, n), cancels[n], shares=n > first)
                for n in numbers
            ]
            while going:
                pauses = [next(steps, None) for steps in going]
                going = [s for s, pause in zip(going, pauses, strict=True) if pause is not None]
                pause = max((p for p in pauses if p), default=0.0)
                if pause:
                    _wait_for_all(cancels, pause)

    def _steps(
        self,
        request: GenerateRequest,
        emit: Emit,
        cancel: threading.Event,
        shares: bool = False,
    ) -> Iterator[float]:
        """Write a reply token by token, yielding the seconds to wait before each token.

        Args:
            request: The prompt and its settings.
            emit: Receives the events.
            cancel: Ends the reply.
            shares: Whether another reply of the same batch has paid for the prefill.
        """
        number = len(self.requests)
        self.requests.append(request)
        began = time.monotonic()
        reused = _common_prefix(self._cached, request.ids)
        new = len(request.ids) - reused
        for done in (0, new // 2, new):
            emit(Prefill(new, reused, done))
            if self.script.prefill_s and not shares and not cancel.is_set():
                yield self.script.prefill_s / 3
        words = _WORDS.findall(self.script.replies[number % len(self.script.replies)])
        fail_after, failure = self.script.failures.get(number, (-1, None))
        written: list[int] = []
        reason: FinishReason = "eos"
        first_s = 0.0
        for index, word in enumerate([*words, ""]):
            if failure is not None and index == fail_after:
                emit(failure)
                return
            if not cancel.is_set():
                yield self.script.token_s
            if cancel.is_set():
                reason = "cancelled"
                break
            if not word:
                break
            limit = min(request.params().max_new_tokens, request.context - len(request.ids))
            if index >= limit:
                reason = "length"
                break
            first_s = first_s or time.monotonic() - began
            ids = self._encoder.encode(word)
            written += ids
            emit(Delta(word, tuple(ids), (-0.5,) * len(ids)))
        self._cached = (*request.ids, *written)
        emit(Finished(reason, self._stats(request, reused, len(written), began, first_s)))

    def memory_bytes(self) -> int:
        return 3 * GIB if self._info is not None else GIB

    def models(self) -> list[ModelChoice]:
        current = self._info.name if self._info else ""
        return [
            ModelChoice(
                name=name,
                source=f"script:{name}",
                description="A script.",
                context=self.script.context,
                parameters=12_000_000_000 if "12b" in name else 6_000_000,
                precision=next((c.precision for c in self.precisions(name) if c.fits), ""),
                estimate=self.precisions(name)[2].estimate,
                fits=any(c.fits for c in self.precisions(name)),
                is_current=name == current,
                is_local=True,
            )
            for name in self.script.models
        ]

    def precisions(self, model: str) -> list[PrecisionChoice]:
        scale = 1.0 if "12b" in model else 0.0005
        sizes = {"fp32": 44.1, "bf16": 22.1, "fp16": 22.1, "8bit": 11.5, "4bit": 6.4, "int8": 11.5}
        choices = []
        for precision in PRECISIONS:
            estimate = MemoryEstimate(
                int(sizes[precision] * scale * GIB), int(1.4 * scale * GIB), int(0.2 * scale * GIB)
            )
            is_current = self._info is not None and (
                (self._info.name, self._info.precision) == (model, precision)
            )
            fits = estimate.total <= self.script.free
            free = self.script.free
            choices.append(PrecisionChoice(precision, estimate, free, fits, is_current, total=free))
        return choices

    def _stats(
        self, request: GenerateRequest, reused: int, written: int, began: float, first_s: float
    ) -> Stats:
        total = time.monotonic() - began
        decode_s = total - first_s
        return Stats(
            prompt_tokens=len(request.ids),
            reused_tokens=reused,
            completion_tokens=written,
            dropped_turns=request.dropped_turns,
            ttft_s=first_s,
            decode_tokens_per_s=(written - 1) / decode_s if written > 1 and decode_s > 0 else 0.0,
            total_s=total,
            seed=request.seed,
        )


def _wait_for_all(cancels: Sequence[threading.Event], seconds: float) -> None:
    """Wait for some seconds, or until all of the events are set."""
    deadline = time.monotonic() + seconds
    for cancel in cancels:
        if not cancel.wait(max(0.0, deadline - time.monotonic())):
            return


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the common prefix, at most `len(b) - 1`.

    A real KV cache is reused no further: the model must compute the last token for its logits.
    """
    length = 0
    for x, y in zip(a, b[:-1], strict=False):
        if x != y:
            break
        length += 1
    return length
