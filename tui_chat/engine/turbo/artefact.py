"""Describes what a compiled step is made from, and where it is stored on disk.

A step depends on the shape of a model, not on its weights. Its recipe is the model's configuration,
the dtypes, and the library versions and hardware it is compiled for; the hash of these names its
folder in the cache folder. `build` compiles steps, and `compiled_step` runs them.
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
"""Kinds of device for which steps can be compiled."""
StepForm = Literal["growing", "fixed"]
"""Whether the step gets the number of tokens as a shape, or as a position in memory; see `step`."""

PACKAGE = "step.pt2"
"""Name of the file with the compiled code."""
SIGNATURE = "signature.json"
"""Name of the file that lists the step's arguments, a `Signature`."""
RECIPE = "recipe.json"
"""Name of the file with the `Recipe`."""
REFUSAL = "refusal.txt"
"""Name of the file that says, in one line, why the step cannot be compiled or must not be used."""

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
"""Dtypes that a step can compute in or read, by the names that recipes and signatures use."""


_WITHOUT_EFFECT = frozenset(
    {
        "_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype",
        "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id", "use_cache",
        "id2label", "label2id", "problem_type", "task_specific_params", "quantization_config",
    }
)  # fmt: skip
"""Keys of a model's configuration that do not affect the forward pass."""


class TurboError(TuiChatError):
    """Raised when a model has no compiled step on this machine; `detail` says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a step is compiled from."""

    config: str
    """Configuration of the model, as JSON."""
    dtype: str
    """Dtype in which the step computes: a key of `DTYPES`."""
    int8: tuple[str, ...]
    """Names of the linear layers whose weights are int8."""
    device: Device = "cpu"
    form: StepForm = "growing"
    hardware: tuple[str, ...] = ()
    """The hardware it is compiled for: its name, then everything the machine code may depend on."""

    @property
    def key(self) -> str:
        """Hash of everything that may change the machine code, 24 hex digits."""
        made_by = (torch.__version__, transformers.__version__, _source())
        text = json.dumps([self.to_json(), made_by])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    @property
    def folder(self) -> Path:
        """Folder of the step, whether or not it exists."""
        return steps_dir() / self.key

    def to_json(self) -> str:
        """Return the recipe as JSON, for the compiling process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Return the recipe that `to_json` wrote."""
        values = json.loads(text)
        lists = {name: tuple(values[name]) for name in ("int8", "hardware")}
        return cls(**{**values, **lists})


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments of a compiled step, besides the token and its position."""

    weights: tuple[tuple[str, tuple[int, ...], str], ...]
    """Name, shape and dtype of each weight, in order."""
    layers: tuple[tuple[int, int], ...]
    """Key heads and head size of each layer."""
    form: StepForm = "growing"

    def to_json(self) -> str:
        """Return the signature as JSON, for the file next to the package."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """Return the signature that `to_json` wrote."""
        values = json.loads(text)
        return cls(
            tuple((name, tuple(shape), dtype) for name, shape, dtype in values["weights"]),
            tuple((heads, size) for heads, size in values["layers"]),
            values["form"],
        )


def steps_dir() -> Path:
    """Return the folder of all compiled steps."""
    return paths.cache_dir() / "turbo"


def recipe_for(model: Any) -> Recipe:
    """Return the recipe of a loaded model.

    Raises:
        TurboError: If no step can be compiled for it, with the reason.
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
    """Return the kind of device that holds a weight.

    Raises:
        TurboError: If steps cannot be compiled for that device.
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
    """Describe the CPU by the instructions that the compiler may use."""
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    found = get_capabilities() if get_capabilities is not None else {}
    features = str(sorted(found.items()))
    return ("CPU", platform.machine(), features, torch.backends.cpu.get_cpu_capability())


def _gpu(device: torch.device) -> tuple[str, ...]:
    """Describe the GPU, and the software between it and the compiled code."""
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
    """Return the newest CUDA version that the driver supports, 13000 for 13.0; 0 if unknown."""
    found = ctypes.c_int(0)
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(found))
    return found.value


def _source() -> str:
    """Return a hash of the modules that define and compile a step."""
    sources = (Path(__file__).with_name(name).read_bytes() for name in ("step.py", "build.py"))
    return hashlib.sha256(b"".join(sources)).hexdigest()


@dataclass(frozen=True, slots=True)
class KeptStep:
    """A step stored on disk, or the reason why there is none."""

    model_type: str
    dtype: str
    is_int8: bool
    hardware: str
    """The hardware it was compiled for: `CPU`, or the name of a GPU."""
    nbytes: int
    refusal: str = ""


def refuse(folder: Path, reason: str) -> None:
    """Delete the code of a step, and store the reason so that no process uses or compiles it again.

    Args:
        folder: The folder of the step.
        reason: One line.
    """
    with suppress(OSError):  # a read-only folder: the step is tried again in another session
        (folder / REFUSAL).write_text(reason)
        (folder / PACKAGE).unlink(missing_ok=True)
        (folder / SIGNATURE).unlink(missing_ok=True)


def kept_steps() -> list[KeptStep]:
    """Return every step that was compiled or refused on this machine so far."""
    kept = []
    try:
        files = sorted(steps_dir().glob(f"*/{RECIPE}"))
    except OSError:  # the cache folder cannot be read
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
            continue  # not a folder of a step
        is_int8, hardware = bool(recipe.int8), recipe.hardware[0]
        kept.append(KeptStep(model_type, recipe.dtype, is_int8, hardware, size, refusal))
    return kept
