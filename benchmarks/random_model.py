"""Models of any size with random weights and the guide's tokenizer, for measurements only.

Their replies are noise that does not end by itself, which is what a long measurement needs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tui_chat.paths import guide_weights_dir

_CONTROL_ROWS = 8
"""The guide's tokenizer has its control tokens first."""


def make_random_model(folder: Path, layers: int, width: int, seed: int = 0) -> Path:
    """Write a GPT-NeoX in bf16 with random weights; returns its folder.

    Args:
        folder: Made if missing.
        layers: Number of layers.
        width: Hidden size, a multiple of 64; about 12 * layers * width^2 weights.
        seed: Of the weights.
    """
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    guide = guide_weights_dir()
    rows = GPTNeoXConfig.from_pretrained(guide).vocab_size
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=rows,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=2048,
        eos_token_id=0,
        bos_token_id=0,
    )
    model = GPTNeoXForCausalLM(config)
    with torch.no_grad():
        # The logits of end and role tokens are 0 then, and never the largest.
        model.get_output_embeddings().weight[:_CONTROL_ROWS] = 0
    model.to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(guide / name, folder / name)
    return folder
