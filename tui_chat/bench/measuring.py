"""Runs a whole measurement: one load, the paths in alternating rounds, then the chats."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from threading import Event

from tui_chat.bench.decode_paths import check_paths
from tui_chat.bench.figures import (
    DEFAULT_CONTEXT,
    BenchOptions,
    BenchRun,
    ChatFigures,
    ContextFigures,
    Turn,
)
from tui_chat.bench.long_chat import check_window, measure_chat
from tui_chat.bench.meter import ReplyMeter
from tui_chat.chat.events import EngineEvent, ModelInfo, Stats
from tui_chat.engine.contract.backend import Backend, ReplyPath
from tui_chat.errors import UsageError

Tell = Callable[[str], None]
"""Called with a sentence about what is being done."""


def _ignore(event: EngineEvent | str) -> None:
    del event


def measure(backend: Backend, options: BenchOptions, tell: Tell = _ignore) -> list[BenchRun]:
    """Load the model and measure each path.

    Every path is prepared before anything is measured, so an unavailable one is reported at once.
    The peak memory is read before the bandwidth is measured, whose buffer would count otherwise.

    Args:
        backend: A backend without a model. The model stays loaded afterwards.
        options: What to measure.
        tell: Called with a sentence about each step.

    Returns:
        The figures of each path, in the order of the options.

    Raises:
        UsageError: If the numbers make no sense, the context is larger than the model's, or a path
            does not exist.
        TuiChatError: If the model cannot be loaded, a path is not available, or a reply fails.
    """
    from tui_chat.engine.machine.bandwidth import peak_bytes, read_bandwidth

    check_paths(options.paths)
    _check_numbers(options.context or DEFAULT_CONTEXT, options.new_tokens)
    info = backend.load(backend.preflight(options.load), _ignore, Event())
    context = _context(info, options)
    meter = ReplyMeter(backend, info, options)
    if options.chat_turns:
        check_window(meter, context)
    for path in options.paths:
        tell(f"Preparing {path}")
        meter.use(path)
    speeds = _speeds(meter, context, options)
    chats: dict[str, tuple[tuple[Turn, ...], ChatFigures | None]] = {}
    for path in options.paths if options.chat_turns else ():
        tell(f"Chatting {options.chat_turns} turns on {path}")
        meter.use(path)
        chats[path] = measure_chat(meter, context, options.chat_turns, options.rounds)
    peak = peak_bytes(info.device)
    bandwidth = read_bandwidth(info.device)
    return [
        _run(path, info, speeds[path], peak, bandwidth, options, chats.get(path))
        for path in options.paths
    ]


def _context(info: ModelInfo, options: BenchOptions) -> int:
    """Return the context to measure at, in tokens.

    Raises:
        UsageError: If the context is larger than the model's, or leaves no room for a prompt.
    """
    standard = info.context if options.chat_turns else min(DEFAULT_CONTEXT, info.context)
    context = options.context or standard
    if context > info.context:
        raise UsageError(
            f"A context of {context} tokens cannot be measured",
            f"{info.name} can hold {info.context}",
            f"Ask for at most {info.context}",
        )
    _check_numbers(context, options.new_tokens)
    return context


def _check_numbers(context: int, new_tokens: int) -> None:
    if not 1 <= new_tokens < context:
        raise UsageError(
            "Nothing can be measured",
            f"{new_tokens} new tokens are asked for, and the context has {context}",
            "Choose at least 1 new token (--new) and a larger --context",
        )


def _speeds(
    meter: ReplyMeter, context: int, options: BenchOptions
) -> dict[str, tuple[ContextFigures, ...]]:
    """Measure each path at each context, smallest first; rounds alternate between the paths."""
    sizes = {context: options.new_tokens}
    if options.over_contexts:
        smaller = [size for part in (4, 2) if (size := context // part) >= 2]
        sizes = {size: min(options.new_tokens, size // 2) for size in smaller} | sizes
    requests = {size: meter.filled(new, size) for size, new in sizes.items()}
    costs: dict[tuple[str, int], list[Stats]] = {}
    for _ in range(options.rounds):
        for size, request in requests.items():
            for path in options.paths:
                meter.use(path)
                costs.setdefault((path, size), []).append(meter.write_fresh(request).stats)
    return {
        path: tuple(_context_figures(size, costs[path, size]) for size in sizes)
        for path in options.paths
    }


def _context_figures(context: int, rounds: Sequence[Stats]) -> ContextFigures:
    ttft = statistics.median(stats.ttft_s for stats in rounds)
    decode = statistics.median(stats.decode_tokens_per_s for stats in rounds)
    return ContextFigures(
        context=context,
        new_tokens=rounds[0].completion_tokens,
        ttft_s=round(ttft, 4),
        prefill_tokens_per_s=round(rounds[0].prompt_tokens / ttft, 1) if ttft else 0.0,
        decode_tokens_per_s=round(decode, 2),
    )


def _run(
    path: ReplyPath,
    info: ModelInfo,
    speeds: tuple[ContextFigures, ...],
    peak: int,
    bandwidth: float,
    options: BenchOptions,
    chat: tuple[tuple[Turn, ...], ChatFigures | None] | None,
) -> BenchRun:
    whole = speeds[-1]
    per_token = info.bytes_per_token or info.weight_bytes
    return BenchRun(
        path=path,
        model=info.name,
        precision=info.precision,
        device=info.device,
        context=whole.context,
        new_tokens=whole.new_tokens,
        load_s=round(info.load_s, 3),
        ttft_s=whole.ttft_s,
        prefill_tokens_per_s=whole.prefill_tokens_per_s,
        decode_tokens_per_s=whole.decode_tokens_per_s,
        weight_bytes=info.weight_bytes,
        peak_bytes=peak,
        bandwidth_share=round(per_token * whole.decode_tokens_per_s / bandwidth, 4),
        bytes_per_token=per_token,
        read_bandwidth=round(bandwidth),
        contexts=speeds if options.over_contexts else (),
        turns=chat[0] if chat else (),
        chat=chat[1] if chat else None,
    )
