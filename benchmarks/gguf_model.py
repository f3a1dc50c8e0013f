"""A GPT-NeoX directory as a GGUF file, so that llama.cpp runs the very same weights.

    python -m benchmarks.gguf_model DIRECTORY FILE.gguf --type bf16|f16|q8_0

Needs `pip install gguf`, which the package itself does not. The tokens get made-up names: whoever
reads such a file sends and takes ids.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TYPES = ("bf16", "f16", "q8_0")
_GLOBAL_NAMES = {
    "gpt_neox.embed_in": "token_embd",
    "gpt_neox.final_layer_norm": "output_norm",
    "embed_out": "output",
    "lm_head": "output",
}
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}


def write_gguf(directory: Path, file: Path, kind: str) -> None:
    """Convert a model.

    Args:
        directory: A GPT-NeoX as transformers saves it, in safetensors.
        file: Replaced if it is there.
        kind: Of `TYPES`: how matrices are stored. Vectors stay fp32, as llama.cpp wants them.
    """
    import gguf

    config = json.loads((directory / "config.json").read_text())
    stored = {
        "bf16": gguf.GGMLQuantizationType.BF16,
        "f16": gguf.GGMLQuantizationType.F16,
        "q8_0": gguf.GGMLQuantizationType.Q8_0,
    }[kind]
    writer = gguf.GGUFWriter(file, "gptneox", use_temp_file=True)
    _write_header(writer, config)
    for name, values in _tensors(directory, config["num_attention_heads"]):
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_header(writer: Any, config: dict[str, Any]) -> None:
    heads, rows = config["num_attention_heads"], config["vocab_size"]
    rope = config.get("rope_parameters") or {}
    rotary = rope.get("partial_rotary_factor") or config.get("rotary_pct", 0.25)
    writer.add_name("benchmark")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_rope_dimension_count(int(config["hidden_size"] // heads * rotary))
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rotary_emb_base", 10000)))
    writer.add_parallel_residual(config.get("use_parallel_residual", True))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("olmo")
    writer.add_token_list([f"t{number}" for number in range(rows)])
    writer.add_token_types([1] * rows)
    writer.add_token_merges(["t 1"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def _tensors(directory: Path, heads: int) -> Iterator[tuple[str, Any]]:
    """Every weight by the name that llama.cpp knows it by, in fp32, one at a time."""
    from safetensors import safe_open

    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118  # a file of weights is no mapping
                known = _known_name(name)
                if known is None:
                    continue
                values = weights.get_tensor(name).float()
                if "query_key_value" in name:
                    values = _by_kind(values, heads)
                yield known, values.contiguous().numpy()


def _known_name(name: str) -> str | None:
    """The name in GGUF; None for what is no weight, as a table of rotations."""
    base, _, kind = name.rpartition(".")
    if base in _GLOBAL_NAMES:
        return f"{_GLOBAL_NAMES[base]}.{kind}"
    prefix, _, rest = base.removeprefix("gpt_neox.layers.").partition(".")
    if rest in _LAYER_NAMES and prefix.isdecimal():
        return f"blk.{prefix}.{_LAYER_NAMES[rest]}.{kind}"
    return None


def _by_kind(values: Any, heads: int) -> Any:
    """Query, key and value of each head, one after the other, as all queries, keys and values."""
    grouped = values.view(heads, 3, values.shape[0] // (3 * heads), *values.shape[1:])
    return grouped.transpose(0, 1).reshape(values.shape)


def main() -> None:
    """Convert one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--type", choices=TYPES, default="bf16", dest="kind")
    options = parser.parse_args()
    write_gguf(options.directory, options.file, options.kind)


if __name__ == "__main__":
    main()
