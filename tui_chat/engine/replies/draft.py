"""A small model that guesses what a larger one will write.

Owns how it is loaded beside the large one, which tokens they share, and its keys and values. Only
what the large one would have chosen anyway is taken over (Leviathan et al. 2023, arXiv:2211.17192),
so that it may be any model with the same tokens. Refuses to choose a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import torch

from tui_chat.engine.contract.backend import Emit, LoadRequest
from tui_chat.engine.files.hub import Hub
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.loading.loader import LoadedModel, free, load
from tui_chat.engine.loading.preflight import plan_load
from tui_chat.engine.machine.devices import cpu_features
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.kv_buffers import cut, is_cuttable, new_cache
from tui_chat.engine.text.tokenizer import common_prefix
from tui_chat.errors import LoadCancelledError, ModelLoadError, TuiChatError

_ALIKE = 0.9
"""Share of the large model's tokens that have to be the same in the small one."""
_CHUNK = 256
"""Tokens read in one forward pass."""


class DraftModel:
    """Guesses greedily. For the engine's thread.

    Args:
        loaded: The small model, whose embedding has a row for each token of the large one.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._model = loaded.model
        self._device = loaded.model.get_input_embeddings().weight.device
        self._cache = new_cache(loaded.model.config)
        self._ids: list[int] = []
        self._most = loaded.info.context

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self._loaded.info.name

    def follow(self, ids: Sequence[int]) -> bool:
        """Read a text but for its last token, which `guess` begins with.

        Returns:
            Whether there is room for anything to follow.
        """
        if not 0 < len(ids) < self._most:
            return False
        # The last guess has not been through the model.
        computed = min(layer.get_seq_length() for layer in self._cache.layers)
        held = min(common_prefix(self._ids, ids[:-1]), computed)
        cut(self._cache, held)
        self._ids = list(ids)
        for start in range(held, len(ids) - 1, _CHUNK):
            self._forward(ids[start : min(start + _CHUNK, len(ids) - 1)])
        return True

    def guess(self, most: int) -> list[int]:
        """The most probable tokens one after the other."""
        length = len(self._ids)
        for _ in range(min(most, self._most - length)):
            self._ids.append(int(self._forward(self._ids[-1:]).argmax()))
        return self._ids[length:]

    def free(self) -> int:
        """Give its memory back; returns bytes."""
        self._cache = self._model = None
        return free(self._loaded)

    @torch.inference_mode()
    def _forward(self, ids: Sequence[int]) -> Any:
        """Logits after some more tokens, shape (rows,)."""
        output = forward(self._model, torch.tensor([ids], device=self._device), self._cache)
        return output.logits[0, -1]


def load_draft(
    name: str, target: LoadedModel, registry: Registry, emit: Emit, cancel: Event, hub: Hub | None
) -> DraftModel:
    """Load a model to guess for another one, on its device.

    Args:
        name: A registry name, a directory or a hub id. Nothing is downloaded.
        target: The large model.
        registry: The models known by name.
        emit: Takes the `Loading` events.
        cancel: Stops between two pieces of a file.
        hub: Where downloaded models are; the usual cache if None.

    Raises:
        LoadCancelledError: If it was stopped.
        TuiChatError: If it cannot be loaded, or has other tokens.
    """
    device = target.info.device
    # What it writes is checked, so it need not be exact.
    precision = "bf16" if device == "cpu" and cpu_features().has_bf16 else "auto"
    request = LoadRequest(
        name, precision=precision, device=device, template="raw", allow_download=False
    )
    loaded = load(plan_load(request, registry, hub=hub), registry, emit, cancel, hub=hub)
    try:
        _fit(loaded, target)
        return DraftModel(loaded)
    except BaseException:
        free(loaded)
        raise


def _fit(draft: LoadedModel, target: LoadedModel) -> None:
    """Give the small model a row for each token of the large one.

    Their padding often differs: 50304 rows of Pythia beside 50288 of Open Assistant's models.
    """
    ours, theirs = draft.tokenizer.get_vocab(), target.tokenizer.get_vocab()
    same = sum(ours.get(token) == number for token, number in theirs.items())
    if same < _ALIKE * len(theirs):
        raise ModelLoadError(
            "Its tokens are others",
            f"{same:,} of {len(theirs):,} are the same",
            "Choose a draft with the same tokenizer",
        )
    if not is_cuttable(new_cache(draft.model.config)):
        raise ModelLoadError("It cannot take guesses back", "It forgets what is far away", "")
    rows = target.model.get_input_embeddings().weight.shape[0]
    if draft.model.get_input_embeddings().weight.shape[0] != rows:
        draft.model.resize_token_embeddings(rows, mean_resizing=False)
        draft.model.eval()


def with_draft(
    target: LoadedModel, registry: Registry, emit: Emit, cancel: Event, hub: Hub | None
) -> DraftModel | None:
    """Load the draft that a model is to have, and note it among the model's facts.

    Without it the model works as well: what is wrong with it is a warning.
    """
    name = target.plan.spec.draft
    if name is None:
        return None
    try:
        draft = load_draft(name, target, registry, emit, cancel, hub)
    except LoadCancelledError:
        raise
    except TuiChatError as error:
        warning = f"The draft model {name} is not used: {error.one_line}"
        target.info = replace(target.info, warnings=(*target.info.warnings, warning))
        return None
    target.info = replace(target.info, draft=draft.name)
    return draft
