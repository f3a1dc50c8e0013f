"""Precisions, and what a model of a given shape needs in each: pure arithmetic.

Owns the formulas for weights, KV cache and working room, and the
values the pickers show. Refuses to look at a device or a file; `engine.devices` measures what is
free and `engine.estimate` reads shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tui_chat.chat.known_names import Precision

QUANTISED: frozenset[str] = frozenset({"8bit", "4bit", "int8"})
"""Precisions in which the linear layers are stored quantised and the rest is not."""

PREFILL_CHUNK = 512
"""Prompt tokens that are computed at once; bounds the activations of a prefill."""

_MIB = 1024**2
_LIBRARY_ROOM = 128 * _MIB
"""Workspaces of the matrix libraries, and pages the allocator holds: a flat amount, measured."""
_SAMPLING_BYTES_PER_LOGIT = 40
"""fp32 logits, a sorted copy, int64 indices, probabilities, their sum and two masks."""
_NF4_BLOCK = 64
_NF4_NESTED_BLOCK = 256


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the memory of a causal language model depends on."""

    parameters: int
    """All weights; tied ones once."""
    linear_weights: int
    """Weights of the linear layers that quantisation stores quantised: all but the output
    embedding, without biases."""
    linear_rows: int
    """Output rows of those layers together; 8-bit keeps one fp32 scale for each."""
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
    """What a loaded model needs, in bytes."""

    weights: int
    cache: int
    """KV cache at the full context."""
    working: int
    """Room for activations and the largest temporary tensors."""

    @property
    def total(self) -> int:
        """All of it together."""
        return self.weights + self.cache + self.working


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """One row of the precision picker."""

    precision: Precision
    estimate: MemoryEstimate | None
    """None where the size of the model is not known before a download."""
    free: int
    """Free bytes on the device once the loaded model is freed."""
    fits: bool
    is_current: bool = False
    reason: str = ""
    """Why it cannot be used here; empty if it can."""
    total: int = 0
    """All memory of the device, in bytes; 0 where not known."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One row of the model picker."""

    name: str
    source: str
    description: str
    context: int
    parameters: int | None
    """Number of weights; None where not known before a download."""
    precision: str
    """The precision it would be loaded in; empty if none fits."""
    estimate: MemoryEstimate | None
    fits: bool | None
    """None where the size is not known."""
    is_current: bool = False
    is_local: bool = False
    """Whether its files are on this machine."""
    problem: str = ""
    """Why it cannot be loaded; empty if nothing is known against it."""


def compute_bytes(precision: Precision, is_compute_fp32: bool = False) -> int:
    """Bytes of one activation, and of one weight that is not quantised: 2 or 4.

    Args:
        precision: How the weights are stored.
        is_compute_fp32: Whether a quantised model computes in fp32, as on a CPU without bf16.
    """
    if precision == "fp32":
        return 4
    return 4 if precision in QUANTISED and is_compute_fp32 else 2


def weight_bytes(shape: ModelShape, precision: Precision, is_compute_fp32: bool = False) -> int:
    """Bytes of the weights.

    8bit and int8: one byte a weight and an fp32 scale for each output row (LLM.int8,
    arXiv:2208.07339; weight-only int8 of torchao).
    4bit: NF4 with double quantisation (QLoRA, arXiv:2305.14314): half a byte a weight, one byte of
    scale for each 64 weights, and four bytes for each 256 scales.
    Embeddings, norms and biases keep the precision of the computation in all of them.
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
    """Bytes of the KV cache for `context` tokens: 2 x layers x kv_width x bytes x tokens."""
    value = compute_bytes(precision, is_compute_fp32)
    return 2 * shape.layers * shape.kv_width * value * context


def working_bytes(
    shape: ModelShape, precision: Precision, context: int, is_compute_fp32: bool = False
) -> int:
    """An upper bound for what is alive for a moment while tokens are computed.

    For one chunk of a prefill, the widest place of one layer: three residual-wide tensors, the
    queries, keys and values, and the MLP three times (gate, up and product); the attention mask;
    one layer's cache twice, because growing it copies it; the sampler's copies of the last row of
    logits; for a quantised model one linear layer dequantised; and a flat amount for libraries.
    Attention scores are not counted: scaled-dot-product kernels do not keep them.
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
    """What a model needs with its KV cache at the full context.

    Args:
        shape: The model.
        precision: How the weights are stored.
        context: Tokens that prompt and reply may have together, at least 1.
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
    """The shape of a GPT-NeoX such as Pythia: biases everywhere, untied embeddings.

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
    """The shape of a Llama-like model: gated MLP, RMSNorm, grouped keys and values.

    Args:
        layers: Number of layers.
        hidden: Width of the residual stream; a multiple of `heads`.
        vocab: Rows of the embedding.
        intermediate: Width of the MLP.
        heads: Query heads.
        kv_heads: Key and value heads.
        is_tied: Whether input and output embedding are one matrix.
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
    """Bytes as people read memory: `11.5 GiB`, `640 MiB`, `12 KiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
