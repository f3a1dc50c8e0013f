"""Switching between precisions again and again: does memory come back?

    python -m benchmarks.switching [--switches N] [--layers N] [--width N] [--reply N]

Loads a model with random weights in one precision after the other, has it reply, and frees it.
Prints what the process holds after each, what is left at the end against the first time, and the
trend (least squares) over all of them and over the second half, when all libraries have been
loaded. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from benchmarks.sharded_model import make_sharded_model
from tui_chat.chat.events import EngineEvent, Finished
from tui_chat.chat.params import NEUTRAL
from tui_chat.engine.contract.backend import GenerateRequest, LoadRequest
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.local import LocalBackend
from tui_chat.engine.machine.devices import memory_in_use

PRECISIONS = ("bf16", "8bit", "fp32", "4bit")
MIB = 1024**2
PROMPT = tuple(range(300, 400))


def reply(backend: LocalBackend, tokens: int) -> None:
    """Have the loaded model write that many tokens."""
    params = NEUTRAL.with_values({"temperature": 0, "max_new_tokens": tokens})
    context = len(PROMPT) + tokens
    request = GenerateRequest(PROMPT, lambda: params, 1, (), context, ignore_eos=True)
    events: list[EngineEvent] = []
    backend.generate(request, events.append, Event())
    if not isinstance(events[-1], Finished):
        raise SystemExit(f"no reply: {events[-1]}")


def measure(
    folder: Path,
    switches: int,
    tokens: int,
    device: str = "cpu",
    precisions: Sequence[str] = PRECISIONS,
) -> list[int]:
    """Bytes that the process holds, on a GPU those it has there, after each model was freed.

    Args:
        folder: The model.
        switches: How often one is loaded.
        tokens: Of the reply of each.
        device: `cpu` or `cuda:0`.
        precisions: In which it is loaded in turn.
    """
    backend = LocalBackend(Registry({}))
    after = []
    for number, precision in enumerate(itertools.islice(itertools.cycle(precisions), switches)):
        request = LoadRequest(str(folder), precision=precision, device=device, template="raw")
        backend.load(request, lambda _: None, Event())
        loaded = memory_in_use(device)
        reply(backend, tokens)
        backend.unload()
        after.append(memory_in_use(device))
        print(
            f"{number + 1:>3}  {precision:>5}  loaded {loaded / MIB:8.1f} MiB, "
            f"after {after[-1] / MIB:8.1f} MiB",
            flush=True,
        )
    return after


def trend(values: list[int]) -> float:
    """Growth from one value to the next, by least squares."""
    return statistics.linear_regression(range(len(values)), values).slope


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--vocab", type=int, default=50304)
    parser.add_argument("--reply", type=int, default=16, help="tokens of each reply")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = make_sharded_model(Path(folder), options.layers, options.width, options.vocab)
        after = measure(model, options.switches, options.reply)
    figures = {
        "trend_mib_per_switch": trend(after) / MIB,
        "later_mib_per_switch": trend(after[len(after) // 2 :]) / MIB,
        "residual_mib": (after[-1] - after[0]) / MIB,
        "largest_residual_mib": (max(after) - after[0]) / MIB,
    }
    for name, value in figures.items():
        print(f"{name:>22}  {value:.2f}")
    shape = {key: getattr(options, key) for key in ("switches", "layers", "width", "vocab")}
    print(json.dumps({"measurement": "switching", **shape, **figures, "after_bytes": after}))


if __name__ == "__main__":
    main()
