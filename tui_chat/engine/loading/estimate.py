"""Determines how large a model is and whether it fits, for the pickers and for load plans.

A `ModelShape` comes from the model's files or from models.toml. Parameters are counted on torch's
meta device, which allocates no memory, so no weights are read.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from tui_chat.chat.events import ModelInfo
from tui_chat.chat.known_names import PRECISIONS, Precision
from tui_chat.chat.model_size import (
    MemoryEstimate,
    ModelChoice,
    ModelShape,
    PrecisionChoice,
    estimate_memory,
)
from tui_chat.engine.files.checkpoint import (
    Checkpoint,
    broken,
    broken_directory,
    model_config,
    read_checkpoint,
)
from tui_chat.engine.files.hub import Hub
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.engine.machine.devices import (
    computes_in_fp32,
    device_memory,
    precision_support,
    preferred_precisions,
)
from tui_chat.errors import TuiChatError

DEFAULT_CONTEXT = 4096
"""Largest default context, in tokens. Many models were trained for tens of thousands of tokens,
whose KV cache would not fit most machines."""


def shape_from_directory(directory: Path) -> ModelShape:
    """Return the shape of the model in a directory, from its config.json.

    Raises:
        ModelLoadError: If config.json is missing, or describes no causal language model that
            transformers can build.
    """
    try:
        stamp = (directory / "config.json").stat().st_mtime_ns
    except OSError:
        raise broken_directory(directory, "config.json is missing", "Check the path") from None
    return _shape(directory, stamp)


@lru_cache(maxsize=64)
def _shape(directory: Path, stamp: int) -> ModelShape:
    """Build the model of a directory on the meta device and count its parameters.

    Args:
        directory: The model directory.
        stamp: Modification time of config.json; part of the cache key, so that a changed file is
            read again.
    """
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    config = model_config(directory)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:
        cause = f"describes no model that can be built ({type(error).__name__})"
        raise broken(directory / "config.json", cause, "Choose a causal language model") from None
    output = model.get_output_embeddings()
    linears = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not output
    ]
    text = config.get_text_config()
    heads = text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    embedding = model.get_input_embeddings()
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        linear_weights=sum(module.weight.numel() for module in linears),
        linear_rows=sum(_rows(module) for module in linears),
        largest_linear=max((module.weight.numel() for module in linears), default=0),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        kv_width=kv_heads * head_size,
        vocab=embedding.weight.shape[0],
    )


def _rows(module: object) -> int:
    """Return the output rows of an `nn.Linear`, or of the `Conv1D` that GPT-2 has in its place."""
    return int(getattr(module, "out_features", 0) or getattr(module, "nf", 0))


def context_length(spec: ModelSpec, positions: int | None) -> int:
    """Return the context length of a model: most tokens that prompt and reply have together.

    Args:
        spec: The model; its own `context` is limited to `positions`.
        positions: Context length that the model was trained for; None if unknown.
    """
    if spec.context is not None:
        return min(spec.context, positions or spec.context)
    return min(positions or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def precision_choices(
    spec: ModelSpec,
    device: str,
    context: int | None = None,
    current: str | None = None,
    reclaimable: int = 0,
    hub: Hub | None = None,
) -> list[PrecisionChoice]:
    """Return the rows of the precision picker, one for each precision.

    Args:
        spec: The model.
        device: A device as `resolve_device` returns it.
        context: Tokens of KV cache to estimate for; if None, the context of `spec`.
        current: Precision of this model if it is loaded now, else None.
        reclaimable: Bytes that freeing the loaded model would give back.
        hub: The hub and its cache; the usual cache if None.

    Raises:
        ModelLoadError: If the files of the model are here but unusable.
    """
    files, shape = files_and_shape(spec, hub or Hub())
    tokens = context or context_length(spec, files.positions if files else None)
    memory = device_memory(device)
    free = memory.free + reclaimable
    rows = []
    for support in precision_support(device):
        needed = _estimate(shape, support.precision, tokens, device)
        fits = not support.reason and (needed is None or needed.total <= free)
        rows.append(
            PrecisionChoice(
                precision=support.precision,
                estimate=needed,
                free=free,
                fits=fits,
                is_current=support.precision == current,
                reason=support.reason,
                total=memory.total,
            )
        )
    return rows


def model_choices(
    registry: Registry,
    device: str,
    current: str | None = None,
    reclaimable: int = 0,
    hub: Hub | None = None,
) -> list[ModelChoice]:
    """Return the rows of the model picker, in the order of the registry.

    A model whose files are unusable gets a row with a `problem` instead of an exception.

    Args:
        registry: The known models.
        device: A device as `resolve_device` returns it.
        current: Name of the loaded model; None if no model is loaded.
        reclaimable: Bytes that freeing the loaded model would give back.
        hub: The hub and its cache; the usual cache if None.
    """
    place = hub or Hub()
    free = device_memory(device).free + reclaimable
    return [
        _model_choice(spec, device, free, spec.name == current, place)
        for spec in registry.models.values()
    ]


def files_and_shape(spec: ModelSpec, hub: Hub) -> tuple[Checkpoint | None, ModelShape | None]:
    """Return the files of a model and its shape.

    Returns:
        The files, or None if the model is not on this machine, and the shape, which then comes
        from models.toml and may be None.

    Raises:
        ModelLoadError: If the files are here but unusable.
    """
    directory = spec.directory or hub.snapshot(spec.source, spec.revision)
    if directory is None:
        return None, spec.shape
    return read_checkpoint(directory), shape_from_directory(directory)


def fitting_precision(
    shape: ModelShape, device: str, context: int, free: int, stored: str = ""
) -> Precision | None:
    """Return the precision that `auto` stands for: the first preferred one that fits, or None.

    Args:
        shape: Shape of the model.
        device: A device as `resolve_device` returns it.
        context: Tokens of KV cache to estimate for.
        free: Free bytes on the device.
        stored: The dtype named in config.json, such as `float16`; empty if unknown.
    """
    for precision in preferred_precisions(device, shape.parameters, stored):
        if memory_on(device, shape, precision, context).total <= free:
            return precision
    return None


def full_cache_bytes(directory: Path, info: ModelInfo) -> int:
    """Return the bytes of a loaded model's KV cache at its full context."""
    precision = next(p for p in PRECISIONS if p == info.precision)
    shape = shape_from_directory(directory)
    return memory_on(info.device, shape, precision, info.context).cache


def memory_on(device: str, shape: ModelShape, precision: Precision, context: int) -> MemoryEstimate:
    """Estimate the memory of a model on a device, on which a quantised one may compute in fp32.

    Args:
        device: A device as `resolve_device` returns it.
        shape: Shape of the model.
        precision: The precision to load in.
        context: Tokens of KV cache.
    """
    return estimate_memory(shape, precision, context, computes_in_fp32(device, precision))


def _estimate(
    shape: ModelShape | None, precision: Precision, context: int, device: str
) -> MemoryEstimate | None:
    return memory_on(device, shape, precision, context) if shape else None


def _model_choice(
    spec: ModelSpec, device: str, free: int, is_current: bool, hub: Hub
) -> ModelChoice:
    """Return one row of the model picker."""
    files: Checkpoint | None = None
    shape = spec.shape
    problem = ""
    try:
        files, shape = files_and_shape(spec, hub)
    except TuiChatError as error:
        problem = error.detail or error.title
    context = context_length(spec, files.positions if files else None)
    precision: Precision | None = None
    if shape is not None and spec.precision in PRECISIONS:
        wanted: Precision = spec.precision
        precision = wanted if memory_on(device, shape, wanted, context).total <= free else None
    elif shape is not None:
        stored = files.stored_dtype if files else ""
        precision = fitting_precision(shape, device, context, free, stored)
    smallest = precision or "4bit"  # if nothing fits, show the least that it would need
    return ModelChoice(
        name=spec.name,
        source=spec.source,
        description=spec.description,
        context=context,
        parameters=shape.parameters if shape else None,
        precision=precision or "",
        estimate=_estimate(shape, smallest, context, device),
        fits=None if shape is None else precision is not None,
        is_current=is_current,
        is_local=files is not None,
        problem=problem,
    )
