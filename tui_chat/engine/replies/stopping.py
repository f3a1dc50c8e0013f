"""Stopping a reply from inside a forward pass.

A reply can be asked to end between two tokens, but a long prompt is one forward pass; so cancelling
also works within it, by a hook before each layer. Measured on a prompt of 1,500
tokens: 59 ms instead of 3.1 s, at no cost that could be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class Cancelled(Exception):
    """Raised inside a forward pass when the user stops the reply."""


def decoder_layers(model: Any) -> list[nn.Module]:
    """The layers of a model in order; the model itself where it has no list of them."""
    count = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    return [model]


@contextmanager
def cancellable(model: Any, is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Within it, a forward pass raises `Cancelled` before the next layer once it is to stop."""

    def check(module: nn.Module, args: Any) -> None:
        if is_cancelled():
            raise Cancelled

    hooks = [layer.register_forward_pre_hook(check) for layer in decoder_layers(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
