"""Shapes from files, and the rows of the pickers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoConfig, GPT2Config, LlamaConfig, Qwen2Config

from tests.engine.conftest import ModelFactory
from tui_chat.chat.model_size import ModelShape, gpt_neox_shape, llama_shape, weight_bytes
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.hub import Hub
from tui_chat.engine.files.registry import Registry, load_registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.engine.loading import estimate
from tui_chat.engine.loading.estimate import (
    context_length,
    model_choices,
    precision_choices,
    shape_from_directory,
)
from tui_chat.engine.loading.preflight import plan_load
from tui_chat.engine.machine import devices
from tui_chat.engine.machine.devices import DeviceMemory
from tui_chat.errors import MemoryShortError, ModelLoadError

GIB = 1024**3


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A cache with nothing in it."""
    return Hub(cache=tmp_path / "hub")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The project's registry without anybody's own file."""
    return load_registry(user=tmp_path / "none.toml")


@pytest.fixture(autouse=True)
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with bf16 arithmetic, whatever the one is that runs the tests."""
    features = replace(devices.cpu_features(), has_bf16=True)
    monkeypatch.setattr(devices, "cpu_features", lambda: features)


def free_memory(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """Have every device say that so many GiB are free."""
    memory = DeviceMemory(int(free * GIB), 1024 * GIB)
    for module in ("estimate", "preflight"):
        monkeypatch.setattr(
            f"tui_chat.engine.loading.{module}.device_memory", lambda device: memory
        )


def counted(directory: Path, config: object) -> ModelShape:
    """The shape that is counted for a config."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config.to_dict()))  # type: ignore[attr-defined]
    return shape_from_directory(directory)


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "vocab"),
    [(6, 128, 4, 50304), (12, 768, 12, 50304), (32, 4096, 32, 50432), (36, 5120, 40, 50288)],
    ids=["14m", "160m", "6.9b", "oasst-12b"],
)
def test_counting_a_pythia_gives_what_the_formula_gives(
    layers: int, hidden: int, heads: int, vocab: int, tmp_path: Path
) -> None:
    config = AutoConfig.for_model(
        "gpt_neox",
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        vocab_size=vocab,
    )

    assert counted(tmp_path / "m", config) == gpt_neox_shape(layers, hidden, vocab)


def test_counting_llama_like_models_gives_what_the_formula_gives(tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 2, "hidden_size": 96, "intermediate_size": 160,
             "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 1000}  # fmt: skip
    llama = LlamaConfig(**sizes, tie_word_embeddings=False)
    qwen = Qwen2Config(**sizes, tie_word_embeddings=True)

    assert counted(tmp_path / "a", llama) == llama_shape(2, 96, 1000, 160, 6, 2)
    assert counted(tmp_path / "b", qwen) == llama_shape(2, 96, 1000, 160, 6, 2, True, True)


def test_counting_other_layers_than_linear_ones(tmp_path: Path) -> None:
    shape = counted(tmp_path / "m", GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=500))

    assert shape.linear_weights == 2 * 12 * 64 * 64
    assert shape.linear_rows == 2 * (3 + 1 + 4 + 1) * 64


def test_shape_of_the_tiny_model_is_that_of_its_files(tiny_model_dir: Path) -> None:
    size = (tiny_model_dir / "model.safetensors").stat().st_size
    shape = shape_from_directory(tiny_model_dir)

    assert weight_bytes(shape, "fp32") == pytest.approx(size, rel=0.01)


def test_flagship_row_shows_its_sizes_before_any_download(
    registry: Registry, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_memory(monkeypatch, 16)
    rows = {row.name: row for row in model_choices(registry, "cpu", hub=hub)}
    flagship = rows["oasst-12b"]

    assert flagship.parameters == 11_841_976_320
    assert flagship.precision == "8bit"
    assert flagship.estimate is not None
    assert flagship.estimate.weights / GIB == pytest.approx(11.52, abs=0.01)
    assert flagship.fits
    assert not flagship.is_local

    free_memory(monkeypatch, 2)
    rows = {row.name: row for row in model_choices(registry, "cpu", "oasst-12b", hub=hub)}
    assert rows["oasst-12b"].fits is False
    assert rows["oasst-12b"].precision == ""
    assert rows["oasst-12b"].is_current
    assert rows["pythia-70m"].fits


def test_model_row_of_a_broken_directory_names_the_problem(tmp_path: Path, hub: Hub) -> None:
    broken = ModelSpec(name="broken", source=str(tmp_path))
    unknown = ModelSpec(name="unknown", source="owner/name")
    rows = model_choices(Registry({"broken": broken, "unknown": unknown}), "cpu", hub=hub)

    assert "config.json is missing" in rows[0].problem
    assert rows[0].fits is None
    assert (rows[1].problem, rows[1].fits, rows[1].parameters) == ("", None, None)


def test_precision_rows(registry: Registry, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory(monkeypatch, 12)
    spec = registry.models["oasst-12b"]
    rows = {row.precision: row for row in precision_choices(spec, "cpu", current="4bit", hub=hub)}

    assert [row.precision for row in rows.values() if row.fits] == ["4bit"]
    assert rows["4bit"].is_current
    assert rows["fp16"].free == 12 * GIB
    richer = precision_choices(spec, "cpu", reclaimable=4 * GIB, hub=hub)
    assert [row.precision for row in richer if row.fits] == ["8bit", "int8", "4bit"]


def test_context_is_never_more_than_the_model_was_trained_for(
    make_model_dir: ModelFactory, tmp_path: Path
) -> None:
    assert context_length(ModelSpec("a", "b/c", context=4096), 2048) == 2048
    assert context_length(ModelSpec("a", "b/c", context=1024), 2048) == 1024
    assert context_length(ModelSpec("a", "b/c"), 2048) == 2048
    assert context_length(ModelSpec("a", "b/c"), 131_072) == estimate.DEFAULT_CONTEXT

    directory = make_model_dir(tmp_path / "short", max_position_embeddings=256)
    spec = ModelSpec("short", str(directory), context=2048, reserve=512)
    plan = plan_load(LoadRequest("short"), Registry({"short": spec}))
    assert plan.request.context == 256
    assert plan.request.reserve is not None
    assert plan.request.reserve < 256
    assert "256" in plan.warnings[0]
    with pytest.raises(ModelLoadError, match="trained for 256"):
        plan_load(LoadRequest("short", context=300), Registry({"short": spec}))
    with pytest.raises(ModelLoadError, match="leaves no room"):
        plan_load(LoadRequest("short", reserve=256), Registry({"short": spec}))


def test_refusal_gives_the_numbers_and_what_would_fit(
    registry: Registry, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_memory(monkeypatch, 16)
    with pytest.raises(MemoryShortError) as caught:
        plan_load(LoadRequest("oasst-12b", precision="fp16"), registry, hub=hub)

    assert "22.1 GiB for weights" in caught.value.detail
    assert "1.4 GiB for the KV cache of 2048 tokens" in caught.value.detail
    assert "16.0 GiB are free" in caught.value.detail
    assert "Use 8bit, which needs 13." in caught.value.hint

    free_memory(monkeypatch, 7.9)
    with pytest.raises(MemoryShortError, match="Use 4bit with --context 1024"):
        plan_load(LoadRequest("oasst-12b"), registry, hub=hub)

    free_memory(monkeypatch, 1)
    with pytest.raises(MemoryShortError, match="Choose a smaller model"):
        plan_load(LoadRequest("oasst-12b"), registry, hub=hub)


def test_freed_memory_counts_as_free(
    registry: Registry, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_memory(monkeypatch, 10)
    plan = plan_load(LoadRequest("oasst-12b"), registry, reclaimable=15 * GIB, hub=hub)

    assert plan.request.precision in ("bf16", "8bit")
    assert plan.must_download
    with pytest.raises(ModelLoadError, match="is not on this machine"):
        plan_load(LoadRequest("oasst-12b", allow_download=False), registry, hub=hub)


def test_unusable_precision_is_refused_with_what_works(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tui_chat.engine.machine.devices._no_bitsandbytes", lambda device: "no such library"
    )
    with pytest.raises(ModelLoadError) as caught:
        plan_load(LoadRequest(str(tiny_model_dir), precision="8bit"), Registry({}))

    assert caught.value.detail == "no such library"
    assert caught.value.hint == "Choose one of fp32, bf16, fp16, int8"
    with pytest.raises(ModelLoadError, match="There is no precision '3bit'"):
        plan_load(LoadRequest(str(tiny_model_dir), precision="3bit"), Registry({}))


def test_template_is_read_from_the_files(
    make_model_dir: ModelFactory, tiny_model_dir: Path, tmp_path: Path
) -> None:
    base = make_model_dir(tmp_path / "base", tags=())
    own = make_model_dir(tmp_path / "own")
    (own / "chat_template.jinja").write_text("{{ messages }}")

    found = {
        directory.name: plan_load(LoadRequest(str(directory)), Registry({})).request.template
        for directory in (tiny_model_dir, base, own)
    }

    assert found == {"tiny": "oasst", "base": "raw", "own": "auto"}


def test_plan_fills_in_everything(tiny_model_dir: Path) -> None:
    plan = plan_load(LoadRequest(str(tiny_model_dir), device="cpu"), Registry({}))

    assert plan.request.precision == "fp32"
    assert plan.request.device == "cpu"
    assert (plan.request.context, plan.request.reserve) == (2048, 512)
    assert not plan.must_download
    assert plan_load(plan.request, Registry({})) == plan
