"""Inspects a model directory, its config, tokenizer and weight files, before anything is loaded.

An unusable directory raises a `ModelLoadError` that names the file, the cause and the next step.
Of safetensors files only the headers are read. Nothing here needs torch, or runs code that comes
with a model.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tui_chat.chat.model_size import format_bytes
from tui_chat.errors import ModelLoadError
from tui_chat.safe_text import safe_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

ITEM_SIZE: Mapping[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of one element, by the dtype names of the safetensors format."""

AGAIN = "Download the file again"
"""The hint for a damaged file."""
_MAX_HEADER = 100_000_000
"""Most bytes of a safetensors header; the format sets the same limit."""
_MAX_JSON = 64 * 1024**2
"""Most bytes of a JSON file."""
_LFS = b"version https://git-lfs"
"""Beginning of a Git LFS pointer file."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """The place of one tensor in a safetensors file."""

    dtype: str
    """A key of `ITEM_SIZE`."""
    shape: tuple[int, ...]
    file: Path
    start: int
    """Offset of its first byte in the file."""
    length: int
    """Its size in bytes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model directory that passed the checks of `read_checkpoint`."""

    directory: Path
    config: Mapping[str, Any]
    """Contents of config.json."""
    format: Literal["safetensors", "bin"]
    """Format of the weight files; `bin` is a pickled state dict."""
    files: tuple[Path, ...]
    """The weight files."""
    tensors: Mapping[str, TensorEntry]
    """The tensors by name; empty for `bin`, which has no header that lists them."""

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors, or for `bin` the size of the files."""
        if self.tensors:
            return sum(entry.length for entry in self.tensors.values())
        return sum(file.stat().st_size for file in self.files)

    @property
    def stored_dtype(self) -> str:
        """The dtype named in config.json, such as `float16`; empty if it names none."""
        value = self.config.get("dtype") or self.config.get("torch_dtype")
        return value if isinstance(value, str) else ""

    @property
    def positions(self) -> int | None:
        """Context length in tokens that the model was trained for; None if config.json has none."""
        for key in ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length"):
            value = self.config.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return None


def broken(path: Path, cause: str, hint: str) -> ModelLoadError:
    """Return the error for an unusable file of a model.

    Args:
        path: The file.
        cause: What is wrong with it, as a predicate: the message is the file's name and this.
        hint: What the user can do.
    """
    return broken_directory(path.parent, f"{safe_line(path.name, 80)} {cause}", hint)


def broken_directory(directory: Path, cause: str, hint: str) -> ModelLoadError:
    """Return the error for an unusable model directory.

    Args:
        directory: The directory.
        cause: What is wrong, as a sentence; it names the file if a single one is at fault.
        hint: What the user can do.
    """
    shown = safe_line(str(directory), 160)
    return ModelLoadError(f"The model in {shown} cannot be used", cause, hint)


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read what a model directory contains, and check it without loading weights.

    If it has both formats, the safetensors files are used.

    Raises:
        ModelLoadError: If the directory cannot be used as a model.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise broken_directory(
            directory, f"The directory cannot be read: {reason}", "Check the path"
        ) from None
    config = _read_config(directory, names)
    _require_tokenizer(directory, names)
    if "model.safetensors.index.json" in names:
        files = _shards(directory / "model.safetensors.index.json")
    elif "model.safetensors" in names:
        files = (directory / "model.safetensors",)
    else:
        return Checkpoint(directory, config, "bin", _bin_files(directory, names), {})
    tensors: dict[str, TensorEntry] = {}
    for file in files:
        tensors.update(read_header(file))
    if not tensors:
        raise broken(files[0], "holds no tensors", AGAIN)
    return Checkpoint(directory, config, "safetensors", files, tensors)


def model_config(directory: Path) -> PreTrainedConfig:
    """Load the config of a model with transformers, without running code from its directory.

    Raises:
        ModelLoadError: If transformers does not know the model type, or the config is invalid.
    """
    from transformers import AutoConfig

    path = directory / "config.json"
    try:
        return AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raw = read_json(path)
        kind = safe_line(str(raw.get("model_type")), 40)
        if raw.get("auto_map"):
            cause = f"says that {kind} needs to run code that comes with the model"
            raise broken(
                path, cause, "That is never done here; choose a model that transformers knows"
            ) from None
        if isinstance(error, ValueError | KeyError) and "model type" in str(error):
            cause = f"describes a {kind} model, which this transformers does not know"
            raise broken(path, cause, "Update transformers or choose another model") from None
        cause = f"is not a valid {kind} config ({type(error).__name__})"
        raise broken(path, cause, AGAIN) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object of at most 64 MiB.

    Raises:
        ModelLoadError: If the file cannot be read or holds anything else.
    """
    _refuse_pointer(path)
    try:
        if path.stat().st_size > _MAX_JSON:
            raise broken(path, "is far too large for what it should hold", AGAIN)
        value = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise broken(path, f"cannot be read: {reason}", "Check its permissions") from None
    except json.JSONDecodeError as error:
        raise broken(path, f"is not valid JSON (line {error.lineno})", AGAIN) from None
    except (ValueError, RecursionError):
        raise broken(path, "is not valid JSON", AGAIN) from None
    if not isinstance(value, dict):
        raise broken(path, "is not a JSON object", AGAIN)
    return value


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Read the header of a safetensors file.

    The format: the length of the header as eight little-endian bytes, the header as JSON, then the
    data, to which the offsets in the header refer (https://huggingface.co/docs/safetensors).

    Returns:
        The tensors by name.

    Raises:
        ModelLoadError: If the file is cut short, damaged or not a safetensors file.
    """
    _refuse_pointer(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_MAX_HEADER, size - 8):
                raise broken(path, "is not a safetensors file, or it is cut short", AGAIN)
            header = json.loads(stream.read(length).decode("utf-8"))
    except (struct.error, ValueError, RecursionError):
        raise broken(path, "is not a safetensors file, or it is damaged", AGAIN) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise broken(path, f"cannot be read: {reason}", "Check its permissions") from None
    if not isinstance(header, dict):
        raise broken(path, "is not a safetensors file", AGAIN)
    data = 8 + length
    entries: dict[str, TensorEntry] = {}
    for name, value in header.items():
        if name != "__metadata__":
            entries[name] = _entry(path, name, value, data)
    end = max((entry.start + entry.length for entry in entries.values()), default=data)
    if end > size:
        sizes = f"{format_bytes(size)} of {format_bytes(end)}"
        raise broken(path, f"is cut short: it has {sizes}", AGAIN)
    return entries


def _entry(path: Path, name: str, value: Any, data: int) -> TensorEntry:
    """Check one tensor of a header.

    Args:
        path: The file, for errors.
        name: Name of the tensor.
        value: Its entry in the header, as parsed from JSON.
        data: Offset of the data in the file, in bytes.
    """
    try:
        dtype, shape = value["dtype"], tuple(int(n) for n in value["shape"])
        start, end = (int(n) for n in value["data_offsets"])
    except (TypeError, KeyError, ValueError):
        raise broken(path, "has a damaged header", AGAIN) from None
    item = ITEM_SIZE.get(dtype)
    shown = safe_line(name, 80)
    if item is None:
        cause = f"stores {shown} as {safe_line(str(dtype), 16)}, which is not supported"
        raise broken(path, cause, "Choose unquantised weights of this model")
    if start < 0 or min(shape, default=0) < 0 or end - start != math.prod(shape) * item:
        raise broken(path, f"has a damaged header: the size of {shown} is wrong", AGAIN)
    return TensorEntry(dtype, shape, path, data + start, end - start)


def _read_config(directory: Path, names: list[str]) -> dict[str, Any]:
    """Read config.json, and check that it describes an unquantised causal language model."""
    path = directory / "config.json"
    if path.name not in names:
        if "adapter_config.json" in names:
            cause = "config.json is missing: this is an adapter, not a whole model"
            raise broken_directory(directory, cause, "Merge it into its base model first")
        if any(name.endswith(".gguf") for name in names):
            cause = "config.json is missing: GGUF files are for other programs"
            raise broken_directory(directory, cause, "Choose the same model as safetensors")
        cause = "config.json is missing"
        raise broken_directory(
            directory, cause, "Name the directory that holds config.json and the weights"
        )
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise broken(path, "names no model_type", AGAIN)
    if config.get("is_encoder_decoder"):
        cause = "describes an encoder-decoder model, which does not continue text"
        raise broken(path, cause, "Choose a causal language model")
    if config.get("quantization_config"):
        cause = "describes weights that are already quantised"
        raise broken(path, cause, "Choose the unquantised weights; 8bit and 4bit are made here")
    return config


def _require_tokenizer(directory: Path, names: list[str]) -> None:
    """Check that a directory has a tokenizer, and that its JSON files parse."""
    found = [name for name in _TOKENIZER_FILES if name in names]
    if not found:
        cause = "tokenizer.json is missing"
        raise broken_directory(directory, cause, "Copy the tokenizer files of the model here")
    if found[0] == "tokenizer.json":
        content = read_json(directory / "tokenizer.json")
        if not isinstance(content.get("model"), dict):
            raise broken(directory / "tokenizer.json", "holds no tokenizer", AGAIN)
    if "tokenizer_config.json" in names:
        read_json(directory / "tokenizer_config.json")


def _shards(index: Path) -> tuple[Path, ...]:
    """Return the files that an index names, each once.

    Raises:
        ModelLoadError: If one is missing, or lies outside the directory of the index.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise broken(index, "names no weight files", AGAIN)
    files: list[Path] = []
    for name in dict.fromkeys(weight_map.values()):
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise broken(index, "names a file outside the directory", AGAIN)
        path = index.parent / name
        if not path.is_file():
            shown = safe_line(name, 80)
            raise broken(index, f"names {shown}, which is missing", "Download that file too")
        files.append(path)
    return tuple(files)


def _bin_files(directory: Path, names: list[str]) -> tuple[Path, ...]:
    """Return the pickled weight files of a model without safetensors files."""
    if "pytorch_model.bin.index.json" in names:
        files = _shards(directory / "pytorch_model.bin.index.json")
    elif "pytorch_model.bin" in names:
        files = (directory / "pytorch_model.bin",)
    else:
        others = [name for name in names if name.endswith((".gguf", ".h5", ".msgpack", ".onnx"))]
        extra = f" (there is {safe_line(others[0], 60)}, which is another format)" if others else ""
        cause = f"there are no weights: neither model.safetensors nor pytorch_model.bin{extra}"
        raise broken_directory(directory, cause, "Download the weights too")
    for file in files:
        _refuse_pointer(file)
    return files


def _refuse_pointer(path: Path) -> None:
    """Raise an error for an empty file or a Git LFS pointer.

    A clone without Git LFS leaves such pointers, small text files, in place of the weights.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_LFS))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise broken(path, f"cannot be read: {reason}", "Check its permissions") from None
    if not start:
        raise broken(path, "is empty", AGAIN)
    if start == _LFS:
        hint = "Run `git lfs pull` in the directory, or download the file"
        raise broken(path, "is a Git LFS pointer, not the file itself", hint)
