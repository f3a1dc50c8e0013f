"""The guide's tokenizer, and the token ids of its training dialogues.

The tokenizer is a byte-level BPE with five role tags. In the oasst prompt format, a message is a
role id, its text encoded without special tokens, and the end token.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from tui_chat.guide.dialogues import Turn

END, PADDING = "<|endoftext|>", "<|padding|>"
ROLES = {
    "prompter": "<|prompter|>", "assistant": "<|assistant|>", "system": "<|system|>",
}  # fmt: skip
PREFIXES = ("<|prefix_begin|>", "<|prefix_end|>")
SPECIAL_TOKENS = (END, PADDING, *ROLES.values(), *PREFIXES)
VOCABULARY = 3072
POSITIONS = 2048
_IGNORED = -100


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Train the byte-level BPE; the special tokens get the first ids, and the end token id 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of a special token.

    Raises:
        KeyError: If the tokenizer does not have it.
    """
    found = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return int(found)


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` in the form that `AutoTokenizer` reads."""
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": POSITIONS,
        "clean_up_tokenization_spaces": False,
        "bos_token": END, "eos_token": END, "unk_token": END, "pad_token": PADDING,
        "extra_special_tokens": [*ROLES.values(), *PREFIXES],
    }  # fmt: skip
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


@dataclass(frozen=True, slots=True)
class Example:
    """A dialogue as ids, with a label for each position; -100 where the loss ignores it."""

    ids: list[int]
    labels: list[int]


class DialogueEncoder:
    """An encoder of dialogues that can add noise to the tokens of user texts.

    Args:
        tokenizer: The trained tokenizer.
        seed: Seeds the noise.
        dropout: Share of user and system messages, 0 to 1, encoded with BPE dropout, and
            independently the share in which some tokens are replaced at random.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int = 0, dropout: float = 0.0) -> None:
        self._exact = copy.deepcopy(tokenizer)
        self._exact.encode_special_tokens = True
        self._loose = copy.deepcopy(self._exact)
        self._dropout = dropout
        if dropout:
            self._loose.model.dropout = 0.12
        self._rng = random.Random(seed)
        self._ids = {role: special_id(tokenizer, tag) for role, tag in ROLES.items()}
        self._end = special_id(tokenizer, END)

    def message(self, turn: Turn) -> list[int]:
        """Return the ids of a message: role, text, end."""
        loose = turn.role != "assistant" and self._rng.random() < self._dropout
        encoder = self._loose if loose else self._exact
        text_ids = encoder.encode(turn.text, add_special_tokens=False).ids
        if turn.role != "assistant" and self._rng.random() < self._dropout:
            text_ids = [self._blurred(token) for token in text_ids]
        return [self._ids[turn.role], *text_ids, self._end]

    def _blurred(self, token: int) -> int:
        # Random tokens teach the model not to base its answer on a single unknown word.
        rows = self._exact.get_vocab_size()
        return self._rng.randrange(16, rows) if self._rng.random() < 0.08 else token

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Return the ids that ask for the next reply: every message, then the assistant's tag."""
        ids = [token for turn in turns for token in self.message(turn)]
        return [*ids, self._ids["assistant"]]

    def example(self, turns: Sequence[Turn], reply_tokens: int = 0) -> Example:
        """Return a dialogue for training; only learned replies and their end tokens have labels.

        Args:
            turns: The messages, starting with the system message if there is one.
            reply_tokens: If not 0, the example ends after this many tokens of the last reply.
        """
        ids: list[int] = []
        labels: list[int] = []
        for turn in turns:
            message = self.message(turn)
            learned = message[1:] if turn.learned else [_IGNORED] * (len(message) - 1)
            ids += message
            labels += [_IGNORED, *learned]
        if reply_tokens and turns[-1].role == "assistant":
            kept = len(ids) - max(0, len(message) - 1 - reply_tokens)
            ids, labels = ids[:kept], labels[:kept]
        return Example(ids[:POSITIONS], labels[:POSITIONS])
