"""The engines that `benchmarks.peers` compares, each in a process of its own.

    python -m benchmarks.peer_engines NAME MODEL CONTEXT THREADS DEVICE

Loads the model, then answers one JSON line on stdin at a time with one on stdout: `ids` and `new`
give `prefill_s`, `decode_s` and `tokens`. All of them are greedy and end at the length alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import psutil

from tui_chat.errors import TuiChatError


@dataclass(frozen=True, slots=True)
class Setting:
    """What an engine runs."""

    model: Path
    """A model directory; for llama.cpp a GGUF file."""
    context: int
    threads: int
    device: str
    """`cpu` or `cuda`."""


class Engine(ABC):
    """A loaded model."""

    @abstractmethod
    def write(self, ids: Sequence[int], new: int) -> tuple[list[int], float, float]:
        """Write a reply of `new` tokens.

        Returns:
            Its tokens, the seconds to the first, and those of the others.
        """


class Generate(Engine):
    """`generate` of transformers as it comes: dynamic cache, SDPA."""

    def __init__(self, setting: Setting, dtype: str) -> None:
        from tui_chat.engine.machine.libraries import configure_libraries, silence_progress_bars

        configure_libraries()
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig

        silence_progress_bars()
        torch.set_num_threads(setting.threads)
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
        model: Any = AutoModelForCausalLM.from_pretrained(setting.model, dtype=kind)
        self._model = model.to(setting.device).eval()
        self._model.generation_config = GenerationConfig(pad_token_id=0)

    def write(self, ids: Sequence[int], new: int) -> tuple[list[int], float, float]:
        return generated(self._model, ids, new)


def generated(model: Any, ids: Sequence[int], new: int) -> tuple[list[int], float, float]:
    """A reply of a loaded model by `generate` alone; as `Engine.write`."""
    import torch
    from transformers import GenerationConfig

    clock = _Clock()
    began = time.perf_counter()
    prompt = torch.tensor([list(ids)], device=model.device)
    with torch.inference_mode():
        written = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=new, use_cache=True, pad_token_id=0
            ),
            streamer=clock,
        )
    tokens = written[0, len(ids) :].tolist()
    return tokens, clock.times[1] - began, clock.times[-1] - clock.times[1]


class _Clock:
    """A streamer of transformers that notes when the prompt and each token came."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, ids: Any) -> None:
        del ids
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to note."""


class Ours(Engine):
    """The backend of the chat on one of its decode paths, with the threads that it chooses."""

    def __init__(self, setting: Setting, path: str, precision: str) -> None:
        from tui_chat.bench import BenchOptions
        from tui_chat.bench.meter import ReplyMeter
        from tui_chat.engine.contract.backend import LoadRequest
        from tui_chat.engine.local import LocalBackend

        backend = LocalBackend()
        load = LoadRequest(str(setting.model), precision, setting.device, "raw", setting.context)
        info = backend.load(backend.preflight(load), lambda event: None, Event())
        self._context = setting.context
        self._meter = ReplyMeter(backend, info, BenchOptions(load))
        self._meter.use(path)

    def write(self, ids: Sequence[int], new: int) -> tuple[list[int], float, float]:
        written = self._meter.write(self._meter.request(ids, new, self._context))
        stats = written.stats
        rate = stats.decode_tokens_per_s
        return list(written.token_ids), stats.ttft_s, (new - 1) / rate if rate else 0.0


class LlamaCpp(Engine):
    """llama.cpp through llama-cpp-python, token by token, without its sampler."""

    def __init__(self, setting: Setting) -> None:
        import llama_cpp
        import numpy

        self._library, self._numpy = llama_cpp, numpy
        self._llama = llama_cpp.Llama(
            str(setting.model),
            n_ctx=setting.context,
            n_threads=setting.threads,
            n_threads_batch=setting.threads,
            n_gpu_layers=0 if setting.device == "cpu" else -1,
            verbose=False,
        )

    def write(self, ids: Sequence[int], new: int) -> tuple[list[int], float, float]:
        self._llama.reset()
        began = time.perf_counter()
        self._llama.eval(list(ids))
        tokens = [self._best()]
        first = time.perf_counter()
        while len(tokens) < new:
            self._llama.eval(tokens[-1:])
            tokens.append(self._best())
        return tokens, first - began, time.perf_counter() - first

    def _best(self) -> int:
        logits = self._library.llama_get_logits_ith(self._llama.ctx, -1)
        rows = (self._llama.n_vocab(),)
        return int(self._numpy.argmax(self._numpy.ctypeslib.as_array(logits, rows)))


ENGINES: dict[str, Callable[[Setting], Engine]] = {
    "generate": lambda setting: Generate(setting, "bf16"),
    "generate-fp16": lambda setting: Generate(setting, "fp16"),
    "eager": lambda setting: Ours(setting, "eager", "bf16"),
    "turbo": lambda setting: Ours(setting, "turbo", "bf16"),
    "turbo-fp16": lambda setting: Ours(setting, "turbo", "fp16"),
    "eager-int8": lambda setting: Ours(setting, "eager", "int8"),
    "turbo-int8": lambda setting: Ours(setting, "turbo", "int8"),
    "llama.cpp": LlamaCpp,
    "llama.cpp-q8_0": LlamaCpp,
}
"""In bf16 unless the name says otherwise."""


def main() -> None:
    """Load one engine and serve it until stdin ends."""
    name, model, context, threads, device = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not be taken for an answer

    def answer(**facts: object) -> None:
        answers.write(json.dumps(facts) + "\n")

    try:
        engine = ENGINES[name](Setting(Path(model), int(context), int(threads), device))
    except TuiChatError as error:
        answer(failed=error.one_line)
        return
    except Exception as error:  # what a library could not load; the reason is all there is to do
        answer(failed=f"{type(error).__name__}: {error}")
        return
    answer(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        tokens, prefill_s, decode_s = engine.write(request["ids"], request["new"])
        resident = psutil.Process().memory_info().rss
        answer(tokens=tokens, prefill_s=prefill_s, decode_s=decode_s, resident_bytes=resident)


if __name__ == "__main__":
    main()
