"""Compiles a step. A program of its own, so that the screens keep their interpreter.

Run as `python -m tui_chat.engine.turbo.build FOLDER`: it reads the recipe from there, and leaves
the compiled code and its signature, or the reason why there is none. No weights are needed, only
their shapes: the model is made of tensors without memory. Works with the lowest priority.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

LONGEST_CONTEXT = 2**20
"""Most tokens that a step can be asked for."""
_OPTIONS = {
    # Headers compiled ahead pay for many files; here there are two.
    "aot_inductor.precompile_headers": False,
    "cpp_cache_precompile_headers": False,
}


def main(folder: Path) -> int:
    """Compile what the recipe in a folder says.

    Returns:
        0 if it is there, 3 if it cannot be made, and the refusal says why.
    """
    _yield_to_everything_else()
    inductor = folder / "inductor"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(inductor)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tui_chat.engine.turbo.artefact import PACKAGE, RECIPE, REFUSAL, SIGNATURE, Recipe

    try:
        recipe = Recipe.from_json((folder / RECIPE).read_text())
        signature = compile_step(recipe, folder / PACKAGE)
        (folder / SIGNATURE).write_text(signature.to_json())
    except MemoryError:
        raise
    except Exception as error:
        traceback.print_exc()
        line = str(error).strip().partition("\n")[0]
        (folder / REFUSAL).write_text(f"{type(error).__name__}: {line}"[:300])
        return 3
    finally:
        shutil.rmtree(inductor, ignore_errors=True)
    return 0


def compile_step(recipe: Any, package: Path) -> Any:
    """Compile a step into a file; returns its `artefact.Signature`."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv
    from transformers import AutoConfig

    from tui_chat.engine.turbo.artefact import DTYPES, Signature
    from tui_chat.engine.turbo.step import DecodeStep, step_model, weights_of

    values = json.loads(recipe.config)
    config = AutoConfig.for_model(**values)
    dtype = DTYPES[recipe.dtype]
    with torch.no_grad(), FakeTensorMode(shape_env=ShapeEnv()):
        layers = _cache_layers(config, dtype)
        step = DecodeStep(step_model(config, dtype, recipe.int8))
        model = step.model
        weights = [tensor for _, tensor in weights_of(model)]
        keys, values_ = (
            [torch.empty(heads, 128, size, dtype=dtype) for heads, size in layers] for _ in "kv"
        )
        token = torch.zeros(1, 1, dtype=torch.int64)
        span = torch.empty(5, dtype=torch.int8)
        arguments = (token, span, keys, values_, weights)
    length = torch.export.Dim("length", min=2, max=LONGEST_CONTEXT)
    capacity = torch.export.Dim("capacity", min=2, max=LONGEST_CONTEXT)
    with torch.no_grad():
        program = torch.export.export(
            step,
            arguments,
            dynamic_shapes={
                "token": None,
                "span": {0: length},
                "keys": [{1: capacity} for _ in layers],
                "values": [{1: capacity} for _ in layers],
                "weights": [None for _ in weights],
            },
            strict=False,
        )
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(package), inductor_configs=_options()
        )
    described = tuple(
        (name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in weights_of(model)
    )
    return Signature(described, tuple(layers))


def _options() -> dict[str, Any]:
    """The options that this torch knows; older ones lack some, and do without."""
    from torch._inductor import config

    known = config.get_config_copy()
    return {name: value for name, value in _OPTIONS.items() if name in known}


def _cache_layers(config: Any, dtype: Any) -> list[tuple[int, int]]:
    """Key heads and head size of each layer, as the model fills a cache."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager")
    cache = DynamicCache(config=config)
    model(input_ids=torch.zeros(1, 2, dtype=torch.int64), past_key_values=cache, use_cache=True)
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
