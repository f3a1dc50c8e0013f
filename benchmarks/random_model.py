"""Models of any size with random weights and the guide's tokenizer, for measurements only.

    python -m benchmarks.random_model FOLDER --layers 24 --width 1024 [--heads 16] [--rows 50304]

Their replies are noise that does not end by itself, which is what a long measurement needs.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from tui_chat.config.paths import guide_weights_dir
from tui_chat.engine.machine.libraries import configure_libraries, silence_progress_bars

_CONTROL_ROWS = 8
"""The guide's tokenizer has its control tokens first."""


def make_random_model(
    folder: Path,
    layers: int,
    width: int,
    seed: int = 0,
    heads: int | None = None,
    rows: int | None = None,
) -> Path:
    """Write a GPT-NeoX in bf16 with random weights; returns its folder.

    Args:
        folder: Made if missing.
        layers: Number of layers.
        width: Hidden size, a multiple of 64; about 12 * layers * width^2 weights.
        seed: Of the weights.
        heads: Attention heads; one for each 64 of the width if left out.
        rows: Rows of the embeddings, at least as many as the tokenizer has tokens, which is what
            it is if left out. The tokens of the other rows have no text.
    """
    configure_libraries()
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    silence_progress_bars()
    guide = guide_weights_dir()
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=rows or GPTNeoXConfig.from_pretrained(guide).vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads or width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=2048,
        eos_token_id=0,
        bos_token_id=0,
    )
    model = GPTNeoXForCausalLM._from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        # The logits of end and role tokens are 0 then, and never the largest.
        model.get_output_embeddings().weight[:_CONTROL_ROWS] = 0
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(guide / name, folder / name)
    return folder


def main() -> None:
    """Make one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--heads", type=int)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    make_random_model(
        options.folder, options.layers, options.width, heads=options.heads, rows=options.rows
    )


if __name__ == "__main__":
    main()
