"""The forward pass of one token, written so that a compiler makes fast code of it.

The layers are those of transformers. This module replaces what decoding can do more simply:
products of a matrix and a vector, attention of a single query, and keys and values in buffers that
are written in place. Weights are arguments, so the compiled code fits every model of the same shape
and holds no copy of any.

A step has one of two forms. The growing form gets the number of tokens as a shape, and reads that
many keys and values; on a CPU, the shape may differ with every call. A CUDA graph repeats the same
calls with the same addresses and shapes, so the fixed form gets the position as a number in memory,
reads the whole buffers, and masks what lies behind the position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tui_chat.engine.replies.forward import cache_name
from tui_chat.engine.turbo.artefact import StepForm

ATTENTION = "tui_chat_step"
"""Name under which `attend_one` is registered with transformers."""

SCALE = "scale"
"""Name of an int8 layer's parameter with one fp32 scale for each output row."""


def in_memory(x: Tensor) -> Tensor:
    """Return a vector as fp32 numbers in memory, shape (n,).

    The compiler would otherwise compute the vector again for every row of a matrix it is multiplied
    by. It cannot fuse `as_strided` into a loop, so it has to store the vector.
    """
    flat = x.float().reshape(-1)
    return torch.as_strided(flat, (flat.shape[0],), (1,))


class StepLinear(nn.Module):
    """A linear layer for a single vector, as one loop that reads each weight once.

    Sums are in fp32, in whatever dtype the weights are stored.

    Args:
        in_features: Length of the vector.
        out_features: Number of output rows.
        bias: Whether the layer has a bias.
        dtype: Dtype of the bias and the result.
        is_int8: Whether the weights are int8 with one fp32 scale for each row.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool, dtype: torch.dtype, is_int8: bool
    ) -> None:
        super().__init__()
        self.dtype = dtype
        stored = torch.int8 if is_int8 else dtype
        shape = (out_features, in_features)
        self.weight = nn.Parameter(torch.empty(shape, dtype=stored), requires_grad=False)
        if is_int8:
            row = torch.empty(out_features, dtype=torch.float32)
            self.register_parameter(SCALE, nn.Parameter(row, requires_grad=False))
        added = torch.empty(out_features, dtype=dtype) if bias else None
        self.bias = nn.Parameter(added, requires_grad=False) if added is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the product with a vector of shape (1, 1, in_features)."""
        y = (in_memory(x) * self.weight.float()).sum(-1)
        if hasattr(self, SCALE):
            y = y * getattr(self, SCALE)
        if self.bias is not None:
            y = y + self.bias
        return y.to(self.dtype).view(1, 1, -1)


def attend_one(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend with one token to all tokens so far, itself included.

    Args:
        module: The layer; not used.
        query: Shape (1, heads, 1, head size).
        key: Shape (key heads, tokens, head size).
        value: As `key`.
        attention_mask: Which tokens are visible, as booleans that can be viewed as shape (tokens,);
            None for all. Keys and values of invisible tokens may be anything, even NaN.
        scaling: Factor on the scores; None for one over the square root of the head size.
        options: `softcap` limits the scores. Other options of transformers are ignored.

    Returns:
        The attended values, shape (1, 1, heads, head size), and None for the attention weights.
    """
    _, heads, _, size = query.shape
    key_heads = key.shape[0]
    group = heads // key_heads
    q = in_memory(query).view(key_heads, 1, group, size)
    scores = (q * key.unsqueeze(2).float()).sum(-1)
    scores = scores * (size**-0.5 if scaling is None else scaling)
    cap = options.get("softcap")
    if cap is not None:
        scores = torch.tanh(scores / cap) * cap
    values = value.unsqueeze(2).float()
    if attention_mask is not None:
        visible = attention_mask.view(1, -1, 1)
        scores = torch.where(visible, scores, -torch.inf)
        # A weight of 0 would not silence NaN in memory that was never written.
        values = torch.where(visible.unsqueeze(-1), values, 0.0)
    weights = scores.softmax(1).unsqueeze(-1)
    attended = (weights * values).sum(1)
    return attended.to(query.dtype).view(1, 1, heads, size), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend_one)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, lambda *args, **kwargs: None)


class _StepLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """The keys and values of one layer, in buffers with room for more tokens.

    Args:
        keys: Shape (key heads, capacity, head size).
        values: As `keys`.
        position: Position of the new token, shape (1,).
        length: Number of tokens that `update` returns, including the new one.
    """

    def __init__(self, keys: Tensor, values: Tensor, position: Tensor, length: int) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self._position = position
        self._length = length

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Write the new token in place, and return the keys and values."""
        self.keys.index_copy_(1, self._position, key_states[0])
        self.values.index_copy_(1, self._position, value_states[0])
        return self.keys[:, : self._length], self.values[:, : self._length]

    def get_seq_length(self) -> int:
        return self._length - 1


class _Step(nn.Module):
    """Module that takes one token and returns the logits after it; adds keys and values in place.

    Args:
        model: A causal language model from `step_model`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._holder = [model]  # in a list, so that it is no submodule: its weights are arguments
        self.names = [name for name, _ in weights_of(model)]
        """The names of the `weights` arguments, in order."""

    @property
    def model(self) -> Any:
        """The model that the step computes."""
        return self._holder[0]

    def _logits(
        self,
        token: Tensor,
        position: Tensor,
        layers: list[_StepLayer],
        mask: Tensor | None,
        weights: Sequence[Tensor],
    ) -> Tensor:
        """Compute one token, and return its logits in fp32, shape (vocabulary,)."""
        kind: Any = type(self.model)
        output = torch.func.functional_call(
            self.model,
            dict(zip(self.names, weights, strict=True)),
            kwargs={
                "input_ids": token,
                "position_ids": position.view(1, 1),
                "attention_mask": mask,
                cache_name(kind): Cache(layers=layers),
                "use_cache": True,
            },
            tie_weights=True,
        )
        logits: Tensor = output.logits[0, 0].float()
        return logits


class GrowingStep(_Step):
    """The step that gets the number of tokens as a shape."""

    def forward(
        self,
        token: Tensor,
        place: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        weights: Sequence[Tensor],
    ) -> Tensor:
        """Compute one token.

        Args:
            token: The id of the token, shape (1, 1).
            place: Shape (n,) for n tokens in the cache, the new one included. The values are not
                read.
            keys: For each layer, shape (key heads, capacity, head size).
            values: As `keys`.
            weights: The weights, in the order of `names`.

        Returns:
            Logits in fp32, shape (vocabulary,).
        """
        length = place.shape[0]
        torch._check(length <= keys[0].shape[1])  # type: ignore[no-untyped-call]  # as torch has it
        position = torch.full((1,), length - 1, dtype=torch.int64, device=token.device)
        layers = [_StepLayer(k, v, position, length) for k, v in zip(keys, values, strict=True)]
        return self._logits(token, position, layers, None, weights)


class FixedStep(_Step):
    """The step whose shapes stay the same for every token until the buffers grow."""

    def forward(
        self,
        token: Tensor,
        place: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        weights: Sequence[Tensor],
    ) -> Tensor:
        """Compute one token.

        Args:
            token: The id of the token, shape (1, 1).
            place: Its position, below the capacity, shape (1,).
            keys: For each layer, shape (key heads, capacity, head size).
            values: As `keys`.
            weights: The weights, in the order of `names`.

        Returns:
            Logits in fp32, shape (vocabulary,).
        """
        capacity = keys[0].shape[1]
        layers = [_StepLayer(k, v, place, capacity) for k, v in zip(keys, values, strict=True)]
        visible = torch.arange(capacity, device=token.device) <= place
        # transformers passes a mask of four dimensions on unchanged.
        return self._logits(token, place, layers, visible.view(1, 1, 1, -1), weights)


FORMS: Mapping[StepForm, type[_Step]] = {"growing": GrowingStep, "fixed": FixedStep}
"""The step of each form."""


def step_model(config: Any, dtype: torch.dtype, int8: Sequence[str]) -> Any:
    """Return the model that a step computes, with meaningless weights.

    Args:
        config: Configuration of the model.
        dtype: Dtype in which it computes.
        int8: Names of the linear layers whose weights are int8.
    """
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=ATTENTION)
    model.eval()
    for name, layer in list(model.named_modules()):
        if type(layer) is nn.Linear:
            step = StepLinear(
                layer.in_features, layer.out_features, layer.bias is not None, dtype, name in int8
            )
            if name not in int8:
                step.weight = cast(nn.Parameter, layer.weight)  # it may be tied to the embedding
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, step)
    return model


def weights_of(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and buffer with its name, in order; tied ones once."""
    yield from model.named_parameters()
    yield from model.named_buffers()
