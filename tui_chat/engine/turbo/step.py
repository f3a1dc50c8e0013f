"""The forward pass of one token, written so that a compiler makes fast code of it.

Owns the forms that decoding takes for the compiler: products of a matrix and a vector, attention of
a single query, and keys and values in buffers that are written in place. The layers themselves are
those of transformers. Weights come in as arguments, so the code made of it fits every model of the
same shape and holds no copy of any. Refuses to compile, and to know files.

There are two forms. The growing one is told the number of tokens as a shape, and reads as many keys
and values: a CPU is given that anew with every call. A CUDA graph repeats the same calls with the
same addresses and shapes, so the fixed one is told the position as a number in memory, reads the
buffers whole, and leaves out what lies behind the position.
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
"""The name under which transformers knows `attend_one`."""

SCALE = "scale"
"""Name of the parameter of an int8 layer that holds one fp32 scale for each output row."""


def in_memory(x: Tensor) -> Tensor:
    """A vector as fp32 numbers in memory.

    The compiler would otherwise compute the producer of a vector again for every row of a matrix
    that it is multiplied with. Striding is the operation it cannot put into a loop.
    """
    flat = x.float().reshape(-1)
    return torch.as_strided(flat, (flat.shape[0],), (1,))


class StepLinear(nn.Module):
    """A linear layer for a single vector, as one loop that reads each weight once.

    Sums are in fp32, whatever the weights are stored as.

    Args:
        in_features: Length of the vector.
        out_features: Rows of the weights.
        bias: Whether there is one.
        dtype: Of bias and result.
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
        """The product with a vector of shape (1, 1, in_features)."""
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
    """Attention of one token over all tokens so far, itself included.

    Args:
        module: The layer; not needed.
        query: Shape (1, heads, 1, head size).
        key: Shape (key heads, tokens, head size).
        value: As `key`.
        attention_mask: Which tokens are visible, booleans that can be viewed as shape (tokens,);
            None for all. What is not may be any number, also one that is none.
        scaling: Of the scores; one over the root of the head size if None.
        options: `softcap` limits the scores; what else transformers passes does not matter here.

    Returns:
        The attended values, shape (1, 1, heads, head size), and None for the weights.
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
        values = torch.where(visible.unsqueeze(-1), values, 0.0)
    weights = scores.softmax(1).unsqueeze(-1)
    attended = (weights * values).sum(1)
    return attended.to(query.dtype).view(1, 1, heads, size), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend_one)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, lambda *args, **kwargs: None)


class _StepLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """Keys and values of one layer in buffers that have room for more tokens.

    Args:
        keys: Shape (key heads, capacity, head size).
        values: As `keys`.
        position: Of the new token, shape (1,).
        length: Tokens that are handed out, the new one among them.
    """

    def __init__(self, keys: Tensor, values: Tensor, position: Tensor, length: int) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self._position = position
        self._length = length

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Write the new token, and return the tokens."""
        self.keys.index_copy_(1, self._position, key_states[0])
        self.values.index_copy_(1, self._position, value_states[0])
        return self.keys[:, : self._length], self.values[:, : self._length]

    def get_seq_length(self) -> int:
        return self._length - 1


class _Step(nn.Module):
    """One token in, the logits of the next one out; keys and values are added in place.

    Args:
        model: A causal language model, prepared by `step_model`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._holder = [model]  # no submodule: its weights come as arguments
        self.names = [name for name, _ in weights_of(model)]
        """What `weights` are, in order."""

    @property
    def model(self) -> Any:
        """The model that is computed."""
        return self._holder[0]

    def _logits(
        self,
        token: Tensor,
        position: Tensor,
        layers: list[_StepLayer],
        mask: Tensor | None,
        weights: Sequence[Tensor],
    ) -> Tensor:
        """Compute one token: logits in fp32, shape (rows,)."""
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
    """The step whose number of tokens is a shape."""

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
            token: Its id, shape (1, 1).
            place: Only its length counts: tokens in the cache with this one.
            keys: For each layer, shape (key heads, capacity, head size).
            values: As `keys`.
            weights: As `names` says.

        Returns:
            Logits in fp32, shape (rows,).
        """
        length = place.shape[0]
        torch._check(length <= keys[0].shape[1])  # type: ignore[no-untyped-call]  # as torch has it
        position = torch.full((1,), length - 1, dtype=torch.int64, device=token.device)
        layers = [_StepLayer(k, v, position, length) for k, v in zip(keys, values, strict=True)]
        return self._logits(token, position, layers, None, weights)


class FixedStep(_Step):
    """The step whose shapes are the same for every token until the buffers grow."""

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
            token: Its id, shape (1, 1).
            place: Its position, below the capacity, shape (1,).
            keys: For each layer, shape (key heads, capacity, head size).
            values: As `keys`.
            weights: As `names` says.

        Returns:
            Logits in fp32, shape (rows,).
        """
        capacity = keys[0].shape[1]
        layers = [_StepLayer(k, v, place, capacity) for k, v in zip(keys, values, strict=True)]
        visible = torch.arange(capacity, device=token.device) <= place
        # A mask of four dimensions is passed on as it is.
        return self._logits(token, place, layers, visible.view(1, 1, 1, -1), weights)


FORMS: Mapping[StepForm, type[_Step]] = {"growing": GrowingStep, "fixed": FixedStep}


def step_model(config: Any, dtype: torch.dtype, int8: Sequence[str]) -> Any:
    """The model that a step needs, without weights that mean anything.

    Args:
        config: Of the model.
        dtype: What it computes in.
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
    """Every parameter and buffer by name, in order; tied ones once."""
    yield from model.named_parameters()
    yield from model.named_buffers()
