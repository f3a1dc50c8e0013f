"""Everything that is to be measured on a GPU, with one command.

    python -m benchmarks.gpu [--layers 36 --width 5120 --vocab 50288] [--device cuda:0]
                             [--parts decode,cancel,memory,precisions,switches] [--where FOLDER]

Writes a checkpoint with random weights, made on the device, by default in the shape of
Pythia-12B (24 GB on the disk), and loads it as the chat does. The parts:

    decode      fp16: plain `generate`, the eager path and turbo in alternating rounds on the same
                weights; the share of the memory bandwidth; the time to the first token
    cancel      from the cancelling of a reply to its end, while it reads the prompt and while it
                writes
    memory      a prompt for which there is no memory fails, and the next reply is as before it
    precisions  int8 (eager and turbo), 8bit and 4bit: loading and decoding
    switches    what stays allocated after each of 20 loads of a smaller model

Prints a row as soon as it is known, then one JSON line. A part that fails is said at the end; the
others are measured all the same. With `--device cpu` and a small shape it runs anywhere.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from benchmarks import switching
from benchmarks.peer_engines import generated
from benchmarks.sharded_model import make_sharded_model
from tui_chat.bench import BenchOptions
from tui_chat.bench.meter import ReplyMeter
from tui_chat.chat.events import Delta, EngineEvent, Failed, Finished, ModelInfo, Prefill
from tui_chat.chat.model_size import Precision
from tui_chat.engine.contract.backend import GenerateRequest, LoadRequest, ReplyPath
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.local import LocalBackend
from tui_chat.engine.machine.bandwidth import peak_bytes, read_bandwidth
from tui_chat.engine.machine.devices import memory_in_use, resolve_device, support_of
from tui_chat.errors import TuiChatError

MIB = 2**20
GOALS = {
    "decode.turbo_to_generate": "at least 3",
    "decode.turbo.bandwidth_share": "at least 0.75",
    "switches.residual_mib": "at most 64",
    "cancel.prefill.largest_ms": "at most 150",
    "cancel.decode.largest_ms": "at most 150",
}
SWITCHED: tuple[Precision, ...] = ("fp16", "8bit", "int8", "4bit")
"""The precisions of the part `switches`."""
QUANTISED: tuple[Precision, ...] = ("int8", "8bit", "4bit")
BALLAST_LEFT = 48 * MIB
"""What the part `memory` leaves of a GPU."""


class Figures:
    """What is known so far: printed as it comes."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.failed: dict[str, str] = {}

    def add(self, name: str, value: Any) -> None:
        """One row."""
        self.values[name] = round(value, 4) if isinstance(value, float) else value
        goal = f"   (goal: {GOALS[name]})" if name in GOALS else ""
        print(f"{name:<38} {self.values[name]}{goal}", flush=True)


class Loaded:
    """The model in one precision, which is freed at the end of the block.

    Args:
        folder: Its files.
        precision: As `--precision` of the chat.
        options: The command line.
    """

    def __init__(self, folder: Path, precision: str, options: argparse.Namespace) -> None:
        self._load = LoadRequest(str(folder), precision, options.device, "raw", options.positions)
        self.backend = LocalBackend(Registry({}))
        self.info: ModelInfo
        self.meter: ReplyMeter

    def __enter__(self) -> Loaded:
        wanted = self.backend.preflight(self._load)
        self.info = self.backend.load(wanted, lambda event: None, Event())
        self.meter = ReplyMeter(self.backend, self.info, BenchOptions(self._load))
        return self

    def __exit__(self, *error: object) -> None:
        self.backend.unload()

    @property
    def model(self) -> Any:
        """The model as transformers has it."""
        loaded = self.backend._loaded
        assert loaded is not None
        return loaded.model

    def share(self, tokens_per_s: float, bandwidth: float) -> float:
        """Of the memory bandwidth, what decoding at this speed uses for the weights."""
        return (self.info.bytes_per_token or self.info.weight_bytes) * tokens_per_s / bandwidth

    def prepared(self, path: ReplyPath) -> float:
        """Have a path ready, and one reply written on it; the seconds that took."""
        began = time.perf_counter()
        self.meter.use(path)
        self.meter.write_fresh(self.meter.filled(4, 64))
        return time.perf_counter() - began


def decode(model: Loaded, figures: Figures, options: argparse.Namespace) -> None:
    """`generate`, eager and turbo on the same weights, in alternating rounds."""
    figures.add("decode.load_s", model.info.load_s)
    figures.add("decode.weight_gib", model.info.weight_bytes / 2**30)
    for path in options.paths:
        figures.add(f"decode.{path}.prepared_s", model.prepared(path))
    request = model.meter.filled(options.new, options.context)
    speeds: dict[str, list[float]] = {name: [] for name in ("generate", *options.paths)}
    first: list[float] = []
    replies: dict[str, tuple[int, ...]] = {}
    for number in range(options.rounds + 1):
        ids, _, rest_s = generated(model.model, request.ids, options.new)
        replies["generate"] = tuple(ids)
        speeds["generate"].append((options.new - 1) / rest_s)
        for path in options.paths:
            model.meter.use(path)
            first.append(model.meter.write_fresh(request).stats.ttft_s)
            written = model.meter.write(request)
            replies[path] = written.token_ids
            speeds[path].append(written.stats.decode_tokens_per_s)
        if not number:  # to warm up
            speeds = {name: [] for name in speeds}
            first.clear()
    bandwidth = figures.values["read_bandwidth"]
    for name, measured in speeds.items():
        speed = statistics.median(measured)
        figures.add(f"decode.{name}.tokens_per_s", speed)
        figures.add(f"decode.{name}.bandwidth_share", model.share(speed, bandwidth))
    for name in options.paths:
        pairs = zip(speeds[name], speeds["generate"], strict=True)
        figures.add(f"decode.{name}_to_generate", statistics.median(a / b for a, b in pairs))
        same = [a == b for a, b in zip(replies[name], replies["generate"], strict=True)]
        alike = same.index(False) if False in same else len(same)
        figures.add(f"decode.{name}.tokens_as_generate", f"{alike} of {len(same)}")
    figures.add("decode.ttft_ms", statistics.median(first) * 1000)
    figures.add("decode.prompt_tokens", len(request.ids))
    figures.add("decode.peak_gib", peak_bytes(model.info.device) / 2**30)


def cancel(model: Loaded, figures: Figures, options: argparse.Namespace) -> None:
    """How long a reply goes on after it was cancelled."""
    model.meter.use(options.paths[-1])
    request = model.meter.filled(options.new, options.positions)

    def is_reading(event: EngineEvent) -> bool:
        return isinstance(event, Prefill) and 0 < event.done < event.new

    stages: dict[str, Callable[[EngineEvent], bool]] = {
        "prefill": is_reading,
        "decode": lambda event: isinstance(event, Delta),
    }
    for stage, is_time in stages.items():
        waits = []
        for number in range(options.cancels):
            # A prompt of which no KV cache holds anything.
            prompt = model.meter.with_new_id(request.ids, 0, number)
            waits.append(_cancelled(model, replace(request, ids=prompt), is_time))
        figures.add(f"cancel.{stage}.median_ms", statistics.median(waits) * 1000)
        figures.add(f"cancel.{stage}.largest_ms", max(waits) * 1000)


def _cancelled(
    model: Loaded, request: GenerateRequest, is_time: Callable[[EngineEvent], bool]
) -> float:
    """Cancel a reply at the first event of a kind; the seconds until it ended."""
    stop = Event()
    cancelled_at = 0.0
    end: EngineEvent | None = None

    def take(event: EngineEvent) -> None:
        nonlocal cancelled_at, end
        end = event
        if not cancelled_at and is_time(event):
            cancelled_at = time.perf_counter()
            stop.set()

    model.backend.generate(request, take, stop)
    seconds = time.perf_counter() - cancelled_at
    if not isinstance(end, Finished) or end.reason != "cancelled":
        raise TuiChatError("A reply was not cancelled", f"It ended with {end}")
    return seconds


def memory(model: Loaded, figures: Figures, options: argparse.Namespace) -> None:
    """Run out of memory in a long prompt, then reply as before."""
    model.meter.use(options.paths[-1])
    short = model.meter.filled(16, 64)
    before = model.meter.write(short)
    ends: list[EngineEvent] = []
    with _shortage(model.model, model.info.device):
        long = model.meter.filled(16, options.positions)
        began = time.perf_counter()
        model.backend.generate(long, ends.append, Event())
        took = time.perf_counter() - began
    end = ends[-1]
    if not isinstance(end, Failed) or end.code != "oom":
        raise TuiChatError("The memory did not run out", f"The reply ended with {end}")
    figures.add("memory.failed_after_ms", took * 1000)
    figures.add("memory.in_use_after_gib", memory_in_use(model.info.device) / 2**30)
    after = model.meter.write(short)
    figures.add("memory.path_after", after.stats.path)
    figures.add("memory.same_reply_after", after.token_ids == before.token_ids)


@contextmanager
def _shortage(model: Any, device: str) -> Iterator[None]:
    """Next to no memory is left. On a CPU, the last layer says so."""
    import torch

    if device.startswith("cuda"):
        gc.collect()
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info(device)[0] - BALLAST_LEFT
        ballast = torch.empty(max(free, 0), dtype=torch.uint8, device=device)
        try:
            yield
        finally:
            del ballast
            torch.cuda.empty_cache()
        return

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory: made up, since this is a CPU")

    hook = model.get_output_embeddings().register_forward_pre_hook(fail)
    try:
        yield
    finally:
        hook.remove()


def precisions(folder: Path, figures: Figures, options: argparse.Namespace) -> None:
    """The quantised forms, one after the other."""
    for precision in QUANTISED:
        reason = support_of(options.device, precision).reason
        if reason:
            figures.add(f"{precision}.left_out", reason)
            continue
        paths = options.paths if precision == "int8" else ("eager",)
        with Loaded(folder, precision, options) as model:
            figures.add(f"{precision}.load_s", model.info.load_s)
            figures.add(f"{precision}.weight_gib", model.info.weight_bytes / 2**30)
            for path in paths:
                figures.add(f"{precision}.{path}.prepared_s", model.prepared(path))
                request = model.meter.filled(options.new, options.context)
                written = [model.meter.write_fresh(request).stats for _ in range(options.rounds)]
                speed = statistics.median(stats.decode_tokens_per_s for stats in written)
                bandwidth = figures.values["read_bandwidth"]
                figures.add(f"{precision}.{path}.tokens_per_s", speed)
                figures.add(f"{precision}.{path}.bandwidth_share", model.share(speed, bandwidth))
                ttft = statistics.median(stats.ttft_s for stats in written)
                figures.add(f"{precision}.{path}.ttft_ms", ttft * 1000)


def switches(folder: Path, figures: Figures, options: argparse.Namespace) -> None:
    """What a process keeps of models that were freed."""
    names = [p for p in SWITCHED if not support_of(options.device, p).reason]
    before = memory_in_use(options.device)
    after = switching.measure(folder, options.switches, 8, options.device, names)
    # On a CPU the libraries come with the first models; a GPU holds nothing but tensors.
    base = before if options.device.startswith("cuda") else after[0]
    figures.add("switches.residual_mib", (after[-1] - base) / MIB)
    figures.add("switches.largest_residual_mib", (max(after) - base) / MIB)
    figures.add("switches.trend_mib_per_switch", switching.trend(after[len(after) // 2 :]) / MIB)


ON_ONE_MODEL = {"decode": decode, "cancel": cancel, "memory": memory}
ON_FILES = {"precisions": precisions, "switches": switches}
PARTS = (*ON_ONE_MODEL, *ON_FILES)


@contextmanager
def _guarded(part: str, figures: Figures) -> Iterator[None]:
    """What fails in a part costs the others nothing."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, TuiChatError):
            traceback.print_exc()
        said = error.one_line if isinstance(error, TuiChatError) else f"{error}"
        figures.failed[part] = f"{type(error).__name__}: {said}"


def measure(options: argparse.Namespace) -> Figures:
    """All parts."""
    figures = Figures()
    for name, value in machine(options.device).items():
        figures.add(name, value)
    with tempfile.TemporaryDirectory(dir=options.where) as name:
        folder, small = Path(name) / "model", Path(name) / "small"
        began = time.perf_counter()
        shape = (options.width, options.vocab)
        if set(options.parts) - {"switches"}:
            make_sharded_model(folder, options.layers, *shape, device=options.device)
        if "switches" in options.parts:
            make_sharded_model(small, min(options.layers, 4), *shape, device=options.device)
        figures.add("written_s", time.perf_counter() - began)
        figures.add("read_bandwidth", read_bandwidth(options.device))
        wanted = [part for part in ON_ONE_MODEL if part in options.parts]
        if wanted:
            with _guarded("load", figures), Loaded(folder, options.half, options) as model:
                for part in wanted:
                    with _guarded(part, figures):
                        ON_ONE_MODEL[part](model, figures, options)
        for part, where in (("precisions", folder), ("switches", small)):
            if part in options.parts:
                with _guarded(part, figures):
                    ON_FILES[part](where, figures, options)
    for part, reason in figures.failed.items():
        print(f"{part} failed: {reason}", file=sys.stderr)
    return figures


def machine(device: str) -> dict[str, Any]:
    """What is measured on."""
    import torch
    import transformers

    facts = {"torch": torch.__version__, "transformers": transformers.__version__}
    if not device.startswith("cuda"):
        return {"device": platform.processor() or platform.machine(), **facts}
    free, total = torch.cuda.mem_get_info(device)
    return {
        "device": torch.cuda.get_device_name(device),
        **facts,
        "cuda": torch.version.cuda,
        "free_gib": free / 2**30,
        "total_gib": total / 2**30,
    }


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; wrong usage ends the program with one sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, number, text in (
        ("layers", 36, "layers of the model; the part `switches` takes 4 at most"),
        ("width", 5120, "its hidden size, a multiple of 128"),
        ("vocab", 50288, "rows of its embeddings"),
        ("context", 512, "tokens of prompt and reply together, for decoding"),
        ("positions", 2048, "the same for the parts `cancel` and `memory`"),
        ("new", 128, "tokens to write"),
        ("rounds", 5, "rounds that count"),
        ("cancels", 20, "replies to cancel in each stage"),
        ("switches", 20, "models to load and free"),
    ):
        parser.add_argument(f"--{name}", type=int, default=number, metavar="N", help=text)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--half", default="fp16", help="the precision that is not quantised")
    parser.add_argument("--paths", default="eager,turbo", help="ways of the chat to decode")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure")
    parser.add_argument("--where", type=Path, help="folder for the checkpoints")
    options = parser.parse_args(arguments)
    for name, known in (("parts", PARTS), ("paths", ("eager", "turbo"))):
        wanted = tuple(dict.fromkeys(getattr(options, name).split(",")))
        for word in wanted:
            if word not in known:
                parser.error(f"--{name}: there is no {word!r}; choose of {', '.join(known)}")
        setattr(options, name, wanted)
    if not 2 <= options.new < options.context <= options.positions:
        parser.error("at least 2 new tokens, a larger context and as many positions are needed")
    if min(options.rounds, options.cancels) < 1 or options.switches < 4:
        parser.error("at least 1 round, 1 cancelled reply and 4 switches are needed")
    try:
        options.device = resolve_device(options.device)
    except TuiChatError as refused:
        parser.error(refused.one_line)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, then print one JSON line; 1 if a part failed."""
    options = parsed(arguments)
    figures = measure(options)
    facts = {"measurement": "gpu", **vars(options), **figures.values, "failed": figures.failed}
    print(json.dumps(facts, default=str))
    return 1 if figures.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
