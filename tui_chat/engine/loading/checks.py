"""Checks of a loaded model before its first reply.

They cover the weights, token ids, control tokens, the end token and the numbers of a forward pass.
A failed check raises a `ModelLoadError` with the file, the cause and the next step. Weights are
never repaired; only the tokenizer's special tokens and the model's end token are set.
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
"""Names of buffers that are computed, not trained; files of older checkpoints may hold them."""


@dataclass(frozen=True, slots=True)
class EndTokens:
    """The tokens that end a reply."""

    ids: tuple[int, ...]
    """The tokenizer's end token, then those that the model's configs name, if they are special."""
    warnings: tuple[str, ...] = ()
    """Sentences to show to the user."""


def check_weights(info: Mapping[str, Any], directory: Path) -> None:
    """Check that the files held exactly the weights of the model.

    Tied weights may be missing, and computed buffers may be missing or extra.

    Args:
        info: The loading info of `from_pretrained`, with `missing_keys`, `unexpected_keys`,
            `mismatched_keys` and `error_msgs`.
        directory: The model directory.

    Raises:
        ModelLoadError: If a weight is missing, unexpected or of the wrong shape. It names the first
            one and how many more there are.
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
    """Check that every token id of a tokenizer has a row in the embedding.

    Args:
        tokenizer: The tokenizer, as `AutoTokenizer` returns it.
        rows: Rows of the embedding.
        directory: The model directory.

    Returns:
        Rows without a token. They are padding, and must not be sampled.

    Raises:
        ModelLoadError: If an id is too large, or the tokenizer has no tokens.
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
    """Return the control tokens that a template inserts as ids, without its bos and eos tokens.

    Args:
        template: A name in `TEMPLATES`; the result is empty for any other, such as `auto`.
    """
    known = TEMPLATES.get(template)
    if known is None:
        return ()
    parts = (*known.start, *known.system, *known.user, *known.reply, *known.reply_end, *known.stops)
    controls = [part.token for part in parts if isinstance(part, Control)]
    own = (EOS.token, BOS.token, CONTENT.token)
    return tuple(dict.fromkeys(token for token in controls if token not in own))


def check_control_tokens(tokenizer: Any, template: str, directory: Path) -> None:
    """Check that a tokenizer has the control tokens of a template, and mark them as special.

    Without the mark, the tokenizer would find a control token in text that a user types.

    Args:
        tokenizer: The tokenizer, as `AutoTokenizer` returns it; it is changed.
        template: Name of the template.
        directory: The model directory.

    Raises:
        ModelLoadError: If a control token is missing, or does not have an id of its own.
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
    """Make the tokenizer's end token that of the model, in place of what the model's configs say.

    Configs can be wrong: the default of a GPT-NeoX config is id 2, which is an exclamation mark.

    Args:
        model: The model, whose config and generation config are changed.
        tokenizer: The tokenizer, as `AutoTokenizer` returns it.
        directory: The model directory.

    Returns:
        The end tokens, and a warning if a config named an ordinary token.

    Raises:
        ModelLoadError: If the tokenizer has no end token.
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
    # Both files tend to name the same token; one warning is enough.
    return EndTokens(ids, tuple(warnings[:1]))


def check_numbers(model: Any, token: int, directory: Path) -> None:
    """Check that a forward pass over one token gives finite logits.

    It uses every weight but the embedding's other rows, so the embedding is checked directly.

    Args:
        model: The model, on its device.
        token: Any token id of the tokenizer.
        directory: The model directory.

    Raises:
        ModelLoadError: If a number is infinite or NaN.
    """
    embedding = model.get_input_embeddings().weight
    with torch.inference_mode():
        # amin and amax pass on NaN, and need no second tensor of that size, unlike isfinite.
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
    """Return the names of trained weights, sorted."""
    return sorted(name for name in names if not _RECOMPUTED.search(name))


def _first(names: Iterable[str]) -> str:
    """Return the first name and, if there are more, their number."""
    found = list(names)
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{safe_line(found[0], 80)}{more}"


def _times(shape: Iterable[int]) -> str:
    return "x".join(str(size) for size in shape)


def _as_ids(value: Any) -> list[int]:
    """Return the ids of a config value that may be one id, a list of ids or None."""
    if value is None:
        return []
    return [int(index) for index in (value if isinstance(value, list | tuple) else [value])]
