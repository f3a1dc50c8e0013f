"""Chooses the next token: the sampling parameters as operations on logits.

The choice is made here rather than by `model.generate`, so that parameters can change between two
tokens. `LiveSampler` applies the filters in the order of transformers, has its own random numbers
for each reply, and records the log-probability of each token. It raises `BadNumbersError` for
logits that are not finite.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from tui_chat.chat.params import SamplingParams
from tui_chat.errors import Remedy, TuiChatError


class BadNumbersError(TuiChatError):
    """Raised when the model computed NaN or infinity instead of logits."""

    code = "bad_numbers"

    def __init__(self) -> None:
        super().__init__(
            "The model computed numbers that are not finite",
            "Its weights are damaged, or their values do not fit this precision",
            "Try bf16 or fp32",
            Remedy.CHOOSE_PRECISION,
        )


def forbidden_ids(
    rows: int, vocabulary: frozenset[int], special: frozenset[int], stop_ids: tuple[int, ...]
) -> Tensor:
    """Mark the ids that may never be sampled.

    Args:
        rows: Size of the logits, at least the number of tokens.
        vocabulary: Ids of actual tokens. The other rows are padding of the output matrix.
        special: Control tokens. Only those in `stop_ids` may be sampled.
        stop_ids: Tokens that end the reply.

    Returns:
        True for each forbidden id, shape (rows,), on the CPU.
    """
    allowed = [i for i in (vocabulary - special) | set(stop_ids) if i < rows]
    forbidden = torch.ones(rows, dtype=torch.bool)
    forbidden[allowed] = False
    return forbidden


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that occurred less probable, or more probable for a penalty below 1.

    Positive logits are divided by the penalty and negative ones multiplied by it (Keskar et al.
    2019, "CTRL", section 4.1, in the form that transformers uses).

    Args:
        logits: Shape (vocabulary,).
        seen: Ids of prompt and reply, shape (length,). Repeated ids are penalised once.
        penalty: Above 0; 1 changes nothing.
    """
    values = logits[seen]
    return logits.scatter(0, seen, torch.where(values < 0, values * penalty, values / penalty))


def candidates(logits: Tensor, params: SamplingParams) -> tuple[Tensor | None, Tensor]:
    """Apply temperature, top-k, top-p, min-p and typical-p, in the order of transformers.

    Args:
        logits: Penalised and masked logits, shape (vocabulary,).
        params: Sampling parameters with a temperature above 0.

    Returns:
        The ids of the candidates, or None for the whole vocabulary in its order, and their logits,
        which are -inf for candidates that a filter dropped.
    """
    # Relative to the greatest logit, so that a temperature near 0 cannot overflow.
    scaled = (logits - logits.max()) / params.temperature
    ids: Tensor | None = None
    if 0 < params.top_k < len(scaled):
        scaled, ids = scaled.topk(params.top_k)
    elif params.top_p < 1:
        scaled, ids = scaled.sort(descending=True)
    if params.top_p < 1:
        scaled = _nucleus(scaled, params.top_p)
    if params.min_p > 0:
        scaled = scaled.masked_fill(scaled < scaled.max() + math.log(params.min_p), -math.inf)
    if params.typical_p < 1:
        scaled = _typical(scaled, params.typical_p)
    return ids, scaled


def _nucleus(scaled: Tensor, p: float) -> Tensor:
    """Keep the smallest set of tokens with at least p of the probability (Holtzman et al. 2019).

    Args:
        scaled: Logits in descending order.
        p: 0 to 1; the most probable token always stays.
    """
    probs = scaled.softmax(-1)
    drop = probs.cumsum(-1) - probs >= p
    drop[0] = False
    return scaled.masked_fill(drop, -math.inf)


def _typical(scaled: Tensor, mass: float) -> Tensor:
    """Keep the tokens whose surprise is nearest to the entropy (Meister et al. 2022).

    Args:
        scaled: Logits in any order.
        mass: Probability to keep, 0 to 1; the most typical token always stays.
    """
    surprise = -scaled.log_softmax(-1)
    probs = (-surprise).exp()
    entropy = (surprise * probs).nansum()
    distance, order = (surprise - entropy).abs().sort()
    last = (probs[order].cumsum(-1) < mass).sum().clamp(max=len(order) - 1)
    # `gather`, because indexing by a tensor would wait for the GPU.
    farthest = distance.gather(0, last.view(1))
    return scaled.masked_fill((surprise - entropy).abs() > farthest, -math.inf)


class LiveSampler:
    """Sampler that reads its parameters anew before each token.

    Args:
        params: Returns the sampling parameters. Called before every token.
        seed: 0 to 2^64-1. Seeds random numbers that only this reply uses.
        forbidden: True for each id that must not be sampled, shape (vocabulary,), on the device of
            the logits.
    """

    def __init__(self, params: Callable[[], SamplingParams], seed: int, forbidden: Tensor) -> None:
        self.chosen: list[int] = []
        """Every token so far, including the one that ends the reply."""
        self.logprobs: deque[float] = deque()
        """Natural log-probabilities of the chosen tokens before any filter; the streamer removes
        them as it takes the tokens."""
        self.params = params()
        """The parameters of the last token."""
        self._read_params = params
        self._forbidden = forbidden
        self._random = torch.Generator(device=forbidden.device)
        self._random.manual_seed(seed)

    def __call__(self, seen: Tensor, logits: Tensor) -> int:
        """Choose the next token.

        Args:
            seen: Ids of prompt and reply so far, shape (length,).
            logits: Logits in fp32, shape (vocabulary,). They may be overwritten.

        Raises:
            BadNumbersError: If the logits are not finite.
        """
        self.params = self._read_params()
        logprobs = logits.log_softmax(-1)  # all NaN if a single logit is not a number
        logits = self._adjusted(seen, logits)
        greatest, best = logits.max(-1, keepdim=True)
        chosen = best if self.params.is_greedy else self._draw(logits)
        # Check the greatest logit: the chosen one can be finite although others are not.
        found = _values(chosen, greatest, logprobs.gather(0, best), logprobs.gather(0, chosen))
        token, logprob = int(found[0]), found[3]
        if not math.isfinite(found[1] + found[2]):
            raise BadNumbersError
        self.chosen.append(token)
        self.logprobs.append(logprob)
        return token

    def _adjusted(self, seen: Tensor, logits: Tensor) -> Tensor:
        """Penalise repeated tokens and mask forbidden ones; may overwrite `logits`."""
        if self.params.repetition_penalty != 1:
            logits = penalised(logits, seen, self.params.repetition_penalty)
        return logits.masked_fill_(self._forbidden, -math.inf)

    def _draw(self, logits: Tensor) -> Tensor:
        """Draw a candidate by its probability, shape (1,); arbitrary if logits are not finite."""
        ids, scaled = candidates(logits, self.params)
        drawn = drawn_from(scaled.softmax(-1), self._random)
        return drawn if ids is None else ids.gather(0, drawn)


def drawn_from(probs: Tensor, random: torch.Generator) -> Tensor:
    """Draw an index by probability, as `torch.multinomial` does with the same random numbers.

    `torch.multinomial` checks the probabilities twice and waits for the GPU each time, and on some
    GPUs invalid probabilities abort the process. Here the caller checks.

    Args:
        probs: Probabilities, shape (n,).
        random: A generator on their device.

    Returns:
        The index, shape (1,).
    """
    waiting = torch.empty_like(probs).exponential_(1, generator=random)
    return (probs / waiting).argmax(-1, keepdim=True)


def _values(*tensors: Tensor) -> list[float]:
    """Return the values of one-element tensors; integers are exact up to 2^24.

    From a GPU all values come in one transfer, because each transfer waits for the work queued
    before.
    """
    if tensors[0].device.type == "cpu":
        return [tensor.item() for tensor in tensors]
    return [float(value) for value in torch.cat([t.float() for t in tensors]).tolist()]
