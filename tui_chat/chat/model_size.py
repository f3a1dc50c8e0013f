"""Memory estimates: what a model of a given shape needs in each precision, as pure arithmetic.

The formulas cover weights, KV cache and working memory; the row types hold what the model and
precision pickers show. `tui_chat.engine.machine.devices` measures free memory, and
`tui_chat.engine.loading.estimate` reads shapes from model files.
"""

from __future__ import annotations

from dataclasses import dataclass

from tui_chat.chat.known_names import Precision

QUANTISED: frozenset[str] = frozenset({"8bit", "4bit", "int8"})
"""Precisions that store the linear layers quantised and everything else unquantised."""

PREFILL_CHUNK = 512
"""Prompt tokens computed at once, which bounds the activations of a prefill."""

_MIB = 1024**2
_LIBRARY_ROOM = 128 * _MIB
"""Workspaces of the matrix libraries and pages held by the allocator: a flat, measured amount."""
_SAMPLING_BYTES_PER_LOGIT = 40
"""fp32 logits, a sorted copy, int64 indices, probabilities, their cumulative sum and two masks."""
_NF4_BLOCK = 64
_NF4_NESTED_BLOCK = 256


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The dimensions of a causal language model that determine its memory use."""

    parameters: int
    """Number of weights, counting tied ones once."""
    linear_weights: int
    """Weights of the linear layers that quantisation applies to: all but the output embedding,
    without biases.
    """
    linear_rows: int
    """Output rows of those layers in total; 8-bit keeps one fp32 scale for each row."""
    largest_linear: int
    """Weights of the largest of those layers."""
    layers: int
    hidden: int
    intermediate: int
    """Width of the MLP."""
    kv_width: int
    """Key heads times head size: the width of one layer's keys for one token."""
    vocab: int
    """Rows of the embedding, padding rows included."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The memory that a loaded model needs, in bytes."""

    weights: int
    cache: int
    """KV cache at the full context."""
    working: int
    """Room for activations and the largest temporary tensors."""

    @property
    def total(self) -> int:
        """The sum of the three, in bytes."""
        return self.weights + self.cache + self.working


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """A row of the precision picker."""

    precision: Precision
    estimate: MemoryEstimate | None
    """None if the size of the model is unknown before a download."""
    free: int
    """Bytes free on the device once the loaded model has been freed."""
    fits: bool
    is_current: bool = False
    reason: str = ""
    """Why the precision cannot be used here; empty if it can."""
    total: int = 0
    """Total memory of the device, in bytes; 0 if unknown."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A row of the model picker."""

    name: str
    source: str
    description: str
    context: int
    parameters: int | None
    """Number of weights; None if unknown before a download."""
    precision: str
    """The precision in which it would be loaded; empty if none fits."""
    estimate: MemoryEstimate | None
    fits: bool | None
    """None if the size is unknown."""
    is_current: bool = False
    is_local: bool = False
    """Whether its files are on this machine."""
    problem: str = ""
    """Why it cannot be loaded; empty if no problem is known."""


def compute_bytes(precision: Precision, is_compute_fp32: bool = False) -> int:
    """Return the bytes of one activation or unquantised weight: 2 or 4.

    Args:
        precision: How the weights are stored.
        is_compute_fp32: Whether a quantised model computes in fp32, as on a CPU without bf16.
    """
    if precision == "fp32":
        return 4
    return 4 if precision in QUANTISED and is_compute_fp32 else 2


def weight_bytes(shape: ModelShape, precision: Precision, is_compute_fp32: bool = False) -> int:
    """Return the bytes of the weights.

    8bit and int8 take one byte per weight and one fp32 scale per output row (LLM.int8,
    arXiv:2208.07339; weight-only int8 of torchao). 4bit is NF4 with double quantisation (QLoRA,
    arXiv:2305.14314): half a byte per weight, a one-byte scale per 64 weights, and four bytes per
    256 scales. In all of them, embeddings, norms and biases keep the precision of the computation.
    """
    other = compute_bytes(precision, is_compute_fp32)
    if precision not in QUANTISED:
        return shape.parameters * other
    linear = shape.linear_weights
    rest = (shape.parameters - linear) * other
    if precision in ("8bit", "int8"):
        return rest + linear + 4 * shape.linear_rows
    scales = linear // _NF4_BLOCK
    return rest + (linear + 1) // 2 + scales + 4 * scales // _NF4_NESTED_BLOCK


def cache_bytes(
    shape: ModelShape, precision: Precision, context: int, is_compute_fp32: bool = False
) -> int:
    """Return the bytes of the KV cache for `context` tokens.

    This is 2 x layers x kv_width x bytes x tokens; the 2 stands for keys and values.
    """
    value = compute_bytes(precision, is_compute_fp32)
    return 2 * shape.layers * shape.kv_width * value * context


def working_bytes(
    shape: ModelShape, precision: Precision, context: int, is_compute_fp32: bool = False
) -> int:
    """Return an upper bound for the temporary memory while tokens are computed, in bytes.

    It is the sum of these, for one chunk of a prefill at the widest place of one layer: three
    residual-wide tensors; the queries, keys and values; the MLP three times (gate, up and product);
    the attention mask; one layer's cache twice, because growing it copies it; the sampler's copies
    of the last row of logits; for a quantised model, one dequantised linear layer; and a flat
    amount for libraries. Attention scores do not count, as scaled-dot-product kernels do not store
    them.
    """
    value = compute_bytes(precision, is_compute_fp32)
    tokens = min(context, PREFILL_CHUNK)
    layer = tokens * value * (6 * shape.hidden + 3 * shape.intermediate)
    mask = tokens * context * value
    growth = 2 * 2 * shape.kv_width * value * context
    logits = shape.vocab * _SAMPLING_BYTES_PER_LOGIT
    dequantised = shape.largest_linear * value if precision in QUANTISED else 0
    return layer + mask + growth + logits + dequantised + _LIBRARY_ROOM


def estimate_memory(
    shape: ModelShape, precision: Precision, context: int, is_compute_fp32: bool = False
) -> MemoryEstimate:
    """Return the memory that a model needs with its KV cache at the full context.

    Args:
        shape: The dimensions of the model.
        precision: How the weights are stored.
        context: Tokens of prompt and reply together, at least 1.
        is_compute_fp32: Whether a quantised model computes in fp32.
    """
    return MemoryEstimate(
        weights=weight_bytes(shape, precision, is_compute_fp32),
        cache=cache_bytes(shape, precision, context, is_compute_fp32),
        working=working_bytes(shape, precision, context, is_compute_fp32),
    )


def gpt_neox_shape(
    layers: int, hidden: int, vocab: int, intermediate: int | None = None
) -> ModelShape:
    """Return the shape of a GPT-NeoX model such as Pythia: biases everywhere, untied embeddings.

    Args:
        layers: Number of layers.
        hidden: Width of the residual stream.
        vocab: Rows of the embedding.
        intermediate: Width of the MLP; four times `hidden` if None.
    """
    wide = 4 * hidden if intermediate is None else intermediate
    linear = layers * (4 * hidden * hidden + 2 * hidden * wide)
    rows = layers * (5 * hidden + wide)
    norms = layers * 4 * hidden + 2 * hidden
    return ModelShape(
        parameters=2 * vocab * hidden + linear + rows + norms,
        linear_weights=linear,
        linear_rows=rows,
        largest_linear=max(3 * hidden * hidden, hidden * wide),
        layers=layers,
        hidden=hidden,
        intermediate=wide,
        kv_width=hidden,
        vocab=vocab,
    )


def llama_shape(
    layers: int,
    hidden: int,
    vocab: int,
    intermediate: int,
    heads: int,
    kv_heads: int,
    is_tied: bool = False,
    has_qkv_bias: bool = False,
) -> ModelShape:
    """Return the shape of a Llama-like model: gated MLP, RMSNorm, grouped keys and values.

    Args:
        layers: Number of layers.
        hidden: Width of the residual stream; a multiple of `heads`.
        vocab: Rows of the embedding.
        intermediate: Width of the MLP.
        heads: Query heads.
        kv_heads: Key and value heads.
        is_tied: Whether input and output embedding share one matrix.
        has_qkv_bias: Whether queries, keys and values have biases, as in Qwen 2.
    """
    kv_width = hidden // heads * kv_heads
    linear = layers * (2 * hidden * hidden + 2 * hidden * kv_width + 3 * hidden * intermediate)
    rows = layers * (2 * hidden + 2 * kv_width + 2 * intermediate + hidden)
    biases = layers * (hidden + 2 * kv_width) if has_qkv_bias else 0
    norms = layers * 2 * hidden + hidden
    return ModelShape(
        parameters=(1 if is_tied else 2) * vocab * hidden + linear + biases + norms,
        linear_weights=linear,
        linear_rows=rows,
        largest_linear=hidden * max(hidden, intermediate),
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        kv_width=kv_width,
        vocab=vocab,
    )


def format_bytes(count: int) -> str:
    """Format a size as people read memory: `11.5 GiB`, `640 MiB`, `12 KiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
