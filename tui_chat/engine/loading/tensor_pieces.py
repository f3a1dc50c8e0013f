"""Takes one tensor out of a file in pieces, on several threads at once.

Owns the reading of bytes, the count of what was read, the threads, and stopping between two
pieces. What is done with a piece happens while it is still in a core's cache, and while another
thread waits for the disk. Refuses to know what the numbers are for.
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
"""Takes the bytes read so far. Called on the thread that loads."""

PIECE = 1024**2
"""Bytes of a piece, if a row is not longer: with what is computed from it, a core's cache."""

_MOST_THREADS = 8
"""More only wait for each other: reading holds a lock, and memory has its limit."""
_POLL_S = 0.05

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip

Source = TensorEntry | torch.Tensor
"""A tensor in a safetensors file, or one of a pickled file, which may be mapped."""


class Interrupted(BaseException):
    """Carries an error out of the library's loading loop, which swallows every `Exception`."""

    def __init__(self, error: TuiChatError) -> None:
        super().__init__(error.title)
        self.error = error


def dtype_of(source: Source) -> torch.dtype:
    """The dtype in which a tensor is stored."""
    return source.dtype if isinstance(source, torch.Tensor) else DTYPES[source.dtype]


class TensorPieces:
    """A tensor on its way, to be iterated over by any number of threads.

    Each of them gets other pieces: the index of its first element, and its elements in one
    dimension, valid until the next one is asked for.

    Args:
        source: The tensor.
        row: Elements that stay together; a divisor of their number.
        cancel: Ends the iteration.
    """

    def __init__(self, source: Source, row: int, cancel: Event) -> None:
        self.dtype = dtype_of(source)
        self.numel = _numel(source)
        self.done = 0
        """Bytes of the pieces that are finished."""
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
        """Elements of every piece but the last."""
        return max(PIECE // (self._row * self.dtype.itemsize), 1) * self._row

    def __enter__(self) -> Self:
        source = self._source
        if isinstance(source, torch.Tensor):
            self._flat = source.reshape(-1)
            return self
        try:
            # One stream for all threads: a disk is quickest when it is read from front to back.
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
                self._next = self.numel  # for the others, should this fail
                values = self._read(first, count, scratch)
                self._next = first + count
            yield first, values
            with self._lock:
                self.done += values.nbytes

    def _read(self, first: int, count: int, scratch: torch.Tensor) -> torch.Tensor:
        """The next elements, in `scratch` or in the mapped file."""
        if self._flat is not None:
            return self._flat[first : first + count]
        assert isinstance(self._source, TensorEntry)  # only that has a stream
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
    """Threads that share the pieces of one tensor after the other.

    Each computes on one thread of its own: splitting every small operation instead would have all
    of them wait for the slowest core, thousands of times a second.

    Args:
        progress: Told the bytes read so far.
        cancel: Ends the reading with `Interrupted`.
    """

    def __init__(self, progress: Progress, cancel: Event) -> None:
        self._progress = progress
        self._cancel = cancel
        self._done = 0
        self._intra_op_threads = torch.get_num_threads()
        self._threads = min(usable_cores(), _MOST_THREADS)
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
            torch.set_num_threads(self._intra_op_threads)  # theirs became everybody's default

    def take(self, source: Source, row: int, work: Callable[[TensorPieces], None]) -> None:
        """Have a tensor read and worked on.

        Args:
            source: The tensor.
            row: Elements that stay together.
            work: Called on each thread; iterates over the pieces.

        Raises:
            Interrupted: If it was cancelled, or the file cannot be read.
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
        """Have the threads work, and tell how far they are."""
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
            future.result()

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise Interrupted(LoadCancelledError())


def _numel(source: Source) -> int:
    return source.numel() if isinstance(source, torch.Tensor) else math.prod(source.shape)


def _unreadable(source: TensorEntry, error: OSError) -> Interrupted:
    cause = f"cannot be read: {error.strerror or type(error).__name__}"
    return Interrupted(broken(source.file, cause, "Check the disk"))
