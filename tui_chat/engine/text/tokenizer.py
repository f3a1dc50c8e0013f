"""The tokenizer of a model as the program uses it: literal text to ids, and ids back to text.

Owns a private copy of the model's fast tokenizer in which nobody's text is ever parsed for control
tokens. Refuses to build prompts; templates place control tokens by number.
"""

from __future__ import annotations

import copy
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from tokenizers import AddedToken, Tokenizer

from tui_chat.errors import ConfigError, ModelLoadError

_SPACES = " \t\n\r\u00a0\u2581"
"""Runs of these are ordinary text even where a tokenizer lists them as added tokens."""
_SURROGATES = re.compile("[\ud800-\udfff]")


class HFEncoder:
    """A `TokenEncoder` over the fast tokenizer of a model. Safe to call from any thread.

    Text is encoded as it would be in the middle of a prompt, after a control token: some
    tokenizers put a space before the very first text only, and a message is never that. So it is
    encoded behind a mark that no text can contain, and the id of the mark is cut off.

    The flag that keeps control tokens in text literal lives on the tokenizer object, so the object
    is a deep copy on which it is set once; nothing else may toggle it under another thread.

    Args:
        tokenizer: A fast tokenizer as `AutoTokenizer` returns it. It is not changed.

    Raises:
        ModelLoadError: If the tokenizer is not a fast one or names no end token.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelLoadError(
                "The model has no fast tokenizer",
                "There is no tokenizer.json that the tokenizers library can read",
                "Choose a model with a tokenizer.json",
            )
        if tokenizer.eos_token_id is None:
            raise ModelLoadError(
                "The tokenizer names no end token",
                "Without one a reply would never end",
                "Add eos_token to tokenizer_config.json",
            )
        self._backend: Tokenizer = copy.deepcopy(tokenizer.backend_tokenizer)
        self._backend.no_truncation()
        self._backend.no_padding()
        serialised = self._backend.to_str() + repr(tokenizer.eos_token_id)
        self._fingerprint = hashlib.sha256(serialised.encode()).hexdigest()[:32]
        self._eos_id = int(tokenizer.eos_token_id)
        self._bos_id = _own_bos(self._backend, tokenizer.bos_token_id)
        added = self._backend.get_added_tokens_decoder()
        self._special_ids = frozenset(i for i, token in added.items() if token.special)
        self._controls: dict[str, int] = {
            t.content: i for i, t in added.items() if t.content.strip(_SPACES)
        }
        self._added = {token.content: token for token in added.values()}
        self._vocabulary = frozenset(self._backend.get_vocab(with_added_tokens=True).values())
        unknown = tokenizer.unk_token_id
        if unknown in (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id):
            unknown = None
        self._never_from_text = frozenset(self._controls.values()) - {unknown}
        self._close_controls()
        self._mark = f"\ue000{secrets.token_hex(16)}\ue001"
        self._backend.add_tokens([AddedToken(self._mark, special=False, normalized=False)])

    def _close_controls(self) -> None:
        """Make every added token special, so that the one flag keeps all of them out of text."""
        loose = [t for t in self._added.values() if not t.special and t.content.strip(_SPACES)]
        for token in loose:
            token.special = True
        if loose:
            self._backend.add_special_tokens(loose)
        self._backend.encode_special_tokens = True

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def bos_id(self) -> int | None:
        return self._bos_id

    @property
    def eos_id(self) -> int:
        return self._eos_id

    @property
    def controls(self) -> Mapping[str, int]:
        """Every control token by its text: all added tokens but runs of white space."""
        return MappingProxyType(self._controls)

    @property
    def special_ids(self) -> frozenset[int]:
        """The tokens that the model's own tokenizer calls special."""
        return self._special_ids

    @property
    def vocabulary(self) -> frozenset[int]:
        """Every id that stands for a token; rows of the model beyond them are padding."""
        return self._vocabulary

    @property
    def backend(self) -> Tokenizer:
        """The private copy, for incremental decoding. Do not set its flags."""
        return self._backend

    def strips(self, token: str) -> tuple[bool, bool]:
        """Whether a control token swallows the white space to its left and to its right."""
        added = self._added[token]
        return added.lstrip, added.rstrip

    def encode(self, text: str) -> list[int]:
        """Ids of literal text, without anything added. Lone surrogates become U+FFFD."""
        if not text:
            return []
        ids = self._encode(_SURROGATES.sub("\ufffd", text))
        if self._never_from_text.isdisjoint(ids):
            return ids
        return self._encode_in_pieces(text)

    def _encode(self, text: str) -> list[int]:
        # `encode` would hold the GIL for the whole text, `encode_batch` does not.
        ids: list[int] = self._backend.encode_batch([self._mark + text], add_special_tokens=False)[
            0
        ].ids
        return ids[1:]

    def _encode_in_pieces(self, text: str) -> list[int]:
        """Encode text whose plain vocabulary would merge into a control token.

        Unigram models may hold control tokens as ordinary pieces; cutting each one after its first
        character leaves pieces that cannot form it.
        """
        pattern = "|".join(re.escape(t) for t in sorted(self._controls, key=len, reverse=True))
        cuts = [match.start() + 1 for match in re.finditer(f"(?={pattern})", text)]
        edges = [0, *cuts, len(text)]
        ids = [i for a, b in pairwise(edges) for i in self._encode(text[a:b])]
        if not self._never_from_text.isdisjoint(ids):
            raise ConfigError(
                "This text cannot be sent to the model",
                "Its tokenizer turns a part of it into a control token",
                "Reword the message or choose another model",
            )
        return ids

    def control(self, token: str) -> int:
        if token not in self._controls or self._controls[token] not in self._special_ids:
            raise ConfigError(
                f"The tokenizer has no control token {token!r}",
                "The template needs it as exactly one special token",
                'Choose the template that belongs to the model, or template = "auto"',
            )
        return self._controls[token]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens by their names."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def token_text(self, token_id: int) -> str:
        """What one token stands for, for display.

        Its text, or for a part of a character its name in the vocabulary; `<id>` for a row of the
        model that no token belongs to.
        """
        if token_id not in self._vocabulary:
            return f"<{token_id}>"
        text = self.decode([token_id])
        if text and "\ufffd" not in text:
            return text
        return self._backend.id_to_token(token_id) or f"<{token_id}>"


def _own_bos(backend: Tokenizer, bos_id: int | None) -> int | None:
    """The begin token if the tokenizer puts it before a text by itself."""
    ids = backend.encode("a", add_special_tokens=True).ids
    bare = backend.encode("a", add_special_tokens=False).ids
    return bos_id if bos_id is not None and ids[:1] == [bos_id] and bare[:1] != [bos_id] else None


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of ids that both begin with."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
