"""Loading a real tiny model in every precision, stopping it, and giving the memory back."""

from __future__ import annotations

import gc
import json
import logging
import shutil
import threading
import weakref
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.conftest import ModelFactory
from tui_chat.chat.events import Loading
from tui_chat.chat.known_names import PRECISIONS, Precision
from tui_chat.chat.model_size import weight_bytes
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.loading import loader
from tui_chat.engine.loading.loader import LoadedModel, free, load
from tui_chat.engine.loading.preflight import LoadPlan, plan_load
from tui_chat.engine.machine.libraries import configure_libraries
from tui_chat.errors import LoadCancelledError, MemoryShortError, ModelLoadError, TuiChatError

NOBODY = Registry({})


def plan_for(directory: Path, precision: str = "fp32") -> LoadPlan:
    return plan_load(LoadRequest(str(directory), precision=precision, device="cpu"), NOBODY)


def load_tiny(directory: Path, precision: str = "fp32", **options: Any) -> LoadedModel:
    events: list[Loading] = options.pop("events", [])
    return load(plan_for(directory, precision), NOBODY, events.append, Event(), **options)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_loads_and_computes(precision: Precision, tiny_model_dir: Path) -> None:
    loaded = load_tiny(tiny_model_dir, precision)
    info = loaded.info

    assert info.precision == precision
    assert (info.device, info.template, info.context) == ("cpu", "oasst", 2048)
    assert info.parameters == sum(
        tensor.numel() for tensor in load_file(tiny_model_dir / "model.safetensors").values()
    )
    assert info.warnings == ()
    assert loaded.plan.shape is not None
    has_fp32 = loaded.model.dtype == torch.float32
    expected = weight_bytes(loaded.plan.shape, precision, is_compute_fp32=has_fp32)
    assert info.weight_bytes == pytest.approx(expected, rel=0.03)
    with torch.inference_mode():
        logits = loaded.model(input_ids=torch.tensor([[5, 6, 7]])).logits
    assert bool(torch.isfinite(logits).all())
    assert not loaded.model.training
    free(loaded)


def test_weights_are_those_of_the_file(tiny_model_dir: Path) -> None:
    stored = load_file(tiny_model_dir / "model.safetensors")
    loaded = load_tiny(tiny_model_dir)
    weight = loaded.model.get_input_embeddings().weight

    assert torch.equal(weight, stored["gpt_neox.embed_in.weight"])
    free(loaded)


def test_same_weights_as_the_library_loads(tiny_model_dir: Path) -> None:
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32).eval()
    loaded = load_tiny(tiny_model_dir)
    ids = torch.tensor([[340, 20, 30, 0, 341]])

    with torch.inference_mode():
        assert torch.equal(loaded.model(input_ids=ids).logits, reference(input_ids=ids).logits)
    free(loaded)


@pytest.mark.parametrize(
    ("precision", "stages"),
    [("bf16", ["tokenizer", "weights", "check"]),
     ("4bit", ["tokenizer", "weights", "quantise", "check"])],
)  # fmt: skip
def test_stages_come_in_order_with_real_bytes(
    precision: str, stages: list[str], tiny_model_dir: Path
) -> None:
    events: list[Loading] = []
    threads: list[int] = []
    plan = plan_for(tiny_model_dir, precision)

    def emit(event: object) -> None:
        assert isinstance(event, Loading)
        events.append(event)
        threads.append(threading.get_ident())

    free(load(plan, NOBODY, emit, Event()))

    assert list(dict.fromkeys(event.stage for event in events)) == stages
    total = sum(t.nbytes for t in load_file(tiny_model_dir / "model.safetensors").values())
    read = [event for event in events if event.stage == stages[-2]]
    assert [event.done for event in read] == sorted({event.done for event in read})
    assert (read[0].done, read[-1].done) == (0, total)
    assert {event.total for event in read} == {total}
    assert [e.elapsed_s for e in events] == sorted(e.elapsed_s for e in events)
    assert set(threads) == {threading.get_ident()}


def test_tokenizer_is_there_before_the_weights(tiny_model_dir: Path) -> None:
    order: list[str] = []
    plan = plan_for(tiny_model_dir)

    def on_tokenizer(tokenizer: Any, final: LoadPlan) -> None:
        assert tokenizer.is_fast
        assert final.request.template == "oasst"
        order.append("tokenizer")

    def emit(event: object) -> None:
        order.append(event.stage)  # type: ignore[attr-defined]

    free(load(plan, NOBODY, emit, Event(), on_tokenizer))

    assert order.index("tokenizer", 1) < order.index("weights")


@pytest.mark.parametrize("stage", ["tokenizer", "weights", "quantise", "check"])
def test_cancel_in_any_stage_leaves_nothing(stage: str, tiny_model_dir: Path) -> None:
    cancel = Event()
    plan = plan_for(tiny_model_dir, "8bit")
    before = _live_models()

    def emit(event: object) -> None:
        if isinstance(event, Loading) and event.stage == stage:
            cancel.set()

    with pytest.raises(LoadCancelledError) as caught:
        load(plan, NOBODY, emit, cancel)

    assert caught.value.code == "cancelled"
    assert caught.value.__context__ is None
    assert _live_models() == before


def _live_models() -> int:
    """How many models there are; other tests keep some."""
    gc.unfreeze()  # what is put aside is not listed
    gc.collect()
    return sum(type(o).__name__ == "GPTNeoXForCausalLM" for o in gc.get_objects())


def test_failed_load_keeps_no_model(tiny_model_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(tiny_model_dir, tmp_path / "m"))
    tensors = load_file(directory / "model.safetensors")
    tensors["gpt_neox.final_layer_norm.weight"][0] = float("nan")
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})

    before = _live_models()
    errors: list[TuiChatError] = []
    for _ in range(2):
        with pytest.raises(ModelLoadError) as caught:
            load_tiny(directory)
        errors.append(caught.value)
        del caught
        errors[-1].__traceback__ = None

    assert _live_models() == before


def test_library_error_is_one_sentence_and_the_log_has_the_rest(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("kernel \x1b[31mpanic\nsecond line")

    monkeypatch.setattr(loader, "check_numbers", fail)
    with caplog.at_level(logging.ERROR), pytest.raises(ModelLoadError) as caught:
        load_tiny(tiny_model_dir)

    assert "RuntimeError" in caught.value.one_line
    assert "second line" not in caught.value.one_line
    assert "\x1b" not in caught.value.one_line
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
     RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")],
)  # fmt: skip
def test_running_out_of_memory_is_said_as_that(
    error: Exception, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(loader, "check_numbers", fail)
    with pytest.raises(MemoryShortError) as caught:
        load_tiny(tiny_model_dir)

    assert caught.value.code == "oom"
    assert "8bit or 4bit" in caught.value.hint


def test_free_gives_the_memory_back_even_if_somebody_holds_the_model(
    make_model_dir: ModelFactory, tmp_path: Path
) -> None:
    directory = make_model_dir(tmp_path / "large", hidden_size=512, intermediate_size=8192)
    for precision in ("fp32", "8bit"):
        loaded = load_tiny(directory, precision)
        size = loaded.info.weight_bytes
        held = loaded.model

        freed = free(loaded)

        assert freed > 0.8 * size
        assert sum(t.nbytes for t in (*held.parameters(), *held.buffers())) == 0
        assert loaded.model is None
        assert free(loaded) >= 0


def test_freed_model_is_gone(tiny_model_dir: Path) -> None:
    loaded = load_tiny(tiny_model_dir, "4bit")
    reference = weakref.ref(loaded.model)
    free(loaded)

    assert reference() is None


def test_pickled_weights_load_with_a_warning(tiny_model_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(tiny_model_dir, tmp_path / "m"))
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    for is_zip in (True, False):
        torch.save(tensors, directory / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
        loaded = load_tiny(directory)
        assert "pickled .bin" in loaded.info.warnings[0]
        weight = loaded.model.get_input_embeddings().weight
        assert torch.equal(weight, tensors["gpt_neox.embed_in.weight"])
        free(loaded)


def test_safetensors_win_over_pickled_weights(tiny_model_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(tiny_model_dir, tmp_path / "m"))
    (directory / "pytorch_model.bin").write_bytes(b"never read")

    loaded = load_tiny(directory)

    assert loaded.info.warnings == ()
    free(loaded)


def test_sharded_weights_load(tiny_model_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(tiny_model_dir, tmp_path / "m"))
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number in (1, 2):
        file = f"model-0000{number}-of-00002.safetensors"
        part = {name: tensors[name] for name in names[number - 1 :: 2]}
        save_file(part, directory / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

    free(load_tiny(directory))


def test_tied_and_old_checkpoints_load(make_model_dir: ModelFactory, tmp_path: Path) -> None:
    tied = make_model_dir(tmp_path / "tied", tie_word_embeddings=True)
    assert "embed_out.weight" not in load_file(tied / "model.safetensors")
    free(load_tiny(tied))

    old = make_model_dir(tmp_path / "old")
    tensors = load_file(old / "model.safetensors")
    tensors["gpt_neox.layers.0.attention.rotary_emb.inv_freq"] = torch.ones(2)
    tensors["gpt_neox.layers.0.attention.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    tensors["gpt_neox.layers.0.attention.masked_bias"] = torch.tensor(-1e9)
    save_file(tensors, old / "model.safetensors", metadata={"format": "pt"})
    free(load_tiny(old))


def test_file_cut_short_after_the_plan_is_an_error_not_a_crash(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(tiny_model_dir, tmp_path / "m"))
    plan = plan_for(directory)
    with (directory / "model.safetensors").open("r+b") as stream:
        stream.truncate(100_000)

    with pytest.raises(ModelLoadError, match=r"model\.safetensors is cut short"):
        load(plan, NOBODY, lambda _: None, Event())


def test_loaded_model_does_not_depend_on_its_file(tiny_model_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(tiny_model_dir, tmp_path / "m"))
    loaded = load_tiny(directory)
    with (directory / "model.safetensors").open("r+b") as stream:
        stream.truncate(0)

    with torch.inference_mode():
        assert bool(torch.isfinite(loaded.model(input_ids=torch.tensor([[3]])).logits).all())
    free(loaded)


def test_libraries_keep_quiet(tiny_model_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure_libraries()
    capfd.readouterr()
    for precision in ("fp32", "8bit", "4bit"):
        loaded = load_tiny(tiny_model_dir, precision)
        with torch.inference_mode():
            loaded.model(input_ids=torch.tensor([[3, 4]]))
        free(loaded)

    assert capfd.readouterr() == ("", "")
