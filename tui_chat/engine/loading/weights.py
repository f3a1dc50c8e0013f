"""Reads the weights of a checkpoint tensor by tensor, with progress and cancelling.

Each tensor is read into private memory, in the dtype that the model needs or quantised to 8 bits,
without another copy of the whole tensor. transformers maps the files into memory instead, which has
three drawbacks: loading ends before anything has been read, truncating a file of a loaded model
kills the process, and a single bias that needs no conversion keeps its whole file mapped. Pickled
files are read with `weights_only`, so nothing in them runs.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Self

import torch

from tui_chat.engine.files.checkpoint import AGAIN, Checkpoint, broken
from tui_chat.engine.loading.row_quantiser import RowQuantiser
from tui_chat.engine.loading.tensor_pieces import (
    PieceWorkers,
    Progress,
    Source,
    TensorPieces,
    dtype_of,
)


class WeightReader:
    """Gives out the tensors of a checkpoint as objects that read themselves when needed.

    Use it as a context manager; leaving it ends its threads.

    Args:
        checkpoint: The files.
        progress: Receives the bytes read so far, over all tensors.
        cancel: Makes reading raise `Interrupted`.
        dtype: Dtype of floating-point tensors for which transformers requests none; if None, the
            stored one.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        progress: Progress,
        cancel: Event,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._workers = PieceWorkers(progress, cancel)
        self._dtype = dtype

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._workers.close()

    def tensors(self, quantised: Collection[str] = ()) -> dict[str, LazyTensor]:
        """Return every tensor by name. Pickled files are opened, safetensors files are not.

        Args:
            quantised: Names of matrices to quantise to 8 bits. As in a checkpoint saved by
                bitsandbytes, each becomes two tensors: the int8 `weight`, and `SCB` with the
                largest magnitude of each row.

        Raises:
            ModelLoadError: If a pickled file is damaged or holds anything but tensors.
        """
        found: dict[str, LazyTensor] = {}
        for name, source in self._sources().items():
            if name in quantised:
                pair = _QuantisedPair(self._workers, source)
                found[name] = LazyTensor(pair.weight, torch.int8)
                found[f"{name.removesuffix('weight')}SCB"] = LazyTensor(pair.scales, torch.float32)
            else:
                found[name] = self._lazy(source)
        return found

    def _sources(self) -> dict[str, Source]:
        if self._checkpoint.format == "safetensors":
            return dict(self._checkpoint.tensors)
        return {name: t for file in self._checkpoint.files for name, t in _unpickle(file).items()}

    def _lazy(self, source: Source) -> LazyTensor:
        return LazyTensor(lambda dtype: self._read(source, dtype), dtype_of(source))

    def _read(self, source: Source, dtype: torch.dtype | None) -> torch.Tensor:
        """Read one tensor into new memory.

        Args:
            source: The tensor.
            dtype: The requested dtype; None for the default of the reader.
        """
        stored = dtype_of(source)
        wanted = dtype or (self._dtype if stored.is_floating_point else None) or stored
        tensor = torch.empty(source.shape, dtype=wanted)
        flat = tensor.view(-1)

        def copy(pieces: TensorPieces) -> None:
            for first, values in pieces:
                flat[first : first + len(values)] = values

        self._workers.take(source, 1, copy)
        return tensor


class _QuantisedPair:
    """An 8-bit weight and the scales of its rows, computed together and requested one by one.

    The first request reads the matrix, and each part is dropped here once it has been handed out.
    """

    def __init__(self, workers: PieceWorkers, source: Source) -> None:
        self._workers = workers
        self._source = source
        self._parts: dict[str, torch.Tensor] = {}

    def weight(self, _: torch.dtype | None) -> torch.Tensor:
        """Return the quantised weight: int8 from -127 to 127, in the shape of the stored one."""
        return self._take("weight")

    def scales(self, _: torch.dtype | None) -> torch.Tensor:
        """Return the largest magnitude of each row: fp32 of shape (rows,)."""
        return self._take("scales")

    def _take(self, part: str) -> torch.Tensor:
        if part not in self._parts:
            weight = torch.empty(self._source.shape, dtype=torch.int8)
            scales = torch.empty(weight.shape[0], dtype=torch.float32)
            self._workers.take(self._source, weight.shape[1], RowQuantiser(weight, scales))
            self._parts = {"weight": weight, "scales": scales}
        return self._parts.pop(part)


class LazyTensor:
    """A tensor in a file, for transformers to read by `tensor[...].to(device, dtype)`.

    Indexing does nothing; `to` reads the tensor, since only then the dtype is known.

    Args:
        read: Reads the tensor in a dtype; None stands for the reader's default.
        dtype: Dtype of the tensor before any conversion.
    """

    __slots__ = ("_dtype", "_read")

    def __init__(
        self, read: Callable[[torch.dtype | None], torch.Tensor], dtype: torch.dtype
    ) -> None:
        self._read = read
        self._dtype = dtype

    def __getitem__(self, _: Any) -> LazyTensor:
        return self

    def is_floating_point(self) -> bool:
        """Return whether the dtype is a floating-point one, as `torch.Tensor` does."""
        return self._dtype.is_floating_point

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Read the tensor to a device, in a dtype.

        Raises:
            Interrupted: If the load was cancelled, or the file cannot be read.
        """
        return self._read(dtype).to(device=device)


def _unpickle(path: Path) -> dict[str, torch.Tensor]:
    """Open a pickled file and return its tensors by name.

    torch maps a zip file, its format since version 1.6, and reads an older file whole.

    Raises:
        ModelLoadError: If the file is damaged or holds anything but tensors.
    """
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=True if _is_zip(path) else None
        )
    except pickle.UnpicklingError:
        cause = "holds more than weights, or is damaged; nothing of it was run"
        raise broken(path, cause, "Choose a model that comes as safetensors") from None
    except Exception as error:
        cause = f"cannot be read as weights ({type(error).__name__})"
        raise broken(path, cause, AGAIN) from None
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        cause = "holds more than weights"
        raise broken(path, cause, "Choose a model that comes as safetensors")
    return content


def _is_zip(path: Path) -> bool:
    return zipfile.is_zipfile(path)
