"""Compiles a step, in a process of its own so that the chat's interpreter stays free.

Run as `python -m tui_chat.engine.turbo.build FOLDER`. It reads the recipe from the folder, and
writes either the compiled code and its signature or a refusal with the reason. It runs at the
lowest priority. It needs the shapes of the weights only: the model is made of tensors without
memory.

For a GPU, Triton's kernels and the C++ code that calls them are put into one library, which the
chat loads and records into a CUDA graph. `torch.compile` with `mode="reduce-overhead"` would record
a graph as well, but it first traces the model in the chat's own process, even from its cache, and
blocks the interpreter for many seconds. Only this process needs Triton. It also needs the GPU
itself, because the compiler times several variants of every kernel, on tensors of the real sizes.
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
"""The most tokens that a step supports."""
_OPTIONS = {
    # Precompiled headers pay off for many files; here there are two.
    "aot_inductor.precompile_headers": False,
    "cpp_cache_precompile_headers": False,
}
_GPU_OPTIONS = {
    # Time each kernel with tensors made for it; timing the whole model would need its weights.
    "triton.autotune_at_compile_time": True,
    # A matrix-vector product is bound by memory, and its speed depends on the block sizes: try more
    # of them, then search from the best.
    "max_autotune_pointwise": True,
    "coordinate_descent_tuning": True,
}
_MOST_PROCESSES = 8
"""The most processes that compile kernels for a GPU."""
_EXAMPLE_CAPACITY = {"growing": 128, "fixed": 1024}
"""Capacity in tokens of the example buffers, for each form. The compiler optimises the loops over
the keys for it; the code works for any other."""


def main(folder: Path) -> int:
    """Compile the recipe in a folder.

    Returns:
        The exit code: 0 if the step was compiled, 3 if it cannot be compiled and the refusal says
        why.

    Raises:
        MemoryError: If memory ran out, so that compiling may succeed another time. torch's
            `OutOfMemoryError` is passed on for the same reason.
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
        # Loading a faulty step can crash the process, so try it here before the chat does.
        package_loader(folder / PACKAGE, recipe.device)
        (folder / SIGNATURE).write_text(signature.to_json())
    except MemoryError:
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU; another time it may fit
            raise
        traceback.print_exc()
        line = str(error).strip().partition("\n")[0]
        (folder / REFUSAL).write_text(f"{type(error).__name__}: {line}"[:300])
        return 3
    finally:
        shutil.rmtree(inductor, ignore_errors=True)
    return 0


def compile_step(recipe: Recipe, package: Path) -> Signature:
    """Compile a step into a file, and return its signature."""
    import torch

    with torch.no_grad():
        program, signature = exported_step(recipe)
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(package), inductor_configs=_options(recipe.device)
        )
    return signature


def exported_step(recipe: Recipe) -> tuple[torch.export.ExportedProgram, Signature]:
    """Return the step as a graph of operations, and its signature. Needs no GPU in any case."""
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
    # From 2 on, because torch.export specialises on the sizes 0 and 1.
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
    """Give a model new, uninitialised weights of the same shapes on a device."""
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
    """Return how many processes compile kernels. For a CPU, g++ compiles a single file."""
    from tui_chat.engine.machine.devices import usable_cores

    return 1 if device == "cpu" else max(1, min(_MOST_PROCESSES, usable_cores() - 1))


def _options(device: str) -> dict[str, Any]:
    """Return the compiler options for a device; older torch releases lack some of them."""
    from torch._inductor import config

    options = _OPTIONS if device == "cpu" else {**_OPTIONS, **_GPU_OPTIONS}
    known = config.get_config_copy()
    return {name: value for name, value in options.items() if name in known}


def _cache_layers(config: Any, dtype: Any) -> list[tuple[int, int]]:
    """Return key heads and head size of each layer, from a cache that the model has filled."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    from tui_chat.engine.replies.forward import forward

    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager")
    cache = DynamicCache(config=config)
    forward(model, torch.zeros(1, 2, dtype=torch.int64), cache)
    return [(layer.keys.shape[1], layer.keys.shape[3]) for layer in cache.layers]


def _yield_to_everything_else() -> None:
    """Lower the priority, so that this process runs only when a core would be idle."""
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
