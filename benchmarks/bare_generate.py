"""The least that a script needs for a token of the built-in model: what the chat is measured with.

    python -m benchmarks.bare_generate

Imports torch and transformers, loads the model and its tokenizer, generates one token and prints
it.
"""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tui_chat.config.paths import guide_weights_dir

QUESTION = "What is a token?"


def main() -> None:
    """Generate one token."""
    folder = guide_weights_dir()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = f"<|prompter|>{QUESTION}<|endoftext|><|assistant|>"
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    with torch.inference_mode():
        output = model.generate(ids, max_new_tokens=1, do_sample=False)
    print("first token:", tokenizer.decode(output[0, ids.shape[1] :]), flush=True)


if __name__ == "__main__":
    main()
