"""The one place where a model of transformers is called with a cache."""

from __future__ import annotations

import inspect
from functools import cache as remembered
from typing import Any

from torch import Tensor


def forward(model: Any, ids: Tensor, cache: Any, **options: Any) -> Any:
    """Run tokens through a model; their keys and values go into the cache.

    Args:
        model: A causal language model as transformers loads it.
        ids: Token ids, shape (rows, tokens).
        cache: Keys and values of the tokens before, of the same rows.
        options: Further arguments of the model's forward pass.

    Returns:
        The model's output; its `logits` have the shape (rows, tokens, rows of the vocabulary)
        unless the options ask for fewer.
    """
    kind: Any = type(model)
    return model(input_ids=ids, use_cache=True, **{cache_name(kind): cache}, **options)


@remembered
def cache_name(model_class: Any) -> str:
    """What a model calls its cache: transformers 5.24 renamed `past_key_values` to `cache`, and
    takes the old name until 5.40.
    """
    parameters = inspect.signature(model_class.forward).parameters
    return "cache" if "cache" in parameters else "past_key_values"
