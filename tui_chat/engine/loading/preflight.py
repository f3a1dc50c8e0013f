"""Decides how a model would be loaded, and refuses what cannot work, before anything is freed.

Owns the filling in of what a request leaves open: files, device, precision, template, context and
reserve. Refuses to load, to download and to change anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tui_chat.chat.known_names import PRECISIONS, Precision
from tui_chat.chat.model_size import MemoryEstimate, ModelShape, format_bytes
from tui_chat.chat.templates import template_named
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.checkpoint import Checkpoint
from tui_chat.engine.files.hub import Hub
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.engine.loading.estimate import (
    context_length,
    files_and_shape,
    fitting_precision,
    memory_on,
)
from tui_chat.engine.machine.devices import (
    device_memory,
    precision_support,
    resolve_device,
    support_of,
)
from tui_chat.errors import MemoryShortError, ModelLoadError
from tui_chat.safe_text import safe_line

_DEFAULT_RESERVE = 512
_ROLE_TAGS = ("<|prompter|>", "<|assistant|>")


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Everything about a load that is known before it."""

    spec: ModelSpec
    request: LoadRequest
    """The request with precision, device, template, context and reserve decided. For a model that
    is not on this machine they are provisional."""
    checkpoint: Checkpoint | None
    """None where the model has to be downloaded first."""
    shape: ModelShape | None
    estimate: MemoryEstimate | None
    precision: Precision | None
    """None only where nothing is known before a download and the request says `auto`."""
    warnings: tuple[str, ...] = ()

    @property
    def must_download(self) -> bool:
        """Whether files have to be fetched before the model can be loaded."""
        return self.checkpoint is None


def plan_load(
    request: LoadRequest, registry: Registry, reclaimable: int = 0, hub: Hub | None = None
) -> LoadPlan:
    """Decide how to load a model.

    Args:
        request: What the user asked for.
        registry: The models known by name.
        reclaimable: Bytes that come back on the device when the loaded model is freed.
        hub: Where downloaded models are; the usual cache if None.

    Raises:
        ModelNotFoundError: If there is no such model.
        MemoryShortError: If it does not fit, with the numbers and what would.
        ModelLoadError: If the files cannot be a model, the device or the precision is not there,
            or the model would have to be downloaded and may not.
        ConfigError: If there is no such template.
    """
    spec = registry.resolve(request.model)
    device = resolve_device(spec.device if request.device == "auto" else request.device)
    checkpoint, shape = files_and_shape(spec, hub or Hub())
    if checkpoint is None and not request.allow_download:
        raise ModelLoadError(
            f"{safe_line(spec.name, 100)} is not on this machine",
            f"It would have to be downloaded from {safe_line(spec.source, 100)}",
            "Load it in the chat, which downloads it, or choose a model that is here",
        )
    context, reserve, warnings = decide_budget(spec, request, checkpoint)
    wanted = spec.precision if request.precision == "auto" else request.precision
    precision = _precision(spec, wanted, device, shape, context, reclaimable, checkpoint)
    filled = LoadRequest(
        model=request.model,
        precision=precision or "auto",
        device=device,
        template=decide_template(spec, request, checkpoint),
        context=context,
        reserve=reserve,
        allow_download=request.allow_download,
    )
    needed = memory_on(device, shape, precision, context) if shape and precision else None
    return LoadPlan(spec, filled, checkpoint, shape, needed, precision, warnings)


def decide_budget(
    spec: ModelSpec, request: LoadRequest, checkpoint: Checkpoint | None
) -> tuple[int, int, tuple[str, ...]]:
    """Context, reserve, and what is to be said about them.

    Args:
        spec: The model.
        request: What the user asked for; its context and reserve win.
        checkpoint: The files; None before a download, when nothing limits the context.

    Raises:
        ModelLoadError: If the context is longer than the model was trained for, or the reserve
            leaves no room in it.
    """
    positions = checkpoint.positions if checkpoint else None
    if request.context is not None and positions is not None and request.context > positions:
        raise ModelLoadError(
            f"A context of {request.context} tokens is too long for {safe_line(spec.name, 100)}",
            f"It was trained for {positions}",
            f"Ask for at most {positions}",
        )
    context = request.context or context_length(spec, positions)
    warnings: tuple[str, ...] = ()
    if request.context is None and spec.context is not None and context < spec.context:
        warnings = (
            f"models.toml asks for a context of {spec.context}; the model was trained for "
            f"{positions}, which is used",
        )
    if request.reserve is not None and request.reserve >= context:
        raise ModelLoadError(
            f"A reserve of {request.reserve} tokens leaves no room for a prompt",
            f"The context has {context}",
            f"Ask for less than {context}",
        )
    reserve = request.reserve or min(spec.reserve or _DEFAULT_RESERVE, max(context // 4, 1))
    return context, reserve, warnings


def _precision(
    spec: ModelSpec,
    wanted: str,
    device: str,
    shape: ModelShape | None,
    context: int,
    reclaimable: int,
    checkpoint: Checkpoint | None,
) -> Precision | None:
    """The precision to load in, which works on the device and fits its memory."""
    free = device_memory(device).free + reclaimable
    stored = checkpoint.stored_dtype if checkpoint else ""
    if wanted == "auto":
        if shape is None:
            return None
        found = fitting_precision(shape, device, context, free, stored)
        if found is None:
            raise _too_large(spec, "4bit", device, shape, context, free)
        return found
    precision = next((p for p in PRECISIONS if p == wanted), None)
    if precision is None:
        shown = safe_line(wanted, 32)
        raise ModelLoadError(
            f"There is no precision {shown!r}", "", "Choose one of auto, " + ", ".join(PRECISIONS)
        )
    reason = support_of(device, precision).reason
    if reason:
        works = ", ".join(s.precision for s in precision_support(device) if not s.reason)
        raise ModelLoadError(
            f"{precision} does not work on {device}", reason, f"Choose one of {works}"
        )
    if shape is not None and memory_on(device, shape, precision, context).total > free:
        raise _too_large(spec, precision, device, shape, context, free)
    return precision


def _too_large(
    spec: ModelSpec,
    precision: Precision,
    device: str,
    shape: ModelShape,
    context: int,
    free: int,
) -> MemoryShortError:
    """The refusal, with the numbers and the nearest thing that fits."""
    need = memory_on(device, shape, precision, context)
    usable = [s.precision for s in precision_support(device) if not s.reason]
    fitting = [
        (total, other)
        for other in usable
        if (total := memory_on(device, shape, other, context).total) <= free
    ]
    if fitting:
        total, other = max(fitting, key=lambda fit: fit[0])
        hint = f"Use {other}, which needs {format_bytes(total)}"
    else:
        smallest = min(usable, key=lambda p: memory_on(device, shape, p, context).total)
        hint = _shorter_context(device, shape, smallest, context, free)
    return MemoryShortError(
        f"{safe_line(spec.name, 100)} in {precision} does not fit the memory of {device}",
        f"It needs {format_bytes(need.total)}: {format_bytes(need.weights)} for weights, "
        f"{format_bytes(need.cache)} for the KV cache of {context} tokens, "
        f"{format_bytes(need.working)} to work; {format_bytes(free)} are free",
        hint,
    )


def _shorter_context(
    device: str, shape: ModelShape, precision: Precision, context: int, free: int
) -> str:
    """What to do where no precision fits at this context."""
    for tokens in (2048, 1024, 512):
        if tokens < context and memory_on(device, shape, precision, tokens).total <= free:
            return f"Use {precision} with --context {tokens}"
    return "Choose a smaller model, or close other programs"


def decide_template(spec: ModelSpec, request: LoadRequest, checkpoint: Checkpoint | None) -> str:
    """The template's name; `auto` stands for the model's own.

    Where nobody names one: the model's own if it brings one, `oasst` if its tokenizer has the role
    tags, else `raw`.

    Args:
        spec: The model.
        request: What the user asked for; its template wins.
        checkpoint: The files; None before a download.

    Raises:
        ConfigError: If there is no such template.
        ModelLoadError: If the model's own is wanted and it has none.
    """
    name = request.template or spec.template
    if name is not None and name != "auto":
        return template_named(name).name
    if checkpoint is None:
        return name or "auto"
    has_own, has_tags = _template_signs(checkpoint.directory)
    if has_own:
        return "auto"
    if name == "auto":
        raise ModelLoadError(
            f"{safe_line(spec.name, 100)} has no chat template of its own",
            f"There is none in {safe_line(str(checkpoint.directory), 160)}",
            "Name one with --template: oasst for role tags, raw for a base model",
        )
    return "oasst" if has_tags else "raw"


def _template_signs(directory: Path) -> tuple[bool, bool]:
    """Whether a model brings its own chat template, and whether it knows the role tags."""
    texts: dict[str, str] = {}
    for name in ("tokenizer_config.json", "tokenizer.json"):
        try:
            texts[name] = (directory / name).read_text("utf-8", errors="replace")
        except OSError:
            texts[name] = ""
    try:
        config = json.loads(texts["tokenizer_config.json"] or "{}")
    except ValueError:
        config = {}
    own_files = ("chat_template.jinja", "chat_template.json")
    has_own = bool(isinstance(config, dict) and config.get("chat_template")) or any(
        (directory / name).is_file() for name in own_files
    )
    has_tags = all(any(tag in text for text in texts.values()) for tag in _ROLE_TAGS)
    return has_own, has_tags
