"""What must be true of a model before anybody talks to it.

Owns the checks after loading: weights, token ids, control tokens, the end token, padding rows, and
a forward pass with finite numbers. Each failure is one sentence with the file, the cause and the
next step. Refuses to repair weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken

from tui_chat.chat.templates import BOS, CONTENT, EOS, TEMPLATES, Control
from tui_chat.engine.files.checkpoint import AGAIN, broken, broken_directory
from tui_chat.safe_text import safe_line

_RECOMPUTED = re.compile(
    r"(^|\.)(rotary_emb\.(inv_freq|cos_cached|sin_cached)|(attention|attn|self_attn)\."
    r"(bias|masked_bias|rotary_emb\..*))$"
)
"""Buffers of older checkpoints that are computed, not trained; a file may hold them or not."""


@dataclass(frozen=True, slots=True)
class EndTokens:
    """What ends a reply."""

    ids: tuple[int, ...]
    """The tokenizer's end token first; others that the model's own settings name, if special."""
    warnings: tuple[str, ...] = ()


def check_weights(info: Mapping[str, Any], directory: Path) -> None:
    """Refuse a model that did not get all of its weights from the files, and only those.

    Tied weights and buffers that are computed do not count.

    Args:
        info: What the library reports: `missing_keys`, `unexpected_keys`, `mismatched_keys` and
            `error_msgs`.
        directory: Where the files are.

    Raises:
        ModelLoadError: Naming the first of them and how many there are.
    """
    mismatched = sorted(info.get("mismatched_keys") or (), key=str)
    if mismatched:
        _, found, wanted = mismatched[0]
        shapes = f"{_times(found)} where config.json asks for {_times(wanted)}"
        cause = f"The weight {_first(str(m[0]) for m in mismatched)} is {shapes}"
        raise broken_directory(
            directory, cause, "Download config.json and the weights of one model"
        )
    missing = _trained(info.get("missing_keys") or ())
    if missing:
        cause = f"The weights lack {_first(missing)}, which would be random numbers"
        raise broken_directory(directory, cause, "Download the weights again")
    unexpected = _trained(info.get("unexpected_keys") or ())
    if unexpected:
        cause = f"The weights hold {_first(unexpected)}, which config.json has no place for"
        raise broken_directory(
            directory, cause, "Download config.json and the weights of one model"
        )
    messages = info.get("error_msgs") or ()
    if messages:
        cause = f"The weights do not fit: {safe_line(str(next(iter(messages))), 120)}"
        raise broken_directory(directory, cause, "Download the weights again")


def check_token_ids(tokenizer: Any, rows: int, directory: Path) -> tuple[int, ...]:
    """Refuse a tokenizer whose ids have no row in the embedding.

    Args:
        tokenizer: As `AutoTokenizer` returns it.
        rows: Rows of the embedding.
        directory: Where the files are.

    Returns:
        The ids of rows that no token has: padding, which must never be sampled.

    Raises:
        ModelLoadError: If an id is too large, or there are no ids.
    """
    ids = set(tokenizer.get_vocab().values())
    path = directory / "tokenizer.json"
    if not ids:
        raise broken(path, "holds no tokens", AGAIN)
    if max(ids) >= rows:
        cause = f"has token ids up to {max(ids)}, but the model has only {rows} rows for them"
        raise broken(path, cause, "Use the tokenizer that belongs to this model")
    return tuple(index for index in range(rows) if index not in ids)


def control_tokens(template: str) -> tuple[str, ...]:
    """The control tokens that a template places by number, besides end and begin.

    Args:
        template: A name of `TEMPLATES`; any other has none that are known here.
    """
    known = TEMPLATES.get(template)
    if known is None:
        return ()
    parts = (*known.start, *known.system, *known.user, *known.reply, *known.reply_end, *known.stops)
    controls = [part.token for part in parts if isinstance(part, Control)]
    own = (EOS.token, BOS.token, CONTENT.token)
    return tuple(dict.fromkeys(token for token in controls if token not in own))


def check_control_tokens(tokenizer: Any, template: str, directory: Path) -> None:
    """Refuse a tokenizer that lacks a template's control tokens; make those it has special.

    A token that is added but not special would still be found in what a user types.

    Args:
        tokenizer: As `AutoTokenizer` returns it; changed.
        template: Name of the template.
        directory: Where the files are.

    Raises:
        ModelLoadError: If one of them is not exactly one id.
    """
    tokens = control_tokens(template)
    vocabulary = tokenizer.get_vocab() if tokens else {}
    absent = [token for token in tokens if token not in vocabulary]
    if absent:
        cause = f"has no token {_first(absent)}, which the {template} template needs"
        hint = "Choose another template with --template, or the tokenizer of this model"
        raise broken(directory / "tokenizer.json", cause, hint)
    added = tokenizer.added_tokens_decoder
    loose = [t for t in tokens if not getattr(added.get(vocabulary[t]), "special", False)]
    if loose:
        marked = [AddedToken(token, special=True, normalized=False) for token in loose]
        tokenizer.add_tokens(marked, special_tokens=True)
    ids = [tokenizer.convert_tokens_to_ids(token) for token in tokens]
    if len(set(ids)) != len(tokens) or ids != [vocabulary[token] for token in tokens]:
        cause = f"gives the control tokens of the {template} template no ids of their own"
        raise broken(directory / "tokenizer.json", cause, "Use the tokenizer of this model")


def set_end_token(model: Any, tokenizer: Any, directory: Path) -> EndTokens:
    """Make the tokenizer's end token the model's, whatever the model's settings say.

    The default of a GPT-NeoX config, for one, is id 2, which is an exclamation mark.

    Args:
        model: Its config and generation config are changed.
        tokenizer: As `AutoTokenizer` returns it.
        directory: Where the files are.

    Raises:
        ModelLoadError: If the tokenizer names no end token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        cause = "names no end token, so a reply would never end"
        raise broken(directory / "tokenizer_config.json", cause, "Add eos_token to it")
    special = set(tokenizer.all_special_ids) | {
        index for index, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    settings = (("config.json", model.config), ("generation_config.json", model.generation_config))
    others: list[int] = []
    warnings: list[str] = []
    for name, config in settings:
        named = _as_ids(getattr(config, "eos_token_id", None))
        others += [index for index in named if index != end and index in special]
        strange = [index for index in named if index != end and index not in special]
        if strange:
            text = safe_line(repr(tokenizer.decode(strange)), 40)
            warnings.append(
                f"{name} names token {strange[0]} ({text}) as the end of a reply; "
                f"{tokenizer.eos_token} ({end}), the tokenizer's, is used instead"
            )
    ids = tuple(dict.fromkeys((int(end), *others)))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    model.config.eos_token_id = int(end)
    model.config.pad_token_id = int(pad)
    model.generation_config.eos_token_id = list(ids)
    model.generation_config.pad_token_id = int(pad)
    # The same sentence for both files helps nobody.
    return EndTokens(ids, tuple(warnings[:1]))


def check_numbers(model: Any, token: int, directory: Path) -> None:
    """Refuse a model that computes anything but finite numbers from one token.

    Every weight takes part in it, except most rows of the embedding, which are looked at.

    Args:
        model: The model, on its device.
        token: Any id of its tokenizer.
        directory: Where the files are.

    Raises:
        ModelLoadError: If a number is infinite or not a number.
    """
    embedding = model.get_input_embeddings().weight
    with torch.inference_mode():
        # Both keep what is not a number, and need no second tensor of that size, as isfinite does.
        ends = torch.stack((embedding.amin(), embedding.amax()))
        if not bool(torch.isfinite(ends).all()):
            raise _bad_numbers(directory, "The embedding holds")
        ids = torch.tensor([[token]], device=embedding.device)
        logits = model(input_ids=ids, use_cache=False).logits
        if not bool(torch.isfinite(logits).all()):
            raise _bad_numbers(directory, "One token already gives")


def _bad_numbers(directory: Path, subject: str) -> Exception:
    cause = f"{subject} infinite or undefined numbers: the weights are damaged"
    hint = "Download the weights again; in fp16, try bf16 or fp32 first"
    return broken_directory(directory, cause, hint)


def _trained(names: Iterable[str]) -> list[str]:
    """The names that stand for trained weights."""
    return sorted(name for name in names if not _RECOMPUTED.search(name))


def _first(names: Iterable[str]) -> str:
    """The first name and how many more there are."""
    found = list(names)
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{safe_line(found[0], 80)}{more}"


def _times(shape: Iterable[int]) -> str:
    return "x".join(str(size) for size in shape)


def _as_ids(value: Any) -> list[int]:
    """The ids of a setting that may be one, several or none."""
    if value is None:
        return []
    return [int(index) for index in (value if isinstance(value, list | tuple) else [value])]
