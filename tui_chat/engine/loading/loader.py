"""Loads a model from its files, and frees it.

A load downloads missing files, reads the tokenizer, reads the weights and checks the result. Each
tensor is converted or quantised as it is read, so that memory holds only one copy of the model. A
load that fails or is cancelled leaves nothing in memory. Code that comes with a model never runs.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

import torch

from tui_chat.chat.events import Loading, ModelInfo
from tui_chat.chat.known_names import Precision
from tui_chat.chat.model_size import QUANTISED
from tui_chat.engine.contract.backend import Emit
from tui_chat.engine.files.checkpoint import AGAIN, Checkpoint, broken, model_config, read_json
from tui_chat.engine.files.hub import Hub
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.loading.checks import (
    check_control_tokens,
    check_numbers,
    check_token_ids,
    check_weights,
    set_end_token,
)
from tui_chat.engine.loading.estimate import shape_from_directory
from tui_chat.engine.loading.int8 import int8_parts, quantisation_config, weight_bytes
from tui_chat.engine.loading.preflight import LoadPlan, plan_load
from tui_chat.engine.loading.row_quantiser import quantisable_weights
from tui_chat.engine.loading.tensor_pieces import Interrupted
from tui_chat.engine.loading.weights import WeightReader
from tui_chat.engine.machine.devices import computes_in_fp32, memory_in_use, support_of
from tui_chat.engine.machine.libraries import configure_libraries, importing, silence_progress_bars
from tui_chat.errors import (
    LoadCancelledError,
    MemoryShortError,
    ModelLoadError,
    TuiChatError,
)
from tui_chat.safe_text import safe_line

OnTokenizer = Callable[[Any, LoadPlan], None]
"""Receives the tokenizer and the final plan, before the weights are read."""

_log = logging.getLogger("tui_chat.engine.loading.loader")
_EVERY_S = 0.05
"""Shortest time between two progress events, in seconds."""
_TRIM_EVERY = 256 * 1024**2
"""Bytes of weights read between two trims of the heap."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(slots=True)
class LoadedModel:
    """A model that passed its checks, with its tokenizer and settings."""

    model: Any
    """The `PreTrainedModel` in evaluation mode on its device; None once it has been freed."""
    tokenizer: Any
    """The fast tokenizer, in which the template's control tokens are special tokens."""
    info: ModelInfo
    plan: LoadPlan
    """The plan it was loaded by; made anew after a download."""
    end_ids: tuple[int, ...]
    """Ids of the tokens that end a reply; the tokenizer's end token comes first."""
    padding_ids: tuple[int, ...]
    """Rows of the embedding without a token, which must not be sampled."""


def load(
    plan: LoadPlan,
    registry: Registry,
    emit: Emit,
    cancel: Event,
    on_tokenizer: OnTokenizer | None = None,
    hub: Hub | None = None,
) -> LoadedModel:
    """Load and check the model of a plan.

    Emits `Loading` events on the calling thread, with the stages `download`, `tokenizer`,
    `weights`, `quantise` and `check`. With 8bit, 4bit and int8, `quantise` is the stage in which
    the tensors are read and quantised one by one.

    Args:
        plan: A plan of `plan_load`. No other model may be loaded.
        registry: For a new plan after a download, when the real size of the model is known.
        emit: Receives the events.
        cancel: Stops the load between two pieces of a file.
        on_tokenizer: Called with the tokenizer before the weights are read.
        hub: The hub and its cache; the usual cache if None.

    Raises:
        LoadCancelledError: If it was cancelled.
        MemoryShortError: If the memory runs out in spite of the estimate.
        ModelLoadError: If the model cannot be used, with file, cause and next step.
    """
    configure_libraries()
    failure: TuiChatError
    try:
        return _Load(plan, registry, emit, cancel, on_tokenizer, hub or Hub()).run()
    except Interrupted as stop:
        failure = stop.error
    except TuiChatError as error:
        failure = error
    except Exception as error:
        _log.error("loading failed\n%s", traceback.format_exc())
        failure = _explained(error, plan)
    # The frames of a traceback refer to the weights, and would keep them alive.
    failure.__traceback__ = failure.__context__ = failure.__cause__ = None
    release_memory()
    raise failure


class _Load:
    """One load and its progress; the arguments are those of `load`."""

    def __init__(
        self,
        plan: LoadPlan,
        registry: Registry,
        emit: Emit,
        cancel: Event,
        on_tokenizer: OnTokenizer | None,
        hub: Hub,
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._emit = emit
        self._cancel = cancel
        self._on_tokenizer = on_tokenizer
        self._hub = hub
        self._started = time.monotonic()
        self._reported = 0.0
        self._ended = ""
        self._trimmed = 0

    def run(self) -> LoadedModel:
        """Load and check the model."""
        checkpoint = self._plan.checkpoint or self._download()
        plan = self._plan
        assert plan.precision is not None  # every plan with files has one
        device, precision = plan.request.device, plan.precision
        self._stage("tokenizer")
        with importing():
            tokenizer = self._tokenizer(checkpoint)
        if self._on_tokenizer is not None:
            self._on_tokenizer(tokenizer, plan)
        model, padding = self._model(checkpoint, tokenizer, precision, device)
        release_memory()
        self._stage("check")
        ends = set_end_token(model, tokenizer, checkpoint.directory)
        check_numbers(model, ends.ids[0], checkpoint.directory)
        self._raise_if_cancelled()
        warnings = (*plan.warnings, *_format_warnings(checkpoint), *ends.warnings)
        info = ModelInfo(
            name=plan.spec.name,
            source=plan.spec.source,
            precision=precision,
            device=device,
            template=plan.request.template or "raw",
            context=plan.request.context or 0,
            reserve=plan.request.reserve or 0,
            parameters=shape_from_directory(checkpoint.directory).parameters,
            weight_bytes=weight_bytes(model),
            load_s=time.monotonic() - self._started,
            bytes_per_token=_bytes_per_token(model),
            revision=plan.spec.revision if plan.spec.kind == "hub" else "",
            warnings=warnings,
        )
        return LoadedModel(model, tokenizer, info, plan, ends.ids, padding)

    def _download(self) -> Checkpoint:
        """Download the files, and plan again from what they say."""
        spec = self._plan.spec
        self._stage("download")
        self._hub.download(
            spec.source,
            spec.revision,
            lambda done, total: self._report("download", done, total),
            self._cancel,
        )
        wanted = replace(self._plan.request, allow_download=False)
        self._plan = plan_load(wanted, self._registry, hub=self._hub)
        assert self._plan.checkpoint is not None  # else plan_load would have raised
        return self._plan.checkpoint

    def _tokenizer(self, checkpoint: Checkpoint) -> Any:
        """Load the tokenizer, and check that it fits the model and the template."""
        from transformers import AutoTokenizer

        path = checkpoint.directory / "tokenizer.json"
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.directory, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:
            _log.error("no tokenizer\n%s", traceback.format_exc())
            cause = f"cannot be read as a tokenizer ({type(error).__name__})"
            raise broken(path, cause, AGAIN) from None
        if not getattr(tokenizer, "is_fast", False):
            cause = "is missing: there is no fast tokenizer"
            raise broken(path, cause, "Choose a model with a tokenizer.json")
        if tokenizer.eos_token_id is None:
            cause = "names no end token, so a reply would never end"
            where = checkpoint.directory / "tokenizer_config.json"
            raise broken(where, cause, "Add eos_token to it")
        rows = shape_from_directory(checkpoint.directory).vocab
        check_token_ids(tokenizer, rows, checkpoint.directory)
        check_control_tokens(tokenizer, self._plan.request.template or "", checkpoint.directory)
        return tokenizer

    def _model(
        self, checkpoint: Checkpoint, tokenizer: Any, precision: Precision, device: str
    ) -> tuple[Any, tuple[int, ...]]:
        """Read the weights into a model.

        Returns:
            The model, and the rows of its embedding without a token.
        """
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

        silence_progress_bars()
        total = checkpoint.total_bytes
        stage = "quantise" if precision in QUANTISED else "weights"
        self._stage("weights", total)
        if stage != "weights":
            self._stage(stage, total)
        # Without this, transformers requests many tensors at once from a thread pool. One by one,
        # each is converted or quantised before the next takes memory.
        os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
        config = model_config(checkpoint.directory)
        # The class that AutoModelForCausalLM would choose; that one cannot load from our reader.
        with importing():
            model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        options = _dtype_options(precision, device, checkpoint.stored_dtype)
        quantised: frozenset[str] = frozenset()
        if precision == "8bit" and device == "cpu":
            quantised = quantisable_weights(model_class, config, checkpoint)
        if quantised:  # the reader quantises, so transformers sees a checkpoint saved in 8 bits
            config.quantization_config = options.pop("quantization_config").to_dict()
        with WeightReader(
            checkpoint,
            lambda done: self._read(stage, min(done, total), total),
            self._cancel,
            options["dtype"],
        ) as reader:
            model, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=reader.tensors(quantised),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # `check_weights` reports them
                local_files_only=True,
                device_map={"": device},
                **options,
            )
        check_weights(info, checkpoint.directory)
        self._report(stage, total, total)
        _read_generation_config(model, checkpoint)
        rows = int(model.get_input_embeddings().weight.shape[0])
        padding = check_token_ids(tokenizer, rows, checkpoint.directory)
        return model, padding

    def _stage(self, stage: str, total: int = 0) -> None:
        """Emit the beginning of a stage, unless the load was cancelled."""
        self._raise_if_cancelled()
        self._emit(self._event(stage, 0, total))

    def _read(self, stage: str, done: int, total: int) -> None:
        """Report that weights were read, and now and then trim the heap of the freed buffers."""
        if done - self._trimmed >= _TRIM_EVERY:
            self._trimmed = done
            _trim_heap()
        self._report(stage, done, total)

    def _report(self, stage: str, done: int, total: int) -> None:
        """Emit the progress of a stage: at most every `_EVERY_S`, and its end exactly once."""
        now = time.monotonic()
        is_end = done >= total
        if (is_end and self._ended != stage) or (not is_end and now - self._reported >= _EVERY_S):
            self._reported = now
            self._ended = stage if is_end else ""
            self._emit(self._event(stage, done, total))

    def _event(self, stage: str, done: int, total: int) -> Loading:
        return Loading(
            model=self._plan.spec.name,
            precision=self._plan.precision or "auto",
            stage=stage,
            done=done,
            total=total,
            elapsed_s=time.monotonic() - self._started,
        )

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise LoadCancelledError


def free(loaded: LoadedModel) -> int:
    """Drop a model and return its memory to the system.

    Its tensors are replaced by empty ones first, so that a stray reference to the model keeps no
    weights alive.

    Returns:
        Bytes of device memory that became free, at least 0.
    """
    device = loaded.info.device
    before = memory_in_use(device)
    model = loaded.model
    loaded.model = None
    loaded.tokenizer = None
    if model is not None:
        for tensor in (*model.parameters(), *model.buffers()):
            for part in int8_parts(tensor) or (tensor,):
                part.data = torch.empty(0, dtype=part.dtype, device=part.device)
        for module in model.modules():
            module._parameters.clear()
            module._buffers.clear()
            if hasattr(module, "state"):  # where bitsandbytes keeps a second reference
                module.state = None
    del model
    gc.unfreeze()  # `importing` may have frozen the model, and the collector skips frozen objects
    release_memory()
    return max(before - memory_in_use(device), 0)


def release_memory() -> None:
    """Collect garbage, and return unused memory to the GPU driver and the operating system."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.memory_reserved():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    _trim_heap()


def _trim_heap() -> None:
    """Make glibc's allocator return its free pages to the system.

    By itself it keeps the freed pages of allocations of up to 32 MiB.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)


def _dtype_options(precision: Precision, device: str, stored: str) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` for a precision: dtype and quantisation.

    Args:
        precision: The precision to load in.
        device: Device of the model.
        stored: The dtype named in config.json, such as `float16`.
    """
    if precision not in QUANTISED:
        return {"dtype": _DTYPES[precision]}
    from transformers import BitsAndBytesConfig

    dtype = _compute_dtype(precision, device, stored)
    if precision == "int8":
        return {"dtype": dtype, "quantization_config": quantisation_config()}
    if precision == "8bit":
        quantised = BitsAndBytesConfig(load_in_8bit=True)
    else:
        quantised = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return {"dtype": dtype, "quantization_config": quantised}


def _compute_dtype(precision: Precision, device: str, stored: str) -> torch.dtype:
    """Return the dtype in which a quantised model computes.

    On a CPU it is bf16 if the CPU has native bf16, else fp32. On a GPU it is bf16 if the GPU has it
    and the weights are stored in bf16 or fp32, else fp16.
    """
    if device == "cpu":
        return torch.float32 if computes_in_fp32(device, precision) else torch.bfloat16
    has_bf16 = not support_of(device, "bf16").reason
    is_wide = stored in ("bfloat16", "float32")
    return torch.bfloat16 if is_wide and has_bf16 else torch.float16


def _bytes_per_token(model: Any) -> int:
    """Return the bytes of weights that decoding one token reads.

    An input embedding of its own does not count, since a token reads only one of its rows. One that
    is tied to the output embedding is read whole for the logits.
    """
    rows = model.get_input_embeddings().weight
    is_shared = rows is model.get_output_embeddings().weight
    looked_up = 0 if is_shared else int(rows.numel()) * int(rows.element_size())
    return weight_bytes(model) - looked_up


def _read_generation_config(model: Any, checkpoint: Checkpoint) -> None:
    """Set the model's generation config from its file; ignore a missing or damaged one."""
    from transformers import GenerationConfig

    path = checkpoint.directory / "generation_config.json"
    if not path.is_file():
        return
    try:
        model.generation_config = GenerationConfig.from_dict(read_json(path))
    except Exception:
        _log.warning("generation_config.json was ignored\n%s", traceback.format_exc())


def _format_warnings(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return a warning for pickled weights."""
    if checkpoint.format == "safetensors":
        return ()
    return (
        "The weights come as pickled .bin files, read without running anything in them; "
        "safetensors is the safer format",
    )


def _explained(error: Exception, plan: LoadPlan) -> TuiChatError:
    """Return the error to show for an exception of a library."""
    name = safe_line(plan.spec.name, 100)
    text = str(error)
    is_short = isinstance(error, torch.OutOfMemoryError | MemoryError)
    if is_short or "can't allocate memory" in text or "not enough memory" in text:
        return MemoryShortError(
            f"{name} did not fit the memory of {plan.request.device}",
            "The memory ran out while it was loaded",
            "Choose 8bit or 4bit, or a smaller model, or close other programs",
        )
    first = safe_line(text.strip().splitlines()[0] if text.strip() else "", 160)
    reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return ModelLoadError(
        f"{name} could not be loaded", reason, "The log has the details; try another model"
    )
