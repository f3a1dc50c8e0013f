"""Several replies to one prompt: in one batch against one after the other, on the built-in model.

    python -m benchmarks.several_replies [--model NAME] [--count N] [--tokens N] [--rounds N]
                                         [--turbo]

Both ways alternate, so that a shared machine slows them alike. Prints tokens per second of all
replies together, from the request to the last token, with the prompt computed anew each time; the
median of the rounds. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from threading import Event

from tui_chat.bench.decode_paths import check_path
from tui_chat.chat.events import EngineEvent, Failed, Finished
from tui_chat.chat.params import NEUTRAL
from tui_chat.engine.contract.backend import GenerateRequest, LoadRequest, ReplyPath
from tui_chat.engine.local import LocalBackend

PROMPT_TOKENS = 200


def requests(count: int, tokens: int, first: int) -> list[GenerateRequest]:
    """Requests with different seeds for a prompt that begins with a token nobody had before."""
    params = NEUTRAL.with_values({"max_new_tokens": tokens})
    ids = (first, *range(300, 300 + PROMPT_TOKENS - 1))
    context = len(ids) + tokens
    return [
        GenerateRequest(ids, lambda: params, seed, (), context, ignore_eos=True)
        for seed in range(count)
    ]


def together(backend: LocalBackend, wanted: list[GenerateRequest]) -> int:
    """Write all in one batch; returns the tokens."""
    ends: list[EngineEvent] = []

    def emit(number: int, event: EngineEvent) -> None:
        if isinstance(event, Finished | Failed):
            ends.append(event)

    backend.generate_several(wanted, emit, [Event() for _ in wanted])
    return sum(written(end) for end in ends)


def in_turn(backend: LocalBackend, wanted: list[GenerateRequest], path: ReplyPath) -> int:
    """Write one after the other on a path, the prompt computed once; returns the tokens."""
    total = 0
    for request in wanted:
        events: list[EngineEvent] = []
        backend.generate(request, events.append, Event())
        total += written(events[-1])
        if isinstance(events[-1], Finished):
            check_path(events[-1].stats, path)
    return total


def written(end: EngineEvent) -> int:
    """The tokens of a finished reply."""
    if not isinstance(end, Finished):
        raise SystemExit(f"no reply: {end}")
    return end.stats.completion_tokens


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="guide")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=100, help="of each reply")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turbo", action="store_true", help="one after the other on turbo")
    options = parser.parse_args()
    backend = LocalBackend(turbo="auto" if options.turbo else "off")
    info = backend.load(LoadRequest(options.model, options.precision), lambda _: None, Event())
    path: ReplyPath = "turbo" if options.turbo else "eager"
    backend.choose_path(path, Event())
    rates: dict[str, list[float]] = {"together": [], "in_turn": []}
    for round_number in range(options.rounds + 1):
        for name, write in (("together", together), ("in_turn", partial(in_turn, path=path))):
            first = 600 + 2 * round_number + (name == "in_turn")
            wanted = requests(options.count, options.tokens, first)
            began = time.perf_counter()
            tokens = write(backend, wanted)
            if round_number:  # the first round warms up
                rates[name].append(tokens / (time.perf_counter() - began))
    backend.unload()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{info.name} in {info.precision} on {info.device}, {options.count} replies of")
    print(f"{options.tokens} tokens to a prompt of {PROMPT_TOKENS}, {options.rounds} rounds\n")
    for name, median in medians.items():
        low, high = min(rates[name]), max(rates[name])
        print(f"{name.replace('_', ' '):>9}  {median:7.1f} tok/s  ({low:.1f} to {high:.1f})")
    print(f"\n{medians['together'] / medians['in_turn']:.2f} times as many\n")
    facts = {"model": info.name, "precision": info.precision, "device": info.device}
    print(json.dumps(facts | {"count": options.count, "turbo": options.turbo} | medians))


if __name__ == "__main__":
    main()
