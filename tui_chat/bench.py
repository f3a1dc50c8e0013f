"""Speed and memory of a model on this machine: a table for people, one JSON line for programs.

Measures the very path of the chat, the same backend and the same events. Refuses to compare with
anything; scripts in `benchmarks/` do that.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from threading import Event

from rich.console import Console
from rich.table import Table

from tui_chat.chat.events import EngineEvent, Failed, Finished, ModelInfo, Stats
from tui_chat.chat.memory import format_bytes
from tui_chat.chat.params import SamplingParams
from tui_chat.engine.backend import Backend, GenerateRequest, LoadRequest
from tui_chat.errors import TuiChatError, UsageError

FILLER = "The quick brown fox jumps over the lazy dog, and then it writes another sentence. "
GREEDY = SamplingParams(temperature=0.0)
DEFAULT_CONTEXT = 512
"""Tokens of prompt and reply together, of models that can hold as many."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure."""

    load: LoadRequest
    context: int | None = None
    """Tokens of prompt and reply together, at most the model's; None is `DEFAULT_CONTEXT`, or the
    model's where that is smaller."""
    new_tokens: int = 128
    """Tokens to decode."""
    params: SamplingParams = GREEDY
    """What the reply is sampled with; its `max_new_tokens` is not used."""
    text: str = FILLER
    """What the prompt is made of, repeated until it is long enough."""
    paths: tuple[str, ...] = ("eager",)
    rounds: int = 3
    """The medians of this many rounds are reported."""


@dataclass(frozen=True, slots=True)
class BenchRun:
    """The figures of one path."""

    path: str
    model: str
    precision: str
    device: str
    context: int
    new_tokens: int
    load_s: float
    ttft_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    weight_bytes: int
    peak_bytes: int
    bandwidth_share: float
    """Weight bytes read per second of decoding against the measured read bandwidth, 0 to 1."""


def measure(backend: Backend, options: BenchOptions) -> list[BenchRun]:
    """Load the model and measure each path.

    Raises:
        UsageError: If the numbers make no sense, the model cannot hold as many tokens, or a path
            does not exist.
        TuiChatError: If the model cannot be loaded or a reply fails.
    """
    _check_numbers(options.context or DEFAULT_CONTEXT, options.new_tokens)
    unknown = [path for path in options.paths if path != "eager"]
    if unknown:
        raise UsageError(f"There is no path {unknown[0]!r}", "", "This version has: eager")
    info = backend.load(backend.preflight(options.load), _ignore, Event())
    context = options.context or min(DEFAULT_CONTEXT, info.context)
    if context > info.context:
        raise UsageError(
            f"A context of {context} tokens cannot be measured",
            f"{info.name} can hold {info.context}",
            f"Ask for at most {info.context}",
        )
    _check_numbers(context, options.new_tokens)
    return [_measure_path(backend, info, path, context, options) for path in options.paths]


def _check_numbers(context: int, new_tokens: int) -> None:
    if not 1 <= new_tokens < context:
        raise UsageError(
            "Nothing can be measured",
            f"{new_tokens} new tokens are asked for, and the context has {context}",
            "Choose at least 1 new token (--new) and a larger --context",
        )


def _measure_path(
    backend: Backend, info: ModelInfo, path: str, context: int, options: BenchOptions
) -> BenchRun:
    from tui_chat.engine.bandwidth import peak_bytes, read_bandwidth

    request = _request(backend, context, options)
    rounds = [_one_reply(backend, request, number) for number in range(options.rounds)]
    ttft = statistics.median(s.ttft_s for s in rounds)
    decode = statistics.median(s.decode_tokens_per_s for s in rounds)
    share = info.weight_bytes * decode / read_bandwidth(info.device)
    return BenchRun(
        path=path,
        model=info.name,
        precision=info.precision,
        device=info.device,
        context=context,
        new_tokens=rounds[0].completion_tokens,
        load_s=round(info.load_s, 3),
        ttft_s=round(ttft, 4),
        prefill_tokens_per_s=round(len(request.ids) / ttft, 1) if ttft else 0.0,
        decode_tokens_per_s=round(decode, 2),
        weight_bytes=info.weight_bytes,
        peak_bytes=peak_bytes(info.device),
        bandwidth_share=round(share, 4),
    )


def _request(backend: Backend, context: int, options: BenchOptions) -> GenerateRequest:
    """A prompt that fills the context but for the reply, which nothing but the length ends."""
    encoder = backend.encoder
    assert encoder is not None
    count = context - options.new_tokens
    ids = encoder.encode(options.text) or encoder.encode(FILLER)
    prompt = tuple((ids * (count // len(ids) + 1))[:count])
    params = options.params.with_values({"max_new_tokens": options.new_tokens, "stop": ()})
    seed = params.seed or 0
    return GenerateRequest(prompt, lambda: params, seed, (), context, ignore_eos=True)


def _one_reply(backend: Backend, request: GenerateRequest, number: int) -> Stats:
    """Write one reply; another first token each time keeps the KV cache out of it."""
    ids = (request.ids[(number + 1) % len(request.ids)], *request.ids[1:])
    ends: list[EngineEvent] = []
    backend.generate(
        replace(request, ids=ids), lambda e: ends.append(e) if _is_end(e) else None, Event()
    )
    end = ends[-1]
    if isinstance(end, Failed):
        raise TuiChatError(end.title, end.detail, end.hint)
    assert isinstance(end, Finished)
    return end.stats


def _is_end(event: EngineEvent) -> bool:
    return isinstance(event, Finished | Failed)


def _ignore(event: EngineEvent) -> None:
    del event


def report(runs: Sequence[BenchRun], as_json: bool) -> None:
    """Print the table, then one JSON line; only the JSON if asked for."""
    line = json.dumps([asdict(run) for run in runs])
    if as_json:
        print(line)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, *values in zip(*(_rows(run) for run in runs), strict=True):
        table.add_row(name[0], *(value[1] for value in (name, *values)))
    Console().print(table)
    print(line)


def _rows(run: BenchRun) -> list[tuple[str, str]]:
    """Names and figures for people, in the same order for every run."""
    return [
        ("path", run.path),
        ("model", f"{run.model} {run.precision} on {run.device}"),
        ("tokens", f"{run.context - run.new_tokens} read, {run.new_tokens} written"),
        ("load", f"{run.load_s:.2f} s"),
        ("time to first token", f"{run.ttft_s * 1000:.0f} ms"),
        ("prefill", f"{run.prefill_tokens_per_s:.0f} tok/s"),
        ("decode", f"{run.decode_tokens_per_s:.1f} tok/s"),
        ("weights", format_bytes(run.weight_bytes)),
        ("peak memory", format_bytes(run.peak_bytes)),
        ("read bandwidth used", f"{run.bandwidth_share:.1%}"),
    ]
