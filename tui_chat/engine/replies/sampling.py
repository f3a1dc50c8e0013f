"""Choosing the next token: the sampling parameters as operations on logits.

Owns the order and meaning of the filters, the random numbers of a reply and the logprobs. The
choice is made here and not by `model.generate`, so values can change between two tokens, greedy and
sampled alike. Refuses logits that are not numbers.
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
    """The model computed NaN or infinity instead of logits."""

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
        rows: Rows of the model's output, at least as many as tokens.
        vocabulary: Ids that stand for a token; the other rows only fill up the matrix.
        special: Control tokens; those that end the reply may be sampled, the others not.
        stop_ids: Tokens that end the reply.

    Returns:
        Booleans of shape (rows,), on the CPU.
    """
    allowed = [i for i in (vocabulary - special) | set(stop_ids) if i < rows]
    forbidden = torch.ones(rows, dtype=torch.bool)
    forbidden[allowed] = False
    return forbidden


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that occurred less probable (more, for a penalty below 1).

    Positive logits are divided by the penalty, negative ones multiplied (Keskar et al. 2019,
    "CTRL", section 4.1, in the form transformers gives it).

    Args:
        logits: Shape (vocabulary,).
        seen: Ids of prompt and reply, shape (length,); each counts once.
        penalty: Above 0; 1 changes nothing.
    """
    values = logits[seen]
    return logits.scatter(0, seen, torch.where(values < 0, values * penalty, values / penalty))


def candidates(logits: Tensor, params: SamplingParams) -> tuple[Tensor | None, Tensor]:
    """Apply temperature, top-k, top-p, min-p and typical-p, in the order of transformers.

    Args:
        logits: Shape (vocabulary,), penalised and masked.
        params: With a temperature above 0.

    Returns:
        The ids of the candidates, None for the whole vocabulary in its order, and their logits,
        with -inf for what a filter dropped.
    """
    # Relative to the greatest, so that a temperature near 0 cannot overflow.
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
    """Keep the smallest set that holds at least p of the probability (Holtzman et al. 2019).

    Args:
        scaled: Logits in descending order.
        p: 0 to 1; the most probable token always stays.
    """
    probs = scaled.softmax(-1)
    drop = probs.cumsum(-1) - probs >= p
    drop[0] = False
    return scaled.masked_fill(drop, -math.inf)


def _typical(scaled: Tensor, mass: float) -> Tensor:
    """Keep the tokens whose surprise is nearest the entropy (Meister et al. 2022).

    Args:
        scaled: Logits in any order.
        mass: Probability to keep, 0 to 1; the most typical token always stays.
    """
    surprise = -scaled.log_softmax(-1)
    probs = (-surprise).exp()
    entropy = (surprise * probs).nansum()
    distance, order = (surprise - entropy).abs().sort()
    last = (probs[order].cumsum(-1) < mass).sum().clamp(max=len(order) - 1)
    # By `gather`, since an index that is a tensor would be waited for.
    farthest = distance.gather(0, last.view(1))
    return scaled.masked_fill((surprise - entropy).abs() > farthest, -math.inf)


class LiveSampler:
    """Chooses each token by the parameters of that moment.

    Args:
        params: Read before every token.
        seed: 0 to 2^64-1; starts random numbers that belong to this reply alone.
        forbidden: Ids never to be sampled, shape (rows,), on the device of the logits.
    """

    def __init__(self, params: Callable[[], SamplingParams], seed: int, forbidden: Tensor) -> None:
        self.chosen: list[int] = []
        """Every token so far, the one that ends the reply included."""
        self.logprobs: deque[float] = deque()
        """Of the chosen tokens that nobody took yet: natural logarithms before any filter."""
        self.params = params()
        """As of the last token."""
        self._read_params = params
        self._forbidden = forbidden
        self._random = torch.Generator(device=forbidden.device)
        self._random.manual_seed(seed)

    def __call__(self, seen: Tensor, logits: Tensor) -> int:
        """Choose the next token.

        Args:
            seen: Ids of prompt and reply so far, shape (length,).
            logits: In fp32, shape (rows,); they may be changed.

        Raises:
            BadNumbersError: If they are not finite numbers.
        """
        self.params = self._read_params()
        logprobs = logits.log_softmax(-1)  # all NaN if a single logit is not a number
        logits = self._adjusted(seen, logits)
        greatest, best = logits.max(-1, keepdim=True)
        chosen = best if self.params.is_greedy else self._draw(logits)
        # The chosen one may be a number where the greatest is none.
        found = _values(chosen, greatest, logprobs.gather(0, best), logprobs.gather(0, chosen))
        token, logprob = int(found[0]), found[3]
        if not math.isfinite(found[1] + found[2]):
            raise BadNumbersError
        self.chosen.append(token)
        self.logprobs.append(logprob)
        return token

    def _adjusted(self, seen: Tensor, logits: Tensor) -> Tensor:
        """Penalise what occurred, and rule out what may not occur; may change its argument."""
        if self.params.repetition_penalty != 1:
            logits = penalised(logits, seen, self.params.repetition_penalty)
        return logits.masked_fill_(self._forbidden, -math.inf)

    def _draw(self, logits: Tensor) -> Tensor:
        """A candidate by its probability, shape (1,); any of them where there are no numbers."""
        ids, scaled = candidates(logits, self.params)
        drawn = drawn_from(scaled.softmax(-1), self._random)
        return drawn if ids is None else ids.gather(0, drawn)


def drawn_from(probs: Tensor, random: torch.Generator) -> Tensor:
    """Draw one by probability: the same as `torch.multinomial`, by the same random numbers.

    That looks at the probabilities first, twice, and each time a GPU has to be waited for; on some
    of them numbers that are none are the end of the process. Here the caller looks.

    Args:
        probs: Shape (n,).
        random: On their device.

    Returns:
        The index, shape (1,).
    """
    waiting = torch.empty_like(probs).exponential_(1, generator=random)
    return (probs / waiting).argmax(-1, keepdim=True)


def _values(*tensors: Tensor) -> list[float]:
    """Numbers of one element each, exact up to 2^24. From a GPU all at once: each transfer waits
    for all that was asked of it.
    """
    if tensors[0].device.type == "cpu":
        return [tensor.item() for tensor in tensors]
    return [float(value) for value in torch.cat([t.float() for t in tensors]).tolist()]
