"""A compiled step that has to prove itself before it computes anything that is shown.

A compiler may be wrong, and so may a graph of a GPU; text would go on, and read as nonsense. So the
first token is computed by the step and by the model itself, each on a copy of the beginning of the
cache. What the step adds to the cache counts as well as its logits. The cache in use, the random
numbers and the text have no part in it.

Owns that check, what becomes of a step that fails, then or later, and how far the two paths may
differ. Refuses to compile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tui_chat.engine.contract.failures import failure_code, forget_frames
from tui_chat.engine.replies.decoding import CompiledForward, StepFailedError
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.kv_buffers import copy_of, cut
from tui_chat.engine.replies.stopping import Cancelled
from tui_chat.safe_text import safe_line

log = logging.getLogger(__name__)

LONGEST_BEGINNING = 256
"""Tokens of the cache that are copied: enough to attend to, and little memory."""
TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float32: 1e-3,
    torch.float16: 0.05,
    torch.bfloat16: 0.15,
}
"""How far the two may differ, root mean square, as a share of how much the numbers differ among
each other. The step keeps its sums in fp32, the model rounds them between operations; unrelated
numbers would differ by 1.4."""
LARGEST = 8.0
"""A single logit may differ by so many times that, and the greatest of one path be so much less
than the greatest of the other on the other."""

OnRefusal = Callable[[str, bool], None]
"""Takes the reason in a line, and whether the step will never be right."""


class CheckedStep:
    """Implements `decoding.CompiledForward`. For one thread.

    Args:
        step: The step.
        model: The model it was compiled from.
        on_refusal: Told once, if the step must not be used any more.
    """

    def __init__(self, step: CompiledForward, model: Any, on_refusal: OnRefusal) -> None:
        self._step: CompiledForward | None = step
        self._model = model
        self._on_refusal = on_refusal
        self._is_checked = False

    def fits(self, cache: Any) -> bool:
        """Whether it can go on from this cache; never again once it was refused."""
        return self._step is not None and self._step.fits(cache)

    def let_go(self) -> None:
        """Keep no cache alive."""
        if self._step is not None:
            self._step.let_go()

    def __call__(self, token: int, cache: Any) -> Tensor:
        """Compute one token, once the step was found to be right.

        Raises:
            StepFailedError: If it is not, or cannot run. The cache holds what it held before.
        """
        step = self._step
        if step is None:
            raise StepFailedError
        try:
            if not self._is_checked:
                problem = disagreement(step, self._model, token, cache)
                if problem:
                    self._refuse(problem, True)
                    raise StepFailedError
                self._is_checked = True
            return step(token, cache)
        except (StepFailedError, Cancelled):
            raise
        except Exception as error:
            code = failure_code(error)
            log.warning("the compiled step failed", exc_info=True)
            reason = safe_line(f"it failed with {type(error).__name__}: {error}", 200)
            forget_frames(error)
            # No memory now, or a device that was lost, says nothing about the step.
            self._refuse(reason, code not in ("oom", "device_lost"))
        raise StepFailedError

    def _refuse(self, reason: str, is_lasting: bool) -> None:
        self._step = self._model = None
        self._on_refusal(reason, is_lasting)


def disagreement(step: CompiledForward, model: Any, token: int, cache: Any) -> str:
    """Whether a step computes what its model computes.

    The step computes the token twice, the second time as it goes on then: on a GPU, from a graph.

    Args:
        step: One that fits the cache.
        model: A causal language model.
        token: Any token.
        cache: Its beginning is copied.

    Returns:
        Where they differ, in words; empty if nowhere.
    """
    config = model.config.get_text_config(decoder=True)
    length = min(cache.get_seq_length(), LONGEST_BEGINNING)
    theirs, ours = (copy_of(cache, length, config) for _ in range(2))
    weight = model.get_input_embeddings().weight
    ids = torch.tensor([[token]], device=weight.device)
    expected = forward(model, ids, theirs).logits[0, -1].float()
    if not bool(torch.isfinite(expected).all()):
        return ""  # the model is at fault, and the sampler will say so
    tolerance = TOLERANCES[weight.dtype]
    problem = ""
    for _ in range(2):
        cut(ours, length)
        logits = step(token, ours)
        problem = problem or _of_logits(expected, logits, tolerance)
        problem = problem or _of_caches(theirs, ours, length, tolerance)
    step.let_go()
    return problem


def _of_logits(expected: Tensor, logits: Tensor, tolerance: float) -> str:
    """How logits differ too much, both shape (rows,)."""
    share = _share(expected, logits)
    allowed = LARGEST * tolerance * float(expected.std())
    worst = float((logits - expected).abs().max())
    gap = float(expected.max() - expected[logits.argmax()])
    if share <= tolerance and worst <= allowed and gap <= allowed:
        return ""
    return (
        f"its logits differ from the model's by {share:.2g} of their spread, "
        f"and up to {tolerance:.2g} is rounding"
    )


def _of_caches(theirs: Any, ours: Any, length: int, tolerance: float) -> str:
    """How keys and values differ too much: the new ones, and at all the ones before."""
    for number, (expected, layer) in enumerate(zip(theirs.layers, ours.layers, strict=True), 1):
        for name in ("keys", "values"):
            right, written = getattr(expected, name), getattr(layer, name)
            if not torch.equal(right[:, :, :length], written[:, :, :length]):
                return f"it changes {name} of earlier tokens in layer {number}"
            share = _share(right[:, :, length:].float(), written[:, :, length:].float())
            if not share <= tolerance:
                return f"its {name} differ from the model's in layer {number}"
    return ""


def _share(expected: Tensor, found: Tensor) -> float:
    """Root mean square of a difference as a share of the spread of what is expected; NaN where
    something is no number."""
    spread = expected.std().clamp(min=torch.finfo(torch.float32).tiny)
    return float((found - expected).square().mean().sqrt() / spread)
