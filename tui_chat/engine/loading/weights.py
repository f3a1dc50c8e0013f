"""Reads the weights of a checkpoint tensor by tensor, counting bytes and stopping when asked.

Owns the way from a file to a tensor in private memory, in the dtype the model wants or quantised
to 8 bits on the way, so that no other copy of it ever exists. The library's own way maps the file
instead: then nothing has been read when it says that it is done, a file that is cut short while
the model is loaded kills the program, and one bias that needs no conversion keeps every page of
its file in memory. Pickled files are read with `weights_only`, never executed. Refuses to know
about models.
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
    """The tensors of a checkpoint as objects that are read when they are needed.

    Args:
        checkpoint: The files.
        progress: Told the bytes read so far.
        cancel: Ends the reading with `Interrupted`.
        dtype: Of floating-point tensors for which the library asks for none.
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
        """Every tensor by name. For pickled files, this reads their structure.

        Args:
            quantised: Names of matrices to be had in 8 bits, as bitsandbytes saves them: the
                weight, and beside it the scales of its rows under the name `SCB`.

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
        """One tensor in memory of its own."""
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
    """A weight in 8 bits and the scales of its rows: read together, handed out one by one."""

    def __init__(self, workers: PieceWorkers, source: Source) -> None:
        self._workers = workers
        self._source = source
        self._parts: dict[str, torch.Tensor] = {}

    def weight(self, _: torch.dtype | None) -> torch.Tensor:
        """Integers of -127 to 127 in the shape of the stored weight."""
        return self._take("weight")

    def scales(self, _: torch.dtype | None) -> torch.Tensor:
        """The largest magnitude in each row, in fp32."""
        return self._take("scales")

    def _take(self, part: str) -> torch.Tensor:
        if part not in self._parts:
            weight = torch.empty(self._source.shape, dtype=torch.int8)
            scales = torch.empty(weight.shape[0], dtype=torch.float32)
            self._workers.take(self._source, weight.shape[1], RowQuantiser(weight, scales))
            self._parts = {"weight": weight, "scales": scales}
        return self._parts.pop(part)


class LazyTensor:
    """What the library takes for a tensor of an open file: `tensor[...].to(device, dtype)`.

    Only the last call reads, since only then the dtype is known.
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
        """Whether it will be numbers with a fraction, as of a tensor."""
        return self._dtype.is_floating_point

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Read it.

        Raises:
            Interrupted: If it was cancelled, or the file cannot be read.
        """
        return self._read(dtype).to(device=device)


def _unpickle(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a pickled file, mapped and not yet read where its format allows it."""
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
