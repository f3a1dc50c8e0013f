"""Our decode paths beside plain `generate` and llama.cpp, on the same weights.

    python -m benchmarks.peers [--layers 24 --width 1024 --heads 16 --rows 50304] [--context 512]
                               [--new 128] [--rounds 5] [--engines turbo,llama.cpp] [--device cpu]

Makes a GPT-NeoX with random weights (by default of Pythia-410M's shape) and gives it to each
engine, in a process of its own that stays loaded. One of them computes at a time, in alternating
rounds; the first round warms up and does not count. Prints medians and ratios, then one JSON line.

llama.cpp is no dependency of the package. In an environment of your own:

    pip install llama-cpp-python gguf

Nothing else may run meanwhile: threads that wait for each other in busy loops, as llama.cpp's do,
lose far more to other work than one thread. The load before the first round is said.

An engine that is not installed, or cannot run here, is left out and said to be.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peer_engines import ENGINES
from tui_chat.engine.machine.devices import usable_cores

ON_CPU = ("generate", "eager", "turbo", "eager-int8", "turbo-int8", "llama.cpp", "llama.cpp-q8_0")
"""What is compared unless `--engines` says otherwise."""
GGUF_TYPES = {"llama.cpp": "bf16", "llama.cpp-q8_0": "q8_0"}
RATIOS = (
    ("turbo-int8", "llama.cpp-q8_0"),
    ("turbo", "llama.cpp"),
    ("turbo", "generate"),
    ("turbo-int8", "generate"),
    ("turbo-fp16", "generate-fp16"),
    ("eager", "generate"),
    ("turbo", "eager"),
    ("turbo-int8", "turbo"),
)
"""Pairs whose decode speeds are set against each other."""
SHAPE = ("layers", "width", "heads", "rows")
_MODULES = {"llama_cpp": "llama-cpp-python", "gguf": "gguf"}
_IDS = 3000
"""Prompts are made of so many ids, all of which have a text in the tokenizer,"""
_FIRST_ID = 16
"""beginning after the control tokens."""


class NotAvailableError(Exception):
    """An engine that cannot be compared here; its text says why."""


@dataclass(frozen=True, slots=True)
class Round:
    """One reply of one engine."""

    tokens: tuple[int, ...]
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    resident_bytes: int


class EngineProcess:
    """An engine in a process of its own, which ends with the block.

    Args:
        name: Of `ENGINES`.
        model: Its directory or file.
        options: The command line.

    Raises:
        NotAvailableError: If it cannot be loaded.
    """

    def __init__(self, name: str, model: Path, options: argparse.Namespace) -> None:
        numbers = (str(options.context), str(options.threads), options.device)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer_engines", name, str(model), *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self._answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def write(self, ids: Sequence[int], new: int) -> Round:
        """Have one reply written."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"ids": list(ids), "new": new}) + "\n")
        self._process.stdin.flush()
        facts = self._answer()
        return Round(
            tuple(facts["tokens"]),
            len(ids) / facts["prefill_s"],
            (new - 1) / facts["decode_s"],
            facts["resident_bytes"],
        )

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        facts: dict[str, Any] = json.loads(line) if line else {"failed": "The process ended"}
        if "failed" in facts:
            raise NotAvailableError(facts["failed"])
        return facts


def start(name: str, folder: Path, options: argparse.Namespace) -> EngineProcess:
    """Load one engine, converting the weights for it where it needs that.

    Raises:
        NotAvailableError: If it is not installed or cannot run here.
    """
    kind = GGUF_TYPES.get(name)
    if kind is None:
        return EngineProcess(name, folder, options)
    for module, package in _MODULES.items():
        if importlib.util.find_spec(module) is None:
            raise NotAvailableError(
                f"{package} is not installed: pip install {' '.join(_MODULES.values())}"
            )
    file = folder / f"{kind}.gguf"
    run_module("benchmarks.gguf_model", str(folder), str(file), "--type", kind)
    return EngineProcess(name, file, options)


def run_module(module: str, *arguments: str) -> None:
    """Run a step in a process of its own, whose memory is free afterwards.

    What it has to say is only shown if it fails, which ends the program.
    """
    argv = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{module} failed:\n{done.stderr}")


def prompt(number: int, length: int) -> list[int]:
    """The prompt of one round; no two begin alike, so that no engine finds it in a cache."""
    return [_FIRST_ID + (number + step * 37) % _IDS for step in range(length)]


def compare(options: argparse.Namespace) -> tuple[dict[str, list[Round]], dict[str, str]]:
    """Run all rounds.

    Returns:
        The rounds of each engine that runs here, and why the others do not.
    """
    rounds: dict[str, list[Round]] = {name: [] for name in options.engines}
    missing: dict[str, str] = {}

    def leave_out(name: str, error: NotAvailableError) -> None:
        missing[name] = str(error)
        del rounds[name]
        print(f"{name:>16}  not available: {error}", flush=True)

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        shape = [f"--{part}={getattr(options, part)}" for part in SHAPE]
        run_module("benchmarks.random_model", folder, *shape)
        running: dict[str, EngineProcess] = {}
        for name in options.engines:
            try:
                running[name] = stack.enter_context(start(name, Path(folder), options))
            except NotAvailableError as error:
                leave_out(name, error)
        for number in range(options.rounds + 1):
            ids = prompt(number, options.context - options.new)
            for name in tuple(rounds):
                try:
                    done = running[name].write(ids, options.new)
                except NotAvailableError as error:
                    leave_out(name, error)
                    continue
                if number:
                    rounds[name].append(done)
    return rounds, missing


def summary(rounds: dict[str, list[Round]], missing: dict[str, str]) -> dict[str, Any]:
    """Medians and extremes of each engine, and medians of the ratios of pairs."""
    engines: dict[str, dict[str, Any]] = {
        name: {
            "decode_tokens_per_s": round(statistics.median(r.decode_tokens_per_s for r in all_), 2),
            "decode_least": round(min(r.decode_tokens_per_s for r in all_), 2),
            "decode_most": round(max(r.decode_tokens_per_s for r in all_), 2),
            "prefill_tokens_per_s": round(
                statistics.median(r.prefill_tokens_per_s for r in all_), 1
            ),
            "resident_bytes": max(r.resident_bytes for r in all_),
        }
        for name, all_ in rounds.items()
    }
    engines |= {name: {"not_available": why} for name, why in missing.items()}
    ratios = {
        f"{a} / {b}": round(
            statistics.median(
                x.decode_tokens_per_s / y.decode_tokens_per_s
                for x, y in zip(rounds[a], rounds[b], strict=True)
            ),
            3,
        )
        for a, b in RATIOS
        if a in rounds and b in rounds
    }
    return {"engines": engines, "ratios": ratios, "same_tokens": same_tokens(rounds)}


def same_tokens(rounds: dict[str, list[Round]]) -> float | None:
    """Share of the replies that llama.cpp begins as plain `generate` does, for as long as it does.

    Not all of it in bf16, where sums in another order choose another token now and then; next to
    nothing where the weights are not the same. None without both of them.
    """
    if not {"generate", "llama.cpp"} <= set(rounds):
        return None
    alike = total = 0
    for ours, theirs in zip(rounds["generate"], rounds["llama.cpp"], strict=True):
        pairs = [a == b for a, b in zip(ours.tokens, theirs.tokens, strict=True)]
        alike += pairs.index(False) if False in pairs else len(pairs)
        total += len(pairs)
    return round(alike / total, 3)


def print_table(figures: dict[str, Any]) -> None:
    """The figures for people."""
    for name, values in figures["engines"].items():
        if "not_available" not in values:
            print(
                f"{name:>16}  decode {values['decode_tokens_per_s']:7.2f} tok/s "
                f"({values['decode_least']:.2f} to {values['decode_most']:.2f})   "
                f"prefill {values['prefill_tokens_per_s']:8.1f} tok/s   "
                f"resident {values['resident_bytes'] / 2**20:6.0f} MiB"
            )
    for name, value in figures["ratios"].items():
        print(f"{name:>32}  {value:.3f}")
    if figures["same_tokens"] is not None:
        print(f"llama.cpp writes what generate does for {figures['same_tokens']:.0%} of a reply")


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; wrong usage ends the program with one sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, number, text in (
        ("layers", 24, "layers of the model"),
        ("width", 1024, "its hidden size, a multiple of 64"),
        ("heads", 16, "its attention heads"),
        ("rows", 50304, "rows of its embeddings"),
        ("context", 512, "tokens of prompt and reply together"),
        ("new", 128, "tokens to write"),
        ("rounds", 5, "rounds that count"),
        ("threads", usable_cores(), "threads of generate and llama.cpp; ours chooses"),
    ):
        parser.add_argument(f"--{name}", type=int, default=number, metavar="N", help=text)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--engines", default=",".join(ON_CPU), help=f"of {', '.join(ENGINES)}")
    options = parser.parse_args(arguments)
    options.engines = list(dict.fromkeys(options.engines.split(",")))
    for name in options.engines:
        if name not in ENGINES:
            parser.error(f"there is no engine {name!r}; choose of {', '.join(ENGINES)}")
    if not 2 <= options.new < options.context or options.rounds < 1:
        parser.error("at least 2 new tokens, a larger context and 1 round are needed")
    return options


def main() -> None:
    """Compare, print the table, then one JSON line."""
    options = parsed()
    load = round(os.getloadavg()[0], 2)
    if load > 0.5:
        print(f"The machine is busy (load {load}): do not trust the ratios", flush=True)
    figures = summary(*compare(options))
    print_table(figures)
    print(json.dumps({**vars(options), "load_average": load, **figures}))


if __name__ == "__main__":
    main()
