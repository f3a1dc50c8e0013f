"""Checks a compiled step against the model before the step computes anything that is shown.

A compiler can be wrong, and so can a CUDA graph, and the reply would go on as nonsense. So the step
and the model each compute the first token, on copies of the beginning of the KV cache. The check
compares the logits and what the step writes to the cache. It does not touch the cache in use, the
random numbers or the text. A step that fails the check, or fails later, is not used again.
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
"""Tokens of the cache that are copied for the check: enough to attend to, in little memory."""
TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float32: 1e-3,
    torch.float16: 0.05,
    torch.bfloat16: 0.15,
}
"""Largest allowed difference between step and model for each dtype: its root mean square, as a
share of the standard deviation of the expected values. The step sums in fp32, while the model
rounds between operations. Unrelated numbers would differ by 1.4."""
LARGEST = 8.0
"""Factor on the tolerance for single logits: the most by which any logit may differ, and by which
the model's logit of the step's best token may lie below the model's greatest."""

OnRefusal = Callable[[str, bool], None]
"""Called with the reason in one line, and whether the step can never be used."""


class CheckedStep:
    """A `decoding.CompiledForward` that checks a step before its first use. For one thread only.

    Args:
        step: The step to check and run.
        model: The model it was compiled from.
        on_refusal: Called once, if the step must not be used any more.
    """

    def __init__(self, step: CompiledForward, model: Any, on_refusal: OnRefusal) -> None:
        self._step: CompiledForward | None = step
        self._model = model
        self._on_refusal = on_refusal
        self._is_checked = False

    def fits(self, cache: Any) -> bool:
        """Return whether the step can continue from this cache; False once it was refused."""
        return self._step is not None and self._step.fits(cache)

    def let_go(self) -> None:
        """Drop every reference to a cache."""
        if self._step is not None:
            self._step.let_go()

    def __call__(self, token: int, cache: Any) -> Tensor:
        """Compute one token. The first call checks the step before using it.

        Raises:
            StepFailedError: If the step is wrong or fails. The cache is unchanged then.
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
            # A lack of memory or a lost device says nothing about the step.
            self._refuse(reason, code not in ("oom", "device_lost"))
        # Outside the handler, so that the error above is not kept as its context.
        raise StepFailedError

    def _refuse(self, reason: str, is_lasting: bool) -> None:
        self._step = self._model = None
        self._on_refusal(reason, is_lasting)


def disagreement(step: CompiledForward, model: Any, token: int, cache: Any) -> str:
    """Compare what a step and its model compute for one token.

    The step computes the token twice: on a GPU, the second call is the first to use the CUDA graph.

    Args:
        step: A step that fits the cache.
        model: A causal language model.
        token: Any token.
        cache: The KV cache, whose beginning is copied.

    Returns:
        Where they differ, in words; empty if they agree.
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
    """Describe how logits, both shape (vocabulary,), differ too much; empty if they do not."""
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
    """Describe how two caches differ too much; empty if they do not.

    The keys and values of the new token may differ within the tolerance, earlier ones not at all.
    """
    for number, (expected, layer) in enumerate(zip(theirs.layers, ours.layers, strict=True), 1):
        for name in ("keys", "values"):
            right, written = getattr(expected, name), getattr(layer, name)
            if not torch.equal(right[:, :, :length], written[:, :, :length]):
                return f"it changes {name} of earlier tokens in layer {number}"
            share = _share(right[:, :, length:].float(), written[:, :, length:].float())
            if not share <= tolerance:  # also for NaN
                return f"its {name} differ from the model's in layer {number}"
    return ""


def _share(expected: Tensor, found: Tensor) -> float:
    """Return the root mean square of a difference, as a share of the expected standard deviation.

    NaN if any value is not a number.
    """
    spread = expected.std().clamp(min=torch.finfo(torch.float32).tiny)
    return float((found - expected).square().mean().sqrt() / spread)
