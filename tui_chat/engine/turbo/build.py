"""Compiles a step. A program of its own, so that the screens keep their interpreter.

Run as `python -m tui_chat.engine.turbo.build FOLDER`: it reads the recipe from there, and leaves
the compiled code and its signature, or the reason why there is none. No weights are needed, only
their shapes: the model is made of tensors without memory. Works with the lowest priority.

For a GPU the same is done: Triton's kernels and the C++ that calls them go into one library, which
the chat loads and records into a CUDA graph. `torch.compile` with `mode="reduce-overhead"` would
record a graph as well, but trace the model in the chat's own process first, cached or not, and
hold its interpreter for many seconds. Only this process needs Triton. The GPU has to be here, since
every kernel is timed on it in a few variants, with tensors of the sizes that it is for.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from tui_chat.engine.turbo.artefact import Recipe, Signature

LONGEST_CONTEXT = 2**20
"""Most tokens that a step can be asked for."""
_OPTIONS = {
    # Headers compiled ahead pay for many files; here there are two.
    "aot_inductor.precompile_headers": False,
    "cpp_cache_precompile_headers": False,
}
_GPU_OPTIONS = {
    # Kernels are timed one by one with tensors made for each; a run of the whole model would need
    # all of its weights.
    "triton.autotune_at_compile_time": True,
    # Matrix times vector is bound by memory, and how well it reads depends on the block sizes: more
    # of them to begin with, and a search from the best.
    "max_autotune_pointwise": True,
    "coordinate_descent_tuning": True,
}
_MOST_PROCESSES = 8
"""That compile kernels for a GPU."""
_EXAMPLE_CAPACITY = {"growing": 128, "fixed": 1024}
"""Tokens for which loops over the keys are laid out; any number of them works."""


def main(folder: Path) -> int:
    """Compile what the recipe in a folder says.

    Returns:
        0 if it is there, 3 if it cannot be made, and the refusal says why.
    """
    _yield_to_everything_else()
    inductor = folder / "inductor"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(inductor)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tui_chat.engine.turbo.artefact import PACKAGE, RECIPE, REFUSAL, SIGNATURE, Recipe
    from tui_chat.engine.turbo.compiled_step import package_loader
    from tui_chat.engine.turbo.toolchain import use_toolchain

    try:
        recipe = Recipe.from_json((folder / RECIPE).read_text())
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = str(_threads(recipe.device))
        use_toolchain(recipe.device, folder / "links")
        signature = compile_step(recipe, folder / PACKAGE)
        # A step that cannot be loaded may crash what tries, so this process is the first.
        package_loader(folder / PACKAGE, recipe.device)
        (folder / SIGNATURE).write_text(signature.to_json())
    except MemoryError:
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU; it may fit next time
            raise
        traceback.print_exc()
        line = str(error).strip().partition("\n")[0]
        (folder / REFUSAL).write_text(f"{type(error).__name__}: {line}"[:300])
        return 3
    finally:
        shutil.rmtree(inductor, ignore_errors=True)
    return 0


def compile_step(recipe: Recipe, package: Path) -> Signature:
    """Compile a step into a file; returns what it takes."""
    import torch

    with torch.no_grad():
        program, signature = exported_step(recipe)
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(package), inductor_configs=_options(recipe.device)
        )
    return signature


def exported_step(recipe: Recipe) -> tuple[torch.export.ExportedProgram, Signature]:
    """The step as a graph of operations, and what it takes. Needs no device that computes."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv
    from transformers import AutoConfig

    from tui_chat.engine.turbo.artefact import DTYPES, Signature
    from tui_chat.engine.turbo.step import FORMS, step_model, weights_of

    config = AutoConfig.for_model(**json.loads(recipe.config))
    dtype = DTYPES[recipe.dtype]
    is_fixed = recipe.form == "fixed"
    device = torch.device(recipe.device)
    capacity = _EXAMPLE_CAPACITY[recipe.form]
    with torch.no_grad(), FakeTensorMode(shape_env=ShapeEnv()):
        layers = _cache_layers(config, dtype)
        model = step_model(config, dtype, recipe.int8)
        _move(model, device)
        step = FORMS[recipe.form](model)
        weights = [tensor for _, tensor in weights_of(model)]
        keys, values = (
            [torch.empty(heads, capacity, n, dtype=dtype, device=device) for heads, n in layers]
            for _ in "kv"
        )
        token = torch.zeros(1, 1, dtype=torch.int64, device=device)
        place = torch.zeros(1, dtype=torch.int64, device=device)
        if not is_fixed:
            place = torch.empty(5, dtype=torch.int8, device=device)
    length = {0: torch.export.Dim("length", min=2, max=LONGEST_CONTEXT)}
    buffer = {1: torch.export.Dim("capacity", min=2, max=LONGEST_CONTEXT)}
    with torch.no_grad():
        program = torch.export.export(
            step,
            (token, place, keys, values, weights),
            dynamic_shapes={
                "token": None,
                "place": None if is_fixed else length,
                "keys": [buffer for _ in layers],
                "values": [buffer for _ in layers],
                "weights": [None for _ in weights],
            },
            strict=False,
        )
    described = tuple(
        (name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in weights_of(model)
    )
    return program, Signature(described, tuple(layers), recipe.form)


def _move(model: Any, device: Any) -> None:
    """Give a model new weights on a device, of the same shape; none of them mean anything."""
    import torch

    moved: dict[int, Any] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None and id(weight) not in moved:
                empty = torch.empty_like(weight, device=device)
                moved[id(weight)] = torch.nn.Parameter(empty, requires_grad=False)
            module._parameters[name] = moved.get(id(weight))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty_like(buffer, device=device)


def _threads(device: str) -> int:
    """Processes that compile kernels. For a CPU, g++ makes them all of one file."""
    from tui_chat.engine.machine.devices import usable_cores

    return 1 if device == "cpu" else max(1, min(_MOST_PROCESSES, usable_cores() - 1))


def _options(device: str) -> dict[str, Any]:
    """The options for a device that this torch knows; older ones lack some, and do without."""
    from torch._inductor import config

    options = _OPTIONS if device == "cpu" else {**_OPTIONS, **_GPU_OPTIONS}
    known = config.get_config_copy()
    return {name: value for name, value in options.items() if name in known}


def _cache_layers(config: Any, dtype: Any) -> list[tuple[int, int]]:
    """Key heads and head size of each layer, as the model fills a cache."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    from tui_chat.engine.replies.forward import forward

    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager")
    cache = DynamicCache(config=config)
    forward(model, torch.zeros(1, 2, dtype=torch.int64), cache)
    return [(layer.keys.shape[1], layer.keys.shape[3]) for layer in cache.layers]


def _yield_to_everything_else() -> None:
    """Run only when nothing else wants a core."""
    if hasattr(os, "SCHED_IDLE"):
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            return
        except OSError:
            pass  # not allowed in some containers
    if hasattr(os, "nice"):
        os.nice(19)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
