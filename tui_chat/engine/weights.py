"""Reads the weights of a checkpoint tensor by tensor, counting bytes and stopping when asked.

Owns the way from a file to a tensor in private memory. The library's own way maps the file instead:
then nothing has been read when it says that it is done, and a file that is cut short while the
model is loaded kills the program. Pickled files are read with `weights_only`, never executed.
Refuses to know about models.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any, cast

import torch

from tui_chat.engine.checkpoint import AGAIN, Checkpoint, TensorEntry, broken
from tui_chat.errors import LoadCancelledError, TuiChatError

Progress = Callable[[int], None]
"""Takes the bytes read so far. Called on the loading thread."""

_CHUNK = 16 * 1024**2

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class Interrupted(BaseException):
    """Carries an error out of the library's loading loop, which swallows every `Exception`."""

    def __init__(self, error: TuiChatError) -> None:
        super().__init__(error.title)
        self.error = error


class WeightReader:
    """The tensors of a checkpoint as objects that are read when they are needed.

    Args:
        checkpoint: The files.
        progress: Told the bytes read so far, at most every 16 MiB.
        cancel: Ends the reading with `Interrupted`.
    """

    def __init__(self, checkpoint: Checkpoint, progress: Progress, cancel: Event) -> None:
        self._checkpoint = checkpoint
        self._progress = progress
        self._cancel = cancel
        self._done = 0

    def tensors(self) -> dict[str, LazyTensor]:
        """Every tensor by name. For pickled files, this reads their structure.

        Raises:
            ModelLoadError: If a pickled file is damaged or holds anything but tensors.
        """
        if self._checkpoint.format == "safetensors":
            return {
                name: LazyTensor(self, entry) for name, entry in self._checkpoint.tensors.items()
            }
        found: dict[str, LazyTensor] = {}
        for file in self._checkpoint.files:
            found.update((n, LazyTensor(self, t)) for n, t in _unpickle(file).items())
        return found

    def read(self, source: TensorEntry | torch.Tensor) -> torch.Tensor:
        """Read one tensor into memory of its own.

        Raises:
            Interrupted: If it was cancelled, or the file cannot be read.
        """
        self._raise_if_cancelled()
        if isinstance(source, torch.Tensor):
            tensor = source.clone()
            self._count(tensor.nbytes)
            return tensor
        buffer = torch.empty(source.length, dtype=torch.uint8)
        view = memoryview(cast(Any, buffer.numpy()))
        try:
            with source.file.open("rb", buffering=0) as stream:
                stream.seek(source.start)
                position = 0
                while position < source.length:
                    count = stream.readinto(view[position : position + _CHUNK])
                    if not count:
                        raise Interrupted(broken(source.file, "is cut short", AGAIN))
                    position += count
                    self._count(count)
                    self._raise_if_cancelled()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            cause = f"cannot be read: {reason}"
            raise Interrupted(broken(source.file, cause, "Check the disk")) from None
        return buffer.view(DTYPES[source.dtype]).reshape(source.shape)

    def _count(self, count: int) -> None:
        self._done += count
        self._progress(self._done)

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise Interrupted(LoadCancelledError())


class LazyTensor:
    """A tensor of a file that is read by `tensor[...]`, which is how the library asks for it."""

    __slots__ = ("_reader", "_source")

    def __init__(self, reader: WeightReader, source: TensorEntry | torch.Tensor) -> None:
        self._reader = reader
        self._source = source

    def __getitem__(self, _: Any) -> torch.Tensor:
        return self._reader.read(self._source)


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
