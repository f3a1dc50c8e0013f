"""What a compiled step is made from, and where it is kept.

A step depends on the shape of a model, not on its weights: its recipe is the configuration, the
dtypes and the versions and hardware it is compiled for. Owns the folder of steps and the files in
each. Refuses to compile and to run.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from tui_chat.config import paths
from tui_chat.engine.loading.int8 import int8_parts
from tui_chat.engine.replies.kv_buffers import is_cuttable, new_cache
from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line

Device = Literal["cpu", "cuda"]
"""What steps can be compiled for."""
StepForm = Literal["growing", "fixed"]
"""Whether the number of tokens is a shape, or the position a number in memory: see `step`."""

PACKAGE = "step.pt2"
"""The compiled code."""
SIGNATURE = "signature.json"
"""What it takes."""
RECIPE = "recipe.json"
REFUSAL = "refusal.txt"
"""Why it could not be made, or is not used, in a line."""

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}


_WITHOUT_EFFECT = frozenset(
    {
        "_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype",
        "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id", "use_cache",
        "id2label", "label2id", "problem_type", "task_specific_params", "quantization_config",
    }
)  # fmt: skip
"""Keys of a configuration that a forward pass does not depend on."""


class TurboError(TuiChatError):
    """There is no compiled step for this model here."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a step is compiled from."""

    config: str
    """Of the model, as JSON."""
    dtype: str
    """What it computes in: a key of `DTYPES`."""
    int8: tuple[str, ...]
    """Names of the linear layers whose weights are int8."""
    device: Device = "cpu"
    form: StepForm = "growing"
    hardware: tuple[str, ...] = ()
    """What it is compiled for: its name, then whatever the machine code may depend on."""

    @property
    def key(self) -> str:
        """Differs wherever the machine code may differ."""
        made_by = (torch.__version__, transformers.__version__, _source())
        text = json.dumps([self.to_json(), made_by])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    @property
    def folder(self) -> Path:
        """Where the step is kept, made or not."""
        return steps_dir() / self.key

    def to_json(self) -> str:
        """For the process that compiles."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """What `to_json` wrote."""
        values = json.loads(text)
        lists = {name: tuple(values[name]) for name in ("int8", "hardware")}
        return cls(**{**values, **lists})


@dataclass(frozen=True, slots=True)
class Signature:
    """What a compiled step takes besides the token."""

    weights: tuple[tuple[str, tuple[int, ...], str], ...]
    """Name, shape and dtype of each weight, in order."""
    layers: tuple[tuple[int, int], ...]
    """Key heads and head size of each layer."""
    form: StepForm = "growing"

    def to_json(self) -> str:
        """For the file beside the package."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """What `to_json` wrote."""
        values = json.loads(text)
        return cls(
            tuple((name, tuple(shape), dtype) for name, shape, dtype in values["weights"]),
            tuple((heads, size) for heads, size in values["layers"]),
            values["form"],
        )


def steps_dir() -> Path:
    """Folder of all compiled steps."""
    return paths.cache_dir() / "turbo"


def recipe_for(model: Any) -> Recipe:
    """The recipe of a loaded model.

    Raises:
        TurboError: If there can be no compiled step for it, with the reason.
    """
    weight = model.get_input_embeddings().weight
    device = _device(weight)
    dtype = str(weight.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise _refused(f"it computes in {dtype}")
    if getattr(model, "is_loaded_in_8bit", False) or getattr(model, "is_loaded_in_4bit", False):
        raise _refused("its weights are in the form of bitsandbytes; int8 can be compiled")
    if not getattr(model, "_supports_attention_backend", False):
        raise _refused("its attention cannot be replaced")
    if not is_cuttable(new_cache(model.config.get_text_config(decoder=True))):
        raise _refused("not all of its layers attend to the whole text")
    layers = model.named_modules()
    int8 = tuple(name for name, layer in layers if int8_parts(getattr(layer, "weight", None)))
    values = json.loads(model.config.to_json_string(use_diff=False))
    config = {name: value for name, value in values.items() if name not in _WITHOUT_EFFECT}
    form: StepForm = "fixed" if device == "cuda" else "growing"
    hardware = _gpu(weight.device) if device == "cuda" else _processor()
    return Recipe(json.dumps(config, sort_keys=True), dtype, int8, device, form, hardware)


def _device(weight: Any) -> Device:
    """Where a model is.

    Raises:
        TurboError: If nothing can be compiled for that.
    """
    kind = weight.device.type
    if kind == "cpu":
        return "cpu"
    if kind == "cuda" and torch.version.hip is None:
        return "cuda"
    name = "an AMD GPU" if kind == "cuda" else kind
    raise _refused(f"it is on {name}, and steps are compiled for CPUs and GPUs of NVIDIA")


def _refused(reason: str) -> TurboError:
    return TurboError("There is no compiled path for this model", reason, "")


def _processor() -> tuple[str, ...]:
    """The instructions that the compiler may use."""
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    found = get_capabilities() if get_capabilities is not None else {}
    features = str(sorted(found.items()))
    return ("CPU", platform.machine(), features, torch.backends.cpu.get_cpu_capability())


def _gpu(device: torch.device) -> tuple[str, ...]:
    """The GPU, and what stands between the compiled code and it."""
    major, minor = torch.cuda.get_device_capability(device)
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "none"
    return (
        safe_line(torch.cuda.get_device_name(device), 64),
        f"compute capability {major}.{minor}",
        f"CUDA {torch.version.cuda}",
        f"driver for CUDA {_driver_version()}",
        f"triton {triton}",
    )


def _driver_version() -> int:
    """Of CUDA, the newest that the driver knows: 13000 for 13.0; 0 if it does not say."""
    found = ctypes.c_int(0)
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(found))
    return found.value


def _source() -> str:
    """The step as it is written, and how it is compiled."""
    sources = (Path(__file__).with_name(name).read_bytes() for name in ("step.py", "build.py"))
    return hashlib.sha256(b"".join(sources)).hexdigest()


@dataclass(frozen=True, slots=True)
class KeptStep:
    """A step on the disk, or the reason why there is none."""

    model_type: str
    dtype: str
    is_int8: bool
    hardware: str
    """What it was made for: `CPU`, or the name of a GPU."""
    nbytes: int
    refusal: str = ""


def refuse(folder: Path, reason: str) -> None:
    """Have a step never be used again, and say why; its code goes.

    Args:
        folder: Where it is kept.
        reason: One line.
    """
    with suppress(OSError):  # a folder that cannot be written: the step is tried again some day
        (folder / REFUSAL).write_text(reason)
        (folder / PACKAGE).unlink(missing_ok=True)
        (folder / SIGNATURE).unlink(missing_ok=True)


def kept_steps() -> list[KeptStep]:
    """What has been compiled, or refused, on this machine so far."""
    kept = []
    try:
        files = sorted(steps_dir().glob(f"*/{RECIPE}"))
    except OSError:  # a home that cannot be
        return []
    for file in files:
        folder = file.parent
        if not ((folder / PACKAGE).is_file() or (folder / REFUSAL).is_file()):
            continue
        try:
            recipe = Recipe.from_json(file.read_text())
            model_type = str(json.loads(recipe.config)["model_type"])
            refused = folder / REFUSAL
            refusal = refused.read_text(errors="replace") if refused.is_file() else ""
            size = sum(path.stat().st_size for path in folder.iterdir())
        except (OSError, ValueError, LookupError, TypeError):
            continue  # not one of ours
        is_int8, hardware = bool(recipe.int8), recipe.hardware[0]
        kept.append(KeptStep(model_type, recipe.dtype, is_int8, hardware, size, refusal))
    return kept
