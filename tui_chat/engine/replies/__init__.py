"""From a prompt to a reply: prefill, decode loop, sampling, KV cache."""
