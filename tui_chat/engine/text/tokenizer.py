"""The model's tokenizer as the program uses it: literal text to ids, and ids to text.

`HFEncoder` works on a private copy of the model's fast tokenizer that never parses control tokens
in text. Templates place control tokens by id.
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
"""White space. Added tokens that consist of it count as ordinary text, not as control tokens."""
_SURROGATES = re.compile("[\ud800-\udfff]")


class HFEncoder:
    """A `TokenEncoder` over a model's fast tokenizer. Safe to call from any thread.

    Text is encoded as in the middle of a prompt, after a control token. Some tokenizers add a space
    before the first text of all, which a message never is. Therefore each text is encoded behind a
    mark that no text can contain, and the id of the mark is removed.

    The flag that keeps control tokens in text literal belongs to the tokenizer object. It is set
    once, on a deep copy, so that no thread can toggle it while another encodes.

    Args:
        tokenizer: A fast tokenizer as `AutoTokenizer` returns it. It is not changed.

    Raises:
        ModelLoadError: If the tokenizer is not a fast one, or has no end token.
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
        """Make every added token special, so that one flag keeps all of them out of text."""
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
        """The id of every control token, by its text: all added tokens except white space."""
        return MappingProxyType(self._controls)

    @property
    def special_ids(self) -> frozenset[int]:
        """The tokens that the model's own tokenizer marks as special."""
        return self._special_ids

    @property
    def vocabulary(self) -> frozenset[int]:
        """Every id of an actual token; further rows of the model's output are padding."""
        return self._vocabulary

    @property
    def backend(self) -> Tokenizer:
        """The private copy, for incremental decoding. Do not set its flags."""
        return self._backend

    def strips(self, token: str) -> tuple[bool, bool]:
        """Return whether a control token strips white space on its left and on its right."""
        added = self._added[token]
        return added.lstrip, added.rstrip

    def encode(self, text: str) -> list[int]:
        """Return the ids of literal text, with nothing added. Lone surrogates become U+FFFD.

        Raises:
            ConfigError: If the tokenizer cannot encode the text without a control token.
        """
        if not text:
            return []
        ids = self._encode(_SURROGATES.sub("\ufffd", text))
        if self._never_from_text.isdisjoint(ids):
            return ids
        return self._encode_in_pieces(text)

    def _encode(self, text: str) -> list[int]:
        # `encode_batch` releases the GIL; `encode` would hold it for the whole text.
        ids: list[int] = self._backend.encode_batch([self._mark + text], add_special_tokens=False)[
            0
        ].ids
        return ids[1:]

    def _encode_in_pieces(self, text: str) -> list[int]:
        """Encode text that the tokenizer would otherwise merge into a control token.

        Unigram models may hold control tokens as ordinary pieces. The text is cut after the first
        character of each, so that no piece can form one.
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
        """Return the text of ids. Control tokens appear by name."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def token_text(self, token_id: int) -> str:
        """Return what one token stands for, for display.

        That is its text; its name in the vocabulary if it is only part of a character; or `<id>` if
        the id belongs to no token.
        """
        if token_id not in self._vocabulary:
            return f"<{token_id}>"
        text = self.decode([token_id])
        if text and "\ufffd" not in text:
            return text
        return self._backend.id_to_token(token_id) or f"<{token_id}>"


def _own_bos(backend: Tokenizer, bos_id: int | None) -> int | None:
    """Return the BOS id if the tokenizer itself puts it before a text, else None."""
    ids = backend.encode("a", add_special_tokens=True).ids
    bare = backend.encode("a", add_special_tokens=False).ids
    return bos_id if bos_id is not None and ids[:1] == [bos_id] and bare[:1] != [bos_id] else None


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the number of ids with which both sequences begin."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
