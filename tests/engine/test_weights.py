"""Reading tensors piece by piece: every dtype and format, 8 bits on the way, counting, stopping."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, get_ident

import pytest
import torch
from safetensors.torch import save_file

from tui_chat.engine.files.checkpoint import Checkpoint, read_checkpoint
from tui_chat.engine.loading import tensor_pieces
from tui_chat.engine.loading.tensor_pieces import PIECE, Interrupted
from tui_chat.engine.loading.weights import WeightReader
from tui_chat.engine.machine.devices import memory_in_use
from tui_chat.errors import LoadCancelledError, ModelLoadError

LARGE = (3000, 500)
"""More than one piece in every dtype, and no multiple of one."""


def random_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    wide = torch.randn(LARGE, generator=generator)
    return {
        "wide": wide,
        "bf16": wide.to(torch.bfloat16),
        "fp16": wide.half(),
        "long": torch.randint(-(2**40), 2**40, (PIECE,), generator=generator),
        "bool": wide.flatten() > 0,
        "small": torch.randn(7, generator=generator),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
    }


def save(directory: Path, tensors: dict[str, torch.Tensor], is_pickled: bool = False) -> Checkpoint:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": "gpt_neox"}))
    (directory / "tokenizer.json").write_text('{"model": {}}')
    if is_pickled:
        torch.save(tensors, directory / "pytorch_model.bin")
    else:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return read_checkpoint(directory)


def reader_of(
    checkpoint: Checkpoint,
    progress: Callable[[int], None] = lambda _: None,
    cancel: Event | None = None,
    dtype: torch.dtype | None = None,
) -> WeightReader:
    return WeightReader(checkpoint, progress, cancel or Event(), dtype)


@pytest.mark.parametrize("is_pickled", [False, True], ids=["safetensors", "pickled"])
def test_every_tensor_is_what_was_saved(is_pickled: bool, tmp_path: Path) -> None:
    saved = random_tensors()
    with reader_of(save(tmp_path / "m", saved, is_pickled)) as reader:
        lazy = reader.tensors()
        assert lazy.keys() == saved.keys()
        for name, expected in saved.items():
            found = lazy[name][...].to(device="cpu", dtype=None)
            assert found.dtype == expected.dtype
            assert torch.equal(found, expected)
            assert lazy[name].is_floating_point() == expected.is_floating_point()


def test_tensors_arrive_in_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    saved = random_tensors()
    with reader_of(save(tmp_path / "m", saved)) as reader:
        lazy = reader.tensors()
        for name, dtype in (
            ("wide", torch.bfloat16),
            ("wide", torch.float16),
            ("bf16", torch.float32),
            ("small", torch.float16),
        ):
            assert torch.equal(lazy[name].to("cpu", dtype), saved[name].to(dtype))


def test_the_readers_dtype_is_for_floating_point_numbers_only(tmp_path: Path) -> None:
    saved = random_tensors()
    with reader_of(save(tmp_path / "m", saved), dtype=torch.float16) as reader:
        lazy = reader.tensors()
        assert lazy["bf16"].to("cpu").dtype == torch.float16
        assert torch.equal(lazy["long"].to("cpu"), saved["long"])


@pytest.mark.parametrize("name", ["wide", "bf16", "fp16"])
@pytest.mark.parametrize("is_pickled", [False, True], ids=["safetensors", "pickled"])
def test_8_bits_are_those_of_bitsandbytes(name: str, is_pickled: bool, tmp_path: Path) -> None:
    from bitsandbytes.functional import int8_vectorwise_quant

    stored = random_tensors()[name]
    stored[5] *= 1000
    stored[6] = 0
    with reader_of(save(tmp_path / "m", {"a.weight": stored}, is_pickled)) as reader:
        lazy = reader.tensors({"a.weight"})
        assert lazy.keys() == {"a.weight", "a.SCB"}
        scales, weight = lazy["a.SCB"].to("cpu"), lazy["a.weight"].to("cpu")

    expected, row_stats, _ = int8_vectorwise_quant(stored.half())
    assert (weight.dtype, scales.dtype) == (torch.int8, torch.float32)
    assert torch.equal(weight, expected)
    assert torch.equal(scales, row_stats)


def test_a_number_that_is_none_is_not_hidden_by_8_bits(tmp_path: Path) -> None:
    stored = random_tensors()["bf16"]
    stored[7, 3] = float("nan")
    with reader_of(save(tmp_path / "m", {"a.weight": stored})) as reader:
        scales = reader.tensors({"a.weight"})["a.SCB"].to("cpu")

    assert scales.isnan().nonzero().tolist() == [[7]]


def test_no_second_copy_is_ever_held(tmp_path: Path) -> None:
    stored = torch.zeros(16 * 1024**2)
    checkpoint = save(tmp_path / "m", {"large": stored})
    del stored
    held: list[int] = []
    with reader_of(checkpoint, lambda _: held.append(memory_in_use("cpu"))) as reader:
        lazy = reader.tensors()
        before = memory_in_use("cpu")
        tensor = lazy["large"].to("cpu", torch.bfloat16)

    scratch = 24 * 1024**2  # a few pieces for each thread
    assert max(held) - before < tensor.nbytes + scratch < 64 * 1024**2


def test_progress_counts_every_byte_on_the_calling_thread(tmp_path: Path) -> None:
    saved = random_tensors()
    told: list[int] = []
    threads: set[int] = set()

    def progress(done: int) -> None:
        told.append(done)
        threads.add(get_ident())

    with reader_of(save(tmp_path / "m", saved), progress) as reader:
        for tensor in reader.tensors({"wide"}).values():
            tensor.to("cpu")

    assert told == sorted(told)
    assert told[-1] == sum(tensor.nbytes for tensor in saved.values())
    assert threads == {get_ident()}


def test_cancelling_stops_between_two_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_pieces, "PIECE", 1000)
    monkeypatch.setattr(tensor_pieces, "_POLL_S", 0.0)  # tell at once
    cancel = Event()
    told: list[int] = []

    def progress(done: int) -> None:
        told.append(done)
        if done:
            cancel.set()

    with reader_of(save(tmp_path / "m", random_tensors()), progress, cancel) as reader:
        lazy = reader.tensors()
        with pytest.raises(Interrupted) as caught:
            lazy["wide"].to("cpu")
        assert isinstance(caught.value.error, LoadCancelledError)
        with pytest.raises(Interrupted):
            lazy["small"].to("cpu")

    assert 0 < told[-1] < random_tensors()["wide"].nbytes


def test_a_file_that_ends_early_is_named(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "m", random_tensors())
    file = checkpoint.files[0]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with reader_of(checkpoint) as reader:
        found = [_error(tensor.to) for tensor in reader.tensors({"wide"}).values()]

    errors = [error for error in found if error is not None]
    assert errors
    assert all(isinstance(error, ModelLoadError) for error in errors)
    assert "model.safetensors is cut short" in str(errors[0])


def _error(read: Callable[..., torch.Tensor]) -> Exception | None:
    try:
        read("cpu")
    except Interrupted as stop:
        return stop.error
    return None


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "m", random_tensors())
    checkpoint.files[0].unlink()
    with reader_of(checkpoint) as reader, pytest.raises(Interrupted) as caught:
        reader.tensors()["wide"].to("cpu")

    assert "cannot be read" in caught.value.error.one_line


def test_computing_uses_as_many_threads_as_before(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with reader_of(save(tmp_path / "m", random_tensors())) as reader:
        reader.tensors()["wide"].to("cpu")

    assert torch.get_num_threads() == before
