"""A large model in 8 bits on the CPU, by transformers and bitsandbytes alone and by the chat.

    python -m benchmarks.large_model [--layers N] [--width N] [--vocab N] [--rounds N]

Writes a checkpoint with random weights (by default in the shape of Pythia-12B: 24 GB on the disk),
loads it and has it reply, alternating in fresh processes, and removes it. The files are dropped
from the page cache before each load, so that everybody reads from the disk; how long that takes
by itself is measured in each round too. Ends with one JSON line. Linux only.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from benchmarks.sharded_model import make_sharded_model

READ = 1024**2


def prompt_ids(count: int) -> tuple[int, ...]:
    """A prompt of words in the guide's tokenizer, which begin at about 300."""
    return tuple(300 + i % 1000 for i in range(count))


def drop_from_page_cache(folder: Path) -> None:
    """Make the next reader of the files read from the disk."""
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())  # only clean pages can be dropped
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_all(folder: Path) -> float:
    """Seconds for reading the weights from front to back, and doing nothing with them."""
    buffer = memoryview(bytearray(READ))
    began = time.perf_counter()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
    return time.perf_counter() - began


def memory() -> dict[str, int]:
    """Bytes of this process: resident, what of it is pages of files, and the most there was."""
    status = Path("/proc/self/status").read_text()
    names = {"resident": "VmRSS", "mapped": "RssFile", "peak": "VmHWM"}
    found = {key: re.search(rf"{name}:\s+(\d+) kB", status) for key, name in names.items()}
    return {key: int(match[1]) * 1024 for key, match in found.items() if match}


class TokenTimes:
    """Notes when each token of `generate` arrives; the prompt comes first."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, _: Any) -> None:
        self.at.append(time.perf_counter())

    def end(self) -> None:
        """Required of a streamer."""


def with_libraries_alone(options: argparse.Namespace) -> dict[str, Any]:
    """Load and reply with transformers and bitsandbytes as their manuals say."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    prompt, new = prompt_ids(options.prompt), options.new
    before = memory()
    began = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(
        options.folder,
        quantization_config=BitsAndBytesConfig(load_in_8bit=True),
        dtype="auto",
        device_map="cpu",
    )
    load_s = time.perf_counter() - began
    loaded = memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    times = TokenTimes()
    began = time.perf_counter()
    model.generate(
        torch.tensor([list(prompt)]),
        max_new_tokens=new,
        min_new_tokens=new,
        do_sample=False,
        streamer=times,
    )
    first, last = times.at[1], times.at[-1]
    return {
        "load_s": load_s,
        "prefill_s": first - began,
        "decode_tokens_per_s": (new - 1) / (last - first),
        **_memory_figures(before, loaded, int(model.get_memory_footprint())),
    }


def with_the_chat(options: argparse.Namespace) -> dict[str, Any]:
    """Load and reply as the chat does."""
    from tui_chat.chat.events import EngineEvent, Finished
    from tui_chat.chat.params import NEUTRAL
    from tui_chat.engine.contract.backend import GenerateRequest, LoadRequest
    from tui_chat.engine.files.registry import Registry
    from tui_chat.engine.local import LocalBackend

    prompt, new = prompt_ids(options.prompt), options.new
    backend = LocalBackend(Registry({}), threads=options.threads)
    wanted = backend.preflight(
        LoadRequest(str(options.folder), precision="8bit", device="cpu", template="raw")
    )
    before = memory()
    began = time.perf_counter()
    info = backend.load(wanted, lambda _: None, Event())
    load_s = time.perf_counter() - began
    loaded = memory()
    params = NEUTRAL.with_values({"temperature": 0, "max_new_tokens": new})
    request = GenerateRequest(prompt, lambda: params, 1, (), len(prompt) + new, ignore_eos=True)
    events: list[EngineEvent] = []
    backend.generate(request, events.append, Event())
    end = events[-1]
    if not isinstance(end, Finished):
        raise SystemExit(f"no reply: {end}")
    return {
        "load_s": load_s,
        "prefill_s": end.stats.ttft_s,
        "decode_tokens_per_s": end.stats.decode_tokens_per_s,
        **_memory_figures(before, loaded, info.weight_bytes),
    }


def _memory_figures(before: dict[str, int], loaded: dict[str, int], weights: int) -> dict[str, Any]:
    now = memory()
    return {
        "weight_bytes": weights,
        "resident_before": before["resident"],
        "resident_loaded": loaded["resident"],
        "mapped_loaded": loaded["mapped"],
        "peak_loaded": loaded["peak"],
        "resident_after_reply": now["resident"],
        "peak": now["peak"],
        "loaded_to_weights": loaded["resident"] / weights,
        "after_reply_to_weights": now["resident"] / weights,
    }


def import_libraries() -> None:
    """Have everything imported before, so that loading is loading for everybody."""
    for name in (
        "bitsandbytes",
        "transformers.models.gpt_neox",
        "tui_chat.engine.replies.generation",
    ):
        importlib.import_module(name)


WAYS = {"stock": with_libraries_alone, "chat": with_the_chat}


def in_fresh_process(way: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Load and reply in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.large_model", "--in-process", way, "--folder",
            str(folder), "--prompt", str(options.prompt), "--new", str(options.new)]  # fmt: skip
    if options.threads:
        argv += ["--threads", str(options.threads)]
    ended = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise SystemExit(f"{way} ended with {ended.returncode}; to see why: {' '.join(argv)}")
    figures: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return figures


@contextmanager
def checkpoint(options: argparse.Namespace) -> Iterator[Path]:
    """The model on the disk, removed afterwards unless it was there before."""
    if options.folder is not None:
        yield options.folder
        return
    with tempfile.TemporaryDirectory(dir=options.where) as folder:
        yield make_sharded_model(Path(folder), options.layers, options.width, options.vocab)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the rounds, and of the ratios in each."""
    rounds: list[dict[str, Any]] = []
    with checkpoint(options) as folder:
        for _ in range(options.rounds):
            drop_from_page_cache(folder)
            measured: dict[str, Any] = {"read_s": read_all(folder)}
            for way in WAYS:
                drop_from_page_cache(folder)
                measured[way] = in_fresh_process(way, folder, options)
                print(f"{way:>6}  {_in_words(measured[way])}", flush=True)
            rounds.append(measured)
    return {
        "read_s": statistics.median(r["read_s"] for r in rounds),
        **{
            way: {key: statistics.median(r[way][key] for r in rounds) for key in rounds[0][way]}
            for way in WAYS
        },
        "load_to_read": statistics.median(r["chat"]["load_s"] / r["read_s"] for r in rounds),
        **{
            f"{name}_ratio": statistics.median(r["chat"][key] / r["stock"][key] for r in rounds)
            for name, key in (
                ("load", "load_s"),
                ("prefill", "prefill_s"),
                ("decode", "decode_tokens_per_s"),
                ("resident_loaded", "resident_loaded"),
                ("peak", "peak"),
            )
        },
    }


def _in_words(figures: dict[str, Any]) -> str:
    gb = {key: value / 1e9 for key, value in figures.items()}
    return (
        f"loaded in {figures['load_s']:.1f} s; weights {gb['weight_bytes']:.2f} GB, resident "
        f"{gb['resident_loaded']:.2f} GB ({gb['mapped_loaded']:.2f} of files), after a reply "
        f"{gb['resident_after_reply']:.2f}, peak {gb['peak']:.2f}; prefill "
        f"{figures['prefill_s']:.2f} s, {figures['decode_tokens_per_s']:.2f} tok/s"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--width", type=int, default=5120)
    parser.add_argument("--vocab", type=int, default=50288)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=256, help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=32, help="tokens of the reply")
    parser.add_argument("--threads", type=int, help="for the reply; 1 where others compute too")
    parser.add_argument("--where", type=Path, help="folder for the checkpoint, on a real disk")
    parser.add_argument("--folder", type=Path, help="a checkpoint that is there; it is kept")
    parser.add_argument("--in-process", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        import_libraries()
        print(json.dumps(WAYS[options.in_process](options)))
        return
    keys = ("layers", "width", "vocab", "rounds", "threads")
    shape = {key: getattr(options, key) for key in keys}
    figures = measure(options)
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"{name:>22}  {value:.3f}")
    print(json.dumps({"measurement": "large-model", **shape, **figures}))


if __name__ == "__main__":
    main()
