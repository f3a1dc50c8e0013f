"""Plans a load: fills in a request and raises an error for one that cannot work.

Planning decides device, precision, template, context and reserve. It loads, downloads and changes
nothing, so the loaded model need not be freed until the plan has succeeded.
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
"""Tokens kept for the reply, at most a quarter of the context."""
_ROLE_TAGS = ("<|prompter|>", "<|assistant|>")


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load that has been checked: what will be loaded, and how."""

    spec: ModelSpec
    request: LoadRequest
    """The request with precision, device, template, context and reserve filled in. For a model that
    is not on this machine they are provisional."""
    checkpoint: Checkpoint | None
    """The files; None if the model has to be downloaded first."""
    shape: ModelShape | None
    """Shape of the model; None if it is not known before a download."""
    estimate: MemoryEstimate | None
    """Memory that the model will need; None if shape or precision is unknown."""
    precision: Precision | None
    """None only before a download, if the request says `auto` and the shape is unknown."""
    warnings: tuple[str, ...] = ()
    """Sentences to show to the user."""

    @property
    def must_download(self) -> bool:
        """Whether the model has to be downloaded before it can be loaded."""
        return self.checkpoint is None


def plan_load(
    request: LoadRequest, registry: Registry, reclaimable: int = 0, hub: Hub | None = None
) -> LoadPlan:
    """Plan how to load a model.

    Args:
        request: What the user asked for.
        registry: The models known by name.
        reclaimable: Bytes of the device that freeing the loaded model would give back.
        hub: The hub and its cache; the usual cache if None.

    Raises:
        ModelNotFoundError: If the model does not exist.
        MemoryShortError: If it does not fit, with the sizes and a suggestion that does.
        ModelLoadError: If its files are unusable, the device or precision is not available, context
            and reserve do not suit it, or it is missing and the request forbids a download.
        ConfigError: If the template does not exist.
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
    """Decide how many tokens the context has, and how many of them are kept for the reply.

    Args:
        spec: The model.
        request: What the user asked for; its context and reserve take precedence.
        checkpoint: The files; None before a download, when the context cannot be checked.

    Returns:
        Context and reserve in tokens, and warnings for the user.

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
    """Decide the precision, which works on the device and fits its memory.

    Returns:
        The precision; None if `auto` is wanted and the shape is unknown before a download.

    Raises:
        MemoryShortError: If the model does not fit in the wanted precision, or in any for `auto`.
        ModelLoadError: If the precision does not exist, or does not work on the device.
    """
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
    """Return the error for a model that does not fit, with the sizes and a suggestion.

    The suggestion is the largest precision that fits, else a shorter context, else a smaller model.
    """
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
    """Return the suggestion for a model that fits in no precision at this context."""
    for tokens in (2048, 1024, 512):
        if tokens < context and memory_on(device, shape, precision, tokens).total <= free:
            return f"Use {precision} with --context {tokens}"
    return "Choose a smaller model, or close other programs"


def decide_template(spec: ModelSpec, request: LoadRequest, checkpoint: Checkpoint | None) -> str:
    """Decide the name of the prompt template; `auto` stands for the model's own.

    Without a name in the request or the spec it is the model's own template if the model has one,
    `oasst` if its tokenizer has the role tags, and `raw` otherwise.

    Args:
        spec: The model.
        request: What the user asked for; its template takes precedence.
        checkpoint: The files; None before a download.

    Raises:
        ConfigError: If the template does not exist.
        ModelLoadError: If the model's own template is wanted and the model has none.
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
    """Return whether a model has its own chat template, and whether its tokenizer has role tags."""
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
