"""Sizes of known models in each precision, and what every size must obey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.chat.known_names import PRECISIONS, Precision
from tui_chat.chat.model_size import (
    MemoryEstimate,
    cache_bytes,
    estimate_memory,
    format_bytes,
    gpt_neox_shape,
    llama_shape,
    weight_bytes,
    working_bytes,
)

GIB = 1024**3

# layers, hidden, vocab, parameters, and GiB in fp32, fp16, 8bit, 4bit; MiB of KV cache at 2048.
PYTHIA = {
    "14m": (6, 128, 50304, 14_067_712, (0.05, 0.03, 0.03, 0.02), 6),
    "31m": (6, 256, 50304, 30_494_720, (0.11, 0.06, 0.05, 0.05), 12),
    "70m": (6, 512, 50304, 70_426_624, (0.26, 0.13, 0.11, 0.11), 24),
    "160m": (12, 768, 50304, 162_322_944, (0.60, 0.30, 0.22, 0.18), 72),
    "410m": (24, 1024, 50304, 405_334_016, (1.51, 0.75, 0.47, 0.34), 192),
    "1b": (16, 2048, 50304, 1_011_781_632, (3.77, 1.88, 1.14, 0.77), 256),
    "1.4b": (24, 2048, 50304, 1_414_647_808, (5.27, 2.63, 1.51, 0.97), 384),
    "2.8b": (32, 2560, 50304, 2_775_208_960, (10.34, 5.17, 2.83, 1.69), 640),
    "6.9b": (32, 4096, 50432, 6_857_302_016, (25.55, 12.77, 6.78, 3.87), 1024),
    "12b": (36, 5120, 50688, 11_846_072_320, (44.13, 22.07, 11.52, 6.41), 1440),
    "oasst-12b": (36, 5120, 50288, 11_841_976_320, (44.11, 22.06, 11.52, 6.40), 1440),
}

FLAGSHIP = gpt_neox_shape(36, 5120, 50288)


@pytest.mark.parametrize("name", PYTHIA)
def test_pythia_sizes(name: str) -> None:
    layers, hidden, vocab, parameters, sizes, cache = PYTHIA[name]
    shape = gpt_neox_shape(layers, hidden, vocab)

    assert shape.parameters == parameters
    for precision, size in zip(("fp32", "fp16", "8bit", "4bit"), sizes, strict=True):
        assert weight_bytes(shape, precision) / GIB == pytest.approx(size, abs=0.0051)
    assert cache_bytes(shape, "fp16", 2048) == cache * 1024**2


def test_flagship_reads_as_its_documentation_says() -> None:
    shown = [format_bytes(weight_bytes(FLAGSHIP, p)) for p in ("fp16", "8bit", "4bit")]

    assert shown == ["22.1 GiB", "11.5 GiB", "6.4 GiB"]
    assert estimate_memory(FLAGSHIP, "fp16", 2048).total / GIB == pytest.approx(23.8, abs=0.1)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (llama_shape(24, 896, 151936, 4864, 14, 2, True, True), 494_032_768),
        (llama_shape(28, 1536, 151936, 8960, 12, 2, True, True), 1_543_714_304),
        (llama_shape(22, 2048, 32000, 5632, 32, 4), 1_100_048_384),
        (llama_shape(30, 576, 49152, 1536, 9, 3, True), 134_515_008),
        (llama_shape(32, 960, 49152, 2560, 15, 5, True), 361_821_120),
        (llama_shape(24, 2048, 49152, 8192, 32, 32, True), 1_711_376_384),
    ],
    ids=[
        "qwen2.5-0.5b",
        "qwen2.5-1.5b",
        "tinyllama",
        "smollm2-135m",
        "smollm2-360m",
        "smollm2-1.7b",
    ],
)
def test_llama_like_parameter_counts(shape: object, parameters: int) -> None:
    assert getattr(shape, "parameters") == parameters  # noqa: B009


def test_total_is_the_sum() -> None:
    assert MemoryEstimate(weights=3, cache=2, working=1).total == 6


def test_quantised_models_on_a_cpu_without_bf16_keep_the_rest_in_fp32() -> None:
    rest = FLAGSHIP.parameters - FLAGSHIP.linear_weights

    grown = weight_bytes(FLAGSHIP, "8bit", True) - weight_bytes(FLAGSHIP, "8bit")

    assert grown == 2 * rest
    assert weight_bytes(FLAGSHIP, "bf16", True) == weight_bytes(FLAGSHIP, "bf16")


@given(
    layers=st.integers(1, 64),
    heads=st.integers(1, 64),
    size=st.sampled_from([32, 64, 128]),
    vocab=st.integers(300, 200_000),
    context=st.integers(1, 32_768),
)
def test_smaller_precisions_never_need_more(
    layers: int, heads: int, size: int, vocab: int, context: int
) -> None:
    shape = gpt_neox_shape(layers, heads * size, vocab)
    order: tuple[Precision, ...] = ("fp32", "fp16", "8bit", "4bit")

    weights = [weight_bytes(shape, precision) for precision in order]

    assert weights == sorted(weights, reverse=True)
    for precision in PRECISIONS:
        assert cache_bytes(shape, precision, context + 1) > cache_bytes(shape, precision, context)
        assert working_bytes(shape, precision, context) > 0


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (12 * 1024, "12 KiB"), (640 * 1024**2, "640 MiB"),
     (int(11.52 * GIB), "11.5 GiB"), (3000 * GIB, "3000.0 GiB")],
)  # fmt: skip
def test_bytes_as_people_read_them(count: int, shown: str) -> None:
    assert format_bytes(count) == shown
