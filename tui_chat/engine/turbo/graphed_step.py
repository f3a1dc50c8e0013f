"""A compiled step on a GPU, replayed from a CUDA graph.

One token takes hundreds of kernels, and launching each takes longer than running it. A graph
records the launches once and repeats them with a single call. It holds addresses, so `GraphedStep`
records it again whenever the keys and values move: for another chat, and when their buffers grow.
Recording takes as long as a few tokens.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_chat.engine.replies.kv_buffers import GrowingLayer
from tui_chat.engine.turbo.compiled_step import CompiledStep

Recorder = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Records the GPU work of a function without running it. Returns a function that runs the work each
time it is called, and the tensor that then holds the result."""


class CudaRecorder:
    """Recorder of CUDA graphs that share one memory pool.

    Args:
        device: The GPU of everything that is recorded.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None
        self._pool: Any = None
        self._anchor: torch.cuda.CUDAGraph | None = None

    def __call__(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        with torch.cuda.device(self._device):
            if self._anchor is None:
                self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
                self._pool = torch.cuda.graph_pool_handle()
                # A pool is freed with its last graph and cannot be reused, so this graph stays.
                self._anchor, _ = self._recorded(lambda: torch.zeros(1, device=self._device))
            graph, logits = self._recorded(run)
        return graph.replay, logits

    def _recorded(self, run: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Return a graph of what a function launches, and its result."""
        graph = torch.cuda.CUDAGraph()
        # Not `torch.cuda.graph`, which first returns all free memory of the allocator to the driver
        # and in some releases also runs the garbage collector.
        with torch.cuda.stream(self._stream):
            # `thread_local`, so that other threads may query the device during the capture.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                result = run()
            finally:
                graph.capture_end()
        return graph, result


class GraphedStep(CompiledStep):
    """A `decoding.CompiledForward` for a step in the fixed form. For one thread only.

    Args:
        folder: The folder of the step.
        model: The loaded model, whose recipe is that of the step.
        record: Records the calls; None records CUDA graphs.

    Raises:
        TurboError: If the files cannot be used, or do not fit the model.
    """

    def __init__(self, folder: Path, model: Any, record: Recorder | None = None) -> None:
        super().__init__(folder, model)
        self._device: torch.device = self._token.device
        self._record = record or CudaRecorder(self._device)
        self._recorded: tuple[Callable[[], None], Tensor] | None = None
        self._recorded_buffers: list[weakref.ref[Tensor]] = []
        self._has_run = False

    def _use(self, layers: list[GrowingLayer], length: int) -> None:
        super()._use(layers, length)
        # Weak references: the graph must not keep the cache of a closed chat in memory.
        known = [buffer() for buffer in self._recorded_buffers]
        if len(known) != len(self._buffers) or any(
            old is not new for old, new in zip(known, self._buffers, strict=True)
        ):
            self._recorded, self._recorded_buffers = None, []

    def _run(self, length: int) -> Tensor:
        if self._device.type != "cuda":
            return self._repeated(length)
        with torch.cuda.device(self._device):
            return self._repeated(length)

    def _repeated(self, length: int) -> Tensor:
        """Compute the token from the graph, recording it if needed; the first call uses none."""
        if self._recorded is None:
            if not self._has_run:
                # The first call loads the kernels, which a graph cannot record.
                logits = super()._run(length)
                self._has_run = True
                return logits
            run = super()._run
            self._recorded = self._record(lambda: run(length))
            self._recorded_buffers = [weakref.ref(buffer) for buffer in self._buffers]
        replay, logits = self._recorded
        replay()
        return logits
