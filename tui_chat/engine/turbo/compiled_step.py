"""Runs a compiled step: machine code bound to the weights of a loaded model.

`CompiledStep` passes the model's own weights and the buffers of the KV cache to each call, and
copies none of them. It continues a cache that holds at least one token; prefill is left to the
model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_chat.engine.loading.int8 import int8_parts
from tui_chat.engine.replies.kv_buffers import GrowingLayer
from tui_chat.engine.turbo.artefact import PACKAGE, SIGNATURE, Signature, TurboError

INT8_SCALE = ".scale"
"""Suffix of the name of an int8 layer's scales. Its values go by the name of the weight."""
ALIGNMENT = 16
"""Bytes to which each weight must be aligned, because GPU code loads this many at once."""


class CompiledStep:
    """A `decoding.CompiledForward` over the files of a step. For one thread only.

    Args:
        folder: The folder of the step.
        model: The loaded model, whose recipe is that of the step.

    Raises:
        TurboError: If the files cannot be used, or do not fit the model.
    """

    def __init__(self, folder: Path, model: Any) -> None:
        device: torch.device = model.get_input_embeddings().weight.device
        try:
            signature = Signature.from_json((folder / SIGNATURE).read_text())
            self._loader = package_loader(folder / PACKAGE, device)
        except Exception as error:
            cause = f"its files cannot be used ({type(error).__name__})"
            raise TurboError("The compiled path cannot be loaded", cause, "") from None
        self._weights = _bound(signature, model)
        self._layers = signature.layers
        self._is_fixed = signature.form == "fixed"
        self._token = torch.zeros(1, 1, dtype=torch.int64, device=device)
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._span = torch.empty(0, dtype=torch.int8, device=device)
        self._buffers: list[Tensor] = []
        self._capacity = 0

    def fits(self, cache: Any) -> bool:
        """Return whether the cache has a token or more, and the layers of the step."""
        layers = cache.layers
        return (
            len(layers) == len(self._layers)
            and layers[0].get_seq_length() > 0
            and all(type(layer) is GrowingLayer for layer in layers)
        )

    def __call__(self, token: int, cache: Any) -> Tensor:
        """Compute one token, add its keys and values to the cache, and return its logits.

        Args:
            token: The id of the token.
            cache: A cache that `fits`.

        Returns:
            Logits in fp32, shape (vocabulary,), valid until the next call.
        """
        layers = cache.layers
        length = layers[0].length + 1
        # Another chat brings other buffers, and growing replaces them.
        if length > self._capacity or layers[0].key_buffer is not self._buffers[0]:
            self._use(layers, length)
        self._token.fill_(token)
        if self._is_fixed:
            self._position.fill_(length - 1)
        logits = self._run(length)
        for layer in layers:
            layer.length = length
        return logits

    def _run(self, length: int) -> Tensor:
        """Compute the token in `_token`, the last of `length` tokens."""
        # The growing form reads the shape of `place` only.
        place = self._position if self._is_fixed else self._span[:length]
        logits: Tensor = self._loader.run([self._token, place, *self._buffers, *self._weights])[0]
        return logits

    def _use(self, layers: list[GrowingLayer], length: int) -> None:
        """Make room in the cache's buffers, and bind them."""
        for layer in layers:
            layer.make_room(length)
        keys = [layer.key_buffer for layer in layers]
        values = [layer.value_buffer for layer in layers]
        self._buffers = [buffer for buffer in (*keys, *values) if buffer is not None]
        self._capacity = min(buffer.shape[1] for buffer in self._buffers)
        if len(self._span) < self._capacity:
            self._span = self._span.new_empty(self._capacity)

    def let_go(self) -> None:
        """Drop every reference to a cache. The next call binds its cache again."""
        self._buffers, self._capacity = [], 0


def package_loader(package: Path, device: torch.device | str) -> Any:
    """Return the loader that runs the compiled code of a package.

    This is what `torch._inductor.aoti_load_package` returns in the end, without importing the
    compiler, which takes most of a second. The code runs single-threaded and uses no events of its
    own on a GPU, so that its calls can be recorded into a graph.
    """
    loader: Any = torch._C._aoti.AOTIModelPackageLoader
    arguments = (str(package), "model", True)
    index = torch.device(device).index
    try:
        return loader(*arguments, 1, -1 if index is None else index)
    except TypeError:  # torch 2.7 always uses one runner on the first device
        return loader(*arguments)


def _bound(signature: Signature, model: Any) -> list[Tensor]:
    """Return the tensors of a model in the order of a signature.

    Raises:
        TurboError: If a tensor is missing, is misaligned, or has another shape or dtype.
    """
    present: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in tuple(present.items()):
        parts = int8_parts(tensor)
        if parts is not None:
            values, scales = parts
            present[name] = values
            present[name.removesuffix(".weight") + INT8_SCALE] = scales.reshape(-1).float()
    bound = []
    for name, shape, dtype in signature.weights:
        tensor = present.get(name)  # type: ignore[assignment]  # looked at in the next line
        if tensor is None or (tuple(tensor.shape), str(tensor.dtype)) != (shape, f"torch.{dtype}"):
            cause = f"the model has no {name} of the shape it was compiled for"
            raise TurboError("The compiled path does not fit the model", cause, "")
        if not tensor.is_contiguous() or tensor.data_ptr() % ALIGNMENT:
            cause = f"{name} lies in memory as no weight should"
            raise TurboError("The compiled path does not fit the model", cause, "")
        bound.append(tensor)
    return bound
