"""Directories that cannot be a model: each is refused with the file, the cause and a next step."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
import torch
from safetensors.torch import load_file, save_file

from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.loading.loader import free, load
from tui_chat.engine.loading.preflight import plan_load
from tui_chat.errors import TuiChatError

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local directory never needs the network."""

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def directory(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to break."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def load_directory(directory: Path, template: str | None = None) -> None:
    """Plan and load a directory as the engine does, then free it."""
    registry = Registry({})
    request = LoadRequest(str(directory), precision="fp32", template=template)
    plan = plan_load(request, registry)
    free(load(plan, registry, lambda _: None, Event()))


def refusal(directory: Path, template: str | None = None) -> TuiChatError:
    """The error that loading a directory ends in."""
    with pytest.raises(TuiChatError) as caught:
        load_directory(directory, template)
    return caught.value


def edit_json(path: Path, **values: object) -> None:
    """Change values of a JSON file; None removes one."""
    content = json.loads(path.read_text())
    content.update(values)
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def edit_tensors(directory: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Rewrite the weights after a change."""
    tensors = load_file(directory / WEIGHTS)
    change(tensors)
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})


def _no_config(directory: Path) -> None:
    (directory / "config.json").unlink()


def _adapter(directory: Path) -> None:
    (directory / "config.json").rename(directory / "adapter_config.json")


def _gguf_only(directory: Path) -> None:
    for name in ("config.json", WEIGHTS):
        (directory / name).unlink()
    (directory / "model-q4.gguf").write_bytes(b"GGUF")


def _broken_json(directory: Path) -> None:
    (directory / "config.json").write_text('{"model_type": "gpt_neox",')


def _deep_json(directory: Path) -> None:
    (directory / "config.json").write_text("[" * 100_000)


def _list_json(directory: Path) -> None:
    (directory / "config.json").write_text("[]")


def _latin1_json(directory: Path) -> None:
    (directory / "config.json").write_bytes(b'{"model_type": "\xe9"}')


def _no_model_type(directory: Path) -> None:
    edit_json(directory / "config.json", model_type=None)


def _unknown_model_type(directory: Path) -> None:
    edit_json(directory / "config.json", model_type="wonder_net")


def _remote_code(directory: Path) -> None:
    (directory / "evil.py").write_text(f"open({str(directory / 'PWNED')!r}, 'w')\n")
    edit_json(
        directory / "config.json",
        model_type="wonder_net",
        auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
    )


def _encoder_decoder(directory: Path) -> None:
    edit_json(directory / "config.json", is_encoder_decoder=True)


def _not_causal(directory: Path) -> None:
    edit_json(directory / "config.json", model_type="vit", architectures=["ViTModel"])


def _quantised_already(directory: Path) -> None:
    edit_json(directory / "config.json", quantization_config={"quant_method": "gptq"})


def _no_tokenizer(directory: Path) -> None:
    (directory / "tokenizer.json").unlink()


def _empty_tokenizer(directory: Path) -> None:
    (directory / "tokenizer.json").write_text("{}")


def _damaged_tokenizer(directory: Path) -> None:
    edit_json(directory / "tokenizer.json", model={"type": "BPE", "vocab": 3, "merges": []})


def _no_end_token(directory: Path) -> None:
    edit_json(directory / "tokenizer_config.json", eos_token=None, bos_token=None)


def _no_weights(directory: Path) -> None:
    (directory / WEIGHTS).unlink()


def _empty_weights(directory: Path) -> None:
    (directory / WEIGHTS).write_bytes(b"")


def _lfs_pointer(directory: Path) -> None:
    (directory / WEIGHTS).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 24\n"
    )


def _truncated(directory: Path) -> None:
    data = (directory / WEIGHTS).read_bytes()
    (directory / WEIGHTS).write_bytes(data[: len(data) // 2])


def _tiny_file(directory: Path) -> None:
    (directory / WEIGHTS).write_bytes(b"abc")


def _huge_header(directory: Path) -> None:
    (directory / WEIGHTS).write_bytes(struct.pack("<Q", 2**62) + b"{}")


def _header_not_json(directory: Path) -> None:
    (directory / WEIGHTS).write_bytes(struct.pack("<Q", 4) + b"\xff\xfe{}" + b"data")


def _lying_header(directory: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}).encode()
    (directory / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 16)


def _odd_dtype(directory: Path) -> None:
    header = json.dumps({"a": {"dtype": "Q4_K", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (directory / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)


def _no_tensors(directory: Path) -> None:
    save_file({}, directory / WEIGHTS)


def _missing_shard(directory: Path) -> None:
    (directory / WEIGHTS).unlink()
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (directory / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def _shard_outside(directory: Path) -> None:
    index = {"metadata": {}, "weight_map": {"a": "../../etc/passwd"}}
    (directory / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def _missing_tensor(directory: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["gpt_neox.layers.1.attention.dense.weight"]

    edit_tensors(directory, drop)


def _extra_tensor(directory: Path) -> None:
    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["gpt_neox.layers.7.mlp.gate.weight"] = torch.zeros(4, 4)

    edit_tensors(directory, add)


def _wrong_width(directory: Path) -> None:
    edit_json(directory / "config.json", intermediate_size=192)


def _wrong_vocabulary(directory: Path) -> None:
    edit_json(directory / "config.json", vocab_size=320)


def _more_rows_than_weights(directory: Path) -> None:
    edit_json(directory / "config.json", vocab_size=512)


def _nan_in_a_linear(directory: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["gpt_neox.layers.0.mlp.dense_h_to_4h.weight"][3, 5] = float("nan")

    edit_tensors(directory, spoil)


def _nan_in_one_embedding_row(directory: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["gpt_neox.embed_in.weight"][200] = float("inf")

    edit_tensors(directory, spoil)


def _flipped_bytes(directory: Path) -> None:
    """0xff over a stretch of the data: as fp32 that is not a number."""
    data = bytearray((directory / WEIGHTS).read_bytes())
    data[-4096:-2048] = b"\xff" * 2048
    (directory / WEIGHTS).write_bytes(data)


class _Payload:
    """Runs a command when it is unpickled by a reader that executes pickles."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self._target}",)


def _malicious_bin(directory: Path) -> None:
    (directory / WEIGHTS).unlink()
    with (directory / "pytorch_model.bin").open("wb") as stream:
        pickle.dump(_Payload(directory / "PWNED"), stream)


def _malicious_zip_bin(directory: Path) -> None:
    (directory / WEIGHTS).unlink()
    torch.save({"a": _Payload(directory / "PWNED")}, directory / "pytorch_model.bin")


def _bin_of_noise(directory: Path) -> None:
    (directory / WEIGHTS).unlink()
    (directory / "pytorch_model.bin").write_bytes(b"\x93noise" * 100)


def _bin_of_a_list(directory: Path) -> None:
    (directory / WEIGHTS).unlink()
    torch.save([torch.zeros(2)], directory / "pytorch_model.bin")


BROKEN = {
    _no_config: ("config.json is missing", "Name the directory"),
    _adapter: ("this is an adapter", "Merge it"),
    _gguf_only: ("GGUF", "safetensors"),
    _broken_json: ("config.json is not valid JSON (line 1)", "Download"),
    _deep_json: ("config.json is not valid JSON", "Download"),
    _list_json: ("config.json is not a JSON object", "Download"),
    _latin1_json: ("config.json is not valid JSON", "Download"),
    _no_model_type: ("config.json names no model_type", "Download"),
    _unknown_model_type: ("config.json describes a wonder_net model", "Update transformers"),
    _remote_code: ("config.json says that wonder_net needs to run code", "never done here"),
    _encoder_decoder: ("config.json describes an encoder-decoder", "causal language model"),
    _not_causal: ("config.json describes no model", "causal language model"),
    _quantised_already: ("config.json describes weights that are already", "unquantised"),
    _no_tokenizer: ("tokenizer.json is missing", "Copy the tokenizer files"),
    _empty_tokenizer: ("tokenizer.json holds no tokenizer", "Download"),
    _damaged_tokenizer: ("tokenizer.json cannot be read as a tokenizer", "Download"),
    _no_end_token: ("tokenizer_config.json names no end token", "Add eos_token"),
    _no_weights: ("neither model.safetensors nor pytorch_model.bin", "Download the weights"),
    _empty_weights: ("model.safetensors is empty", "Download"),
    _lfs_pointer: ("model.safetensors is a Git LFS pointer", "git lfs pull"),
    _truncated: ("model.safetensors is cut short", "Download"),
    _tiny_file: ("model.safetensors is not a safetensors file", "Download"),
    _huge_header: ("model.safetensors is not a safetensors file", "Download"),
    _header_not_json: ("model.safetensors is not a safetensors file", "Download"),
    _lying_header: ("model.safetensors has a damaged header: the size of a", "Download"),
    _odd_dtype: ("model.safetensors stores a as Q4_K", "unquantised"),
    _no_tensors: ("model.safetensors holds no tensors", "Download"),
    _missing_shard: ("names model-00001-of-00001.safetensors, which is missing", "Download"),
    _shard_outside: ("names a file outside the directory", "Download"),
    _missing_tensor: ("The weights lack", "Download the weights again"),
    _extra_tensor: ("The weights hold gpt_neox.layers.7.mlp.gate.weight", "of one model"),
    _wrong_width: ("where config.json asks for", "of one model"),
    _wrong_vocabulary: ("has token ids up to 344, but the model has only 320 rows", "tokenizer"),
    _more_rows_than_weights: ("where config.json asks for 512x64", "of one model"),
    _nan_in_a_linear: ("infinite or undefined numbers", "Download the weights again"),
    _nan_in_one_embedding_row: ("The embedding holds infinite", "Download the weights again"),
    _flipped_bytes: ("infinite or undefined numbers", "Download the weights again"),
    _malicious_bin: ("pytorch_model.bin holds more than weights", "safetensors"),
    _malicious_zip_bin: ("pytorch_model.bin holds more than weights", "safetensors"),
    _bin_of_noise: ("pytorch_model.bin", "safetensors"),
    _bin_of_a_list: ("pytorch_model.bin holds more than weights", "safetensors"),
}


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__.lstrip("_"))
def test_broken_directory_is_refused_in_one_sentence(
    damage: Callable[[Path], None], directory: Path
) -> None:
    damage(directory)
    cause, hint = BROKEN[damage]

    error = refusal(directory)

    assert cause in error.detail
    assert hint in error.hint
    assert str(directory) in error.title
    assert "\n" not in error.one_line
    assert "Traceback" not in error.one_line
    assert error.__cause__ is None
    assert not (directory / "PWNED").exists()


def test_template_whose_tags_the_tokenizer_lacks_is_refused(directory: Path) -> None:
    error = refusal(directory, template="chatml")

    assert "tokenizer.json has no token <|im_start|> and 1 more" in error.detail
    assert "--template" in error.hint


def test_model_without_chat_template_is_not_loaded_as_auto(directory: Path) -> None:
    error = refusal(directory, template="auto")

    assert "no chat template of its own" in error.title
    assert "--template" in error.hint


def test_control_characters_of_a_file_never_reach_an_error(directory: Path) -> None:
    edit_json(directory / "config.json", model_type="\x1b]52;c;AAAA\x07\u202eevil")

    error = refusal(directory)

    assert not any(character in error.one_line for character in "\x1b\x07\u202e")


def test_missing_directory_and_file_in_its_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "No such directory" in refusal(tmp_path / "absent").detail
    assert "That is a file" in refusal(tmp_path / "file").detail


def test_unreadable_directory_is_refused(directory: Path) -> None:
    (directory / "config.json").unlink()
    (directory / "config.json").mkdir()

    assert "config.json cannot be read" in refusal(directory).detail


def test_native_model_with_auto_map_loads_without_its_code(directory: Path) -> None:
    (directory / "evil.py").write_text(f"open({str(directory / 'PWNED')!r}, 'w')\n")
    edit_json(directory / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})

    load_directory(directory)

    assert not (directory / "PWNED").exists()
