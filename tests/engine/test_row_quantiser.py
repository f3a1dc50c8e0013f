"""A model quantised while it is read is the one that the library would have quantised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from tests.engine.conftest import ModelFactory, build_tokenizer
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.checkpoint import model_config, read_checkpoint
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.loading.loader import LoadedModel, free, load
from tui_chat.engine.loading.preflight import plan_load
from tui_chat.engine.loading.row_quantiser import quantisable_weights

IDS = torch.tensor([[340, 20, 30, 0, 341]])


def load_8bit(directory: Path) -> LoadedModel:
    nobody = Registry({})
    request = LoadRequest(str(directory), precision="8bit", device="cpu", template="raw")
    return load(plan_load(request, nobody), nobody, lambda _: None, Event())


def llama(directory: Path) -> Path:
    directory.mkdir()
    rows = build_tokenizer(directory)
    config = LlamaConfig(
        vocab_size=rows, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(4)
    LlamaForCausalLM(config).bfloat16().save_pretrained(directory)
    return directory


def gpt2(directory: Path) -> Path:
    directory.mkdir()
    rows = build_tokenizer(directory)
    config = GPT2Config(
        vocab_size=rows, n_embd=64, n_layer=2, n_head=4, n_positions=128, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(5)
    GPT2LMHeadModel(config).bfloat16().save_pretrained(directory)
    return directory


@pytest.mark.parametrize("kind", ["neox", "tied", "llama", "gpt2"])
def test_weights_and_logits_are_the_librarys(
    kind: str, make_model_dir: ModelFactory, tmp_path: Path
) -> None:
    if kind == "llama":
        directory = llama(tmp_path / kind)
    elif kind == "gpt2":
        directory = gpt2(tmp_path / kind)
    else:
        is_tied = kind == "tied"
        directory = make_model_dir(
            tmp_path / kind, tie_word_embeddings=is_tied, dtype=torch.bfloat16
        )
    loaded = load_8bit(directory)
    reference = AutoModelForCausalLM.from_pretrained(
        directory,
        quantization_config=BitsAndBytesConfig(load_in_8bit=True),
        dtype=loaded.model.dtype,
        device_map="cpu",
    )
    with torch.inference_mode():
        assert torch.equal(loaded.model(input_ids=IDS).logits, reference(input_ids=IDS).logits)

    ours, theirs = loaded.model.state_dict(), reference.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name
    assert loaded.info.weight_bytes == reference.get_memory_footprint()
    free(loaded)


def test_every_linear_layer_but_the_output_is_quantised_on_the_way(tiny_model_dir: Path) -> None:
    checkpoint = read_checkpoint(tiny_model_dir)
    names = quantisable_weights(GPTNeoXForCausalLM, model_config(tiny_model_dir), checkpoint)

    assert len(names) == 2 * 4
    assert "gpt_neox.layers.1.mlp.dense_4h_to_h.weight" in names


def test_the_library_quantises_what_is_stored_otherwise(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(tiny_model_dir)
    config = model_config(tiny_model_dir)
    bare = {name.removeprefix("gpt_neox."): t for name, t in checkpoint.tensors.items()}
    transposed = gpt2(tmp_path / "gpt2")

    assert not quantisable_weights(GPTNeoXForCausalLM, config, replace(checkpoint, tensors=bare))
    assert not quantisable_weights(
        GPT2LMHeadModel, model_config(transposed), read_checkpoint(transposed)
    )
