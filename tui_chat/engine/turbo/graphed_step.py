"""A compiled step on a GPU, repeated from a CUDA graph.

One token takes hundreds of kernels, each of them shorter than it takes to ask for it. Recorded
once, they are started with a single call. A graph holds addresses, so it is recorded again where
the keys and values move: for another chat, and when their buffers grow. That takes as long as a
few tokens, and the step is in order without it, so a token is never waited for.

Owns the graph, and when it is no longer true. Refuses to know what is computed.
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
"""Records what a function asks the GPU for, without doing it. Returns what does it, as often as it
is called, and the tensor in which the result is then."""


class CudaRecorder:
    """Records into CUDA graphs, which share the memory that they compute in.

    Args:
        device: Of everything that is recorded.
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
                # A pool ends with the last graph in it, and cannot be used again; this one stays.
                self._anchor, _ = self._recorded(lambda: torch.zeros(1, device=self._device))
            graph, logits = self._recorded(run)
        return graph.replay, logits

    def _recorded(self, run: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """A graph of what a function asks for, and its result."""
        graph = torch.cuda.CUDAGraph()
        # Not `torch.cuda.graph`, which gives all free memory of the allocator back first, and in
        # some releases looks for garbage too.
        with torch.cuda.stream(self._stream):
            # Other threads may ask the device how it is meanwhile.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                result = run()
            finally:
                graph.capture_end()
        return graph, result


class GraphedStep(CompiledStep):
    """Implements `decoding.CompiledForward` for a step in the fixed form. For one thread.

    Args:
        folder: Where the step is kept.
        model: The loaded model; its recipe is that of the step.
        record: Records the calls; into CUDA graphs if None.

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
        """Compute the token from the graph, where there is or can be one."""
        if self._recorded is None:
            if not self._has_run:
                # The first call loads the kernels, which cannot be recorded.
                logits = super()._run(length)
                self._has_run = True
                return logits
            run = super()._run
            self._recorded = self._record(lambda: run(length))
            self._recorded_buffers = [weakref.ref(buffer) for buffer in self._buffers]
        replay, logits = self._recorded
        replay()
        return logits
