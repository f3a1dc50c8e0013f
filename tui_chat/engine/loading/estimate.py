"""How large a model is and whether it fits: for the pickers, and before anything is loaded.

Owns the way from files, or from a declared shape, to a `ModelShape`, and the rows of the pickers.
Refuses to load weights: parameters are counted on the meta device, which has no memory.
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
"""Context of a model that was trained for more and for which nobody named one: a KV cache of
tens of thousands of tokens would not fit most machines."""


def shape_from_directory(directory: Path) -> ModelShape:
    """The shape of the model that config.json describes, counted on the meta device.

    Raises:
        ModelLoadError: If it describes no causal language model that transformers knows.
    """
    try:
        stamp = (directory / "config.json").stat().st_mtime_ns
    except OSError:
        raise broken_directory(directory, "config.json is missing", "Check the path") from None
    return _shape(directory, stamp)


@lru_cache(maxsize=64)
def _shape(directory: Path, stamp: int) -> ModelShape:
    """As `shape_from_directory`; the time stamp makes a changed file count anew."""
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
    """Output rows of a linear layer; GPT-2's `Conv1D` is one too."""
    return int(getattr(module, "out_features", 0) or getattr(module, "nf", 0))


def context_length(spec: ModelSpec, positions: int | None) -> int:
    """Tokens that prompt and reply may have together.

    Args:
        spec: The model; its context is a wish.
        positions: What the model was trained for; None where unknown.
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
    """The rows of the precision picker.

    Args:
        spec: The model.
        device: As `resolve_device` returns it.
        context: Tokens to count the KV cache for; the model's own if None.
        current: The precision in which this model is loaded now, if it is.
        reclaimable: Bytes that come back when the loaded model is freed.
        hub: Where downloaded models are; the usual cache if None.

    Raises:
        ModelLoadError: If the files are there but cannot be a model.
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
    """The rows of the model picker, in the order of the registry. Never raises.

    Args:
        registry: The known models.
        device: As `resolve_device` returns it.
        current: Name of the loaded model, if there is one.
        reclaimable: Bytes that come back when it is freed.
        hub: Where downloaded models are; the usual cache if None.
    """
    place = hub or Hub()
    free = device_memory(device).free + reclaimable
    return [
        _model_choice(spec, device, free, spec.name == current, place)
        for spec in registry.models.values()
    ]


def files_and_shape(spec: ModelSpec, hub: Hub) -> tuple[Checkpoint | None, ModelShape | None]:
    """The files of a model, if they are on this machine, and its shape, if it is known.

    Raises:
        ModelLoadError: If the files are there but cannot be a model.
    """
    directory = spec.directory or hub.snapshot(spec.source, spec.revision)
    if directory is None:
        return None, spec.shape
    return read_checkpoint(directory), shape_from_directory(directory)


def fitting_precision(
    shape: ModelShape, device: str, context: int, free: int, stored: str = ""
) -> Precision | None:
    """The precision that `auto` means: the first of the preferred ones that fits; None if none.

    Args:
        shape: The model.
        device: As `resolve_device` returns it.
        context: Tokens to count the KV cache for.
        free: Bytes.
        stored: The dtype that config.json names.
    """
    for precision in preferred_precisions(device, shape.parameters, stored):
        if memory_on(device, shape, precision, context).total <= free:
            return precision
    return None


def full_cache_bytes(directory: Path, info: ModelInfo) -> int:
    """What the KV cache of a loaded model takes at its full context, in bytes."""
    precision = next(p for p in PRECISIONS if p == info.precision)
    shape = shape_from_directory(directory)
    return memory_on(info.device, shape, precision, info.context).cache


def memory_on(device: str, shape: ModelShape, precision: Precision, context: int) -> MemoryEstimate:
    """What a model needs on a device; there a quantised model may compute in fp32."""
    return estimate_memory(shape, precision, context, computes_in_fp32(device, precision))


def _estimate(
    shape: ModelShape | None, precision: Precision, context: int, device: str
) -> MemoryEstimate | None:
    return memory_on(device, shape, precision, context) if shape else None


def _model_choice(
    spec: ModelSpec, device: str, free: int, is_current: bool, hub: Hub
) -> ModelChoice:
    """One row of the model picker."""
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
    smallest = precision or "4bit"
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
