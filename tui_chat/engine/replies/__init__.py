"""Reply generation: prefill, decode loop, sampling and KV cache."""
