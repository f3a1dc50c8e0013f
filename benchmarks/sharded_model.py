"""Models with random weights that are larger than the memory, and the guide's tokenizer.

Written layer by layer, one file for each. Their replies are noise that does not end by itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tui_chat.config.paths import guide_weights_dir
from tui_chat.engine.machine.libraries import configure_libraries

_CONTROL_ROWS = 8
"""The guide's tokenizer has its control tokens first. Their logits are 0, never the largest, and
so are those of the rows that it has no token for, which the chat leaves out: so `generate` writes
the same tokens."""


def make_sharded_model(
    folder: Path, layers: int, width: int, vocab: int, seed: int = 0, device: str = "cpu"
) -> Path:
    """Write a GPT-NeoX in bf16 with random weights; returns its folder.

    Args:
        folder: Made if missing.
        layers: Number of layers.
        width: Hidden size, a multiple of 128.
        vocab: Rows of the embeddings, at least the ids of the guide's tokenizer.
        seed: Of the weights.
        device: What makes the random numbers; a GPU is quicker by far.
    """
    configure_libraries()
    import torch
    from safetensors.torch import save_file
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=vocab,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 128,
        intermediate_size=4 * width,
        max_position_embeddings=2048,
        eos_token_id=0,
        bos_token_id=0,
        architectures=["GPTNeoXForCausalLM"],
        dtype=torch.bfloat16,
    )
    with torch.device("meta"):
        model = GPTNeoXForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    random = torch.Generator(device).manual_seed(seed)
    shards = _by_layer(model.named_parameters())
    tokens = _add_tokenizer(folder)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {
            name: _random_weight(name, shape, random, tokens) for name, shape in shard.items()
        }
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(tensors, file))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _by_layer(parameters: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Shapes by name: those of each layer together, everything else one by one."""
    shards: dict[str, dict[str, Any]] = {}
    for name, parameter in parameters:
        _, is_layer, rest = name.partition(".layers.")
        key = rest.split(".")[0] if is_layer else name
        shards.setdefault(key, {})[name] = parameter.shape
    return list(shards.values())


def _random_weight(name: str, shape: Any, random: Any, tokens: int) -> Any:
    """What a freshly initialised GPT-NeoX has in this place, in bf16."""
    import torch

    tensor = torch.empty(shape, dtype=torch.bfloat16, device=random.device)
    if len(shape) == 1:
        return tensor.fill_(1.0 if name.endswith("weight") else 0.0).cpu()
    tensor.normal_(0, 0.02, generator=random)
    if name.startswith(("embed_out", "lm_head")):
        tensor[:_CONTROL_ROWS] = 0
        tensor[tokens:] = 0
    return tensor.cpu()


def _add_tokenizer(folder: Path) -> int:
    """Copy the guide's tokenizer; returns how many tokens it has."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(guide_weights_dir() / name, folder / name)
    return len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
