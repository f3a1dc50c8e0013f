"""Calls a transformers model with a KV cache, whatever its release calls the cache argument."""

from __future__ import annotations

import inspect
from functools import cache as remembered
from typing import Any

from torch import Tensor


def forward(model: Any, ids: Tensor, cache: Any, **options: Any) -> Any:
    """Run tokens through a model, and add their keys and values to the cache.

    Args:
        model: A causal language model as transformers loads it.
        ids: Token ids, shape (rows, tokens).
        cache: Keys and values of the preceding tokens, of the same rows.
        options: Further arguments of the model's forward pass.

    Returns:
        The model's output. Its `logits` have the shape (rows, tokens, vocabulary) unless the
        options ask for fewer tokens.
    """
    kind: Any = type(model)
    return model(input_ids=ids, use_cache=True, **{cache_name(kind): cache}, **options)


@remembered
def cache_name(model_class: Any) -> str:
    """Return the name of a model's cache argument.

    transformers 5.24 renamed `past_key_values` to `cache`, and accepts the old name until 5.40.
    """
    parameters = inspect.signature(model_class.forward).parameters
    return "cache" if "cache" in parameters else "past_key_values"
