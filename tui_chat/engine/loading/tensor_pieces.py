"""Reads a tensor from a file in pieces, which several threads process at once.

A thread converts or quantises its piece while the piece is still in the cache of its core, and
while another thread waits for the disk. Reading reports its progress in bytes, and can be cancelled
between two pieces.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from threading import Event, Lock
from types import TracebackType
from typing import Any, Self, cast

import torch

from tui_chat.engine.files.checkpoint import AGAIN, TensorEntry, broken
from tui_chat.engine.machine.devices import usable_cores
from tui_chat.errors import LoadCancelledError, TuiChatError

Progress = Callable[[int], None]
"""Receives the bytes read so far, over all tensors. Called on the loading thread."""

PIECE = 1024**2
"""Bytes of a piece, unless a row is longer. With the results computed from it, a piece fits the
cache of a core."""

_MOST_THREADS = 8
"""More threads bring no gain: one at a time reads, and memory bandwidth is limited."""
_POLL_S = 0.05
"""Seconds between two progress reports."""

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""torch's dtypes by the dtype names of the safetensors format."""

Source = TensorEntry | torch.Tensor
"""A tensor in a safetensors file, or one from a pickled file, which torch may have mapped."""


class Interrupted(BaseException):
    """Carries an error out of transformers' loading loop, which catches every `Exception`.

    Args:
        error: The error to raise outside of the loop.
    """

    def __init__(self, error: TuiChatError) -> None:
        super().__init__(error.title)
        self.error = error


def dtype_of(source: Source) -> torch.dtype:
    """Return the dtype in which a tensor is stored."""
    return source.dtype if isinstance(source, torch.Tensor) else DTYPES[source.dtype]


class TensorPieces:
    """The pieces of one tensor. Several threads may iterate over one instance at once.

    Each piece goes to one thread, as the index of its first element in the flat tensor and its
    elements, shape (n,) in the stored dtype. The elements are valid until the thread requests its
    next piece. Use the instance as a context manager, which holds the file open.

    Args:
        source: The tensor.
        row: Elements that stay together in a piece; a divisor of the tensor's number of elements.
        cancel: Ends the iteration.
    """

    def __init__(self, source: Source, row: int, cancel: Event) -> None:
        self.dtype = dtype_of(source)
        self.numel = _numel(source)
        self.done = 0
        """Bytes of the pieces that a thread has processed."""
        self._source = source
        self._row = row
        self._next = 0
        self._stop = cancel
        self._lock = Lock()
        self._open = ExitStack()
        self._flat: torch.Tensor | None = None
        self._stream: Any = None

    @property
    def step(self) -> int:
        """Elements of every piece but the last, which may be shorter."""
        return max(PIECE // (self._row * self.dtype.itemsize), 1) * self._row

    def __enter__(self) -> Self:
        source = self._source
        if isinstance(source, torch.Tensor):
            self._flat = source.reshape(-1)
            return self
        try:
            # One stream for all threads, since disks are fastest when read sequentially.
            self._stream = self._open.enter_context(source.file.open("rb", buffering=0))
            self._stream.seek(source.start)
            if hasattr(os, "posix_fadvise"):
                descriptor = self._stream.fileno()
                os.posix_fadvise(descriptor, source.start, source.length, os.POSIX_FADV_SEQUENTIAL)
        except OSError as error:
            self._open.close()
            raise _unreadable(source, error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def __iter__(self) -> Iterator[tuple[int, torch.Tensor]]:
        scratch = torch.empty(
            0 if self._flat is not None else min(self.step, self.numel) * self.dtype.itemsize,
            dtype=torch.uint8,
        )
        while True:
            with self._lock:
                first = self._next
                if first >= self.numel or self._stop.is_set():
                    return
                count = min(self.step, self.numel - first)
                self._next = self.numel  # if `_read` raises, the other threads stop
                values = self._read(first, count, scratch)
                self._next = first + count
            yield first, values
            # The caller has asked for the next piece, so it is done with this one.
            with self._lock:
                self.done += values.nbytes

    def _read(self, first: int, count: int, scratch: torch.Tensor) -> torch.Tensor:
        """Return the next elements, in `scratch` or, for a pickled file, in torch's own memory.

        Args:
            first: Index of the first element; the stream is at its position.
            count: Number of elements.
            scratch: Buffer of the calling thread, uint8.
        """
        if self._flat is not None:
            return self._flat[first : first + count]
        assert isinstance(self._source, TensorEntry)  # for a torch.Tensor, `_flat` is set
        used = scratch[: count * self.dtype.itemsize]
        view = memoryview(cast(Any, used.numpy()))
        position = 0
        try:
            while position < len(view):
                got = self._stream.readinto(view[position:])
                if not got:
                    raise Interrupted(broken(self._source.file, "is cut short", AGAIN))
                position += got
        except OSError as error:
            raise _unreadable(self._source, error) from None
        return used.view(self.dtype)


class PieceWorkers:
    """A thread pool that processes tensors one after another, sharing the pieces of each.

    Each thread runs its torch operations alone. If torch split these small operations over all
    cores instead, they would wait for the slowest core thousands of times a second.

    Args:
        progress: Receives the bytes read so far, over all tensors.
        cancel: Makes `take` raise `Interrupted`.
    """

    def __init__(self, progress: Progress, cancel: Event) -> None:
        self._progress = progress
        self._cancel = cancel
        self._done = 0
        self._intra_op_threads = torch.get_num_threads()
        self._threads = min(usable_cores(), _MOST_THREADS)
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """End the threads, and restore the number of threads that torch computes with."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
            torch.set_num_threads(self._intra_op_threads)  # the workers set it to 1 for all

    def take(self, source: Source, row: int, work: Callable[[TensorPieces], None]) -> None:
        """Read and process a tensor, and return once all of it is done.

        Args:
            source: The tensor.
            row: Elements that stay together in a piece.
            work: Iterates over the pieces and processes them. Every thread of the pool calls it,
                or the calling thread if the tensor is a single piece.

        Raises:
            Interrupted: If the load was cancelled, or the file cannot be read.
        """
        self._raise_if_cancelled()
        with TensorPieces(source, row, self._cancel) as pieces:
            if pieces.numel <= pieces.step:
                work(pieces)
            else:
                self._share(pieces, work)
        self._done += pieces.done
        self._progress(self._done)
        self._raise_if_cancelled()

    def _share(self, pieces: TensorPieces, work: Callable[[TensorPieces], None]) -> None:
        """Let the pool process the pieces, and report progress meanwhile."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                self._threads, "reading", initializer=torch.set_num_threads, initargs=(1,)
            )
        running: set[Future[None]] = {self._pool.submit(work, pieces) for _ in range(self._threads)}
        finished: set[Future[None]] = set()
        while running:
            done, running = wait(running, _POLL_S)
            finished |= done
            if running:
                self._progress(self._done + pieces.done)
        for future in finished:
            future.result()  # raises what a worker raised

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise Interrupted(LoadCancelledError())


def _numel(source: Source) -> int:
    return source.numel() if isinstance(source, torch.Tensor) else math.prod(source.shape)


def _unreadable(source: TensorEntry, error: OSError) -> Interrupted:
    cause = f"cannot be read: {error.strerror or type(error).__name__}"
    return Interrupted(broken(source.file, cause, "Check the disk"))
