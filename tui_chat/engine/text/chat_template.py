"""Builds prompts with the model's own chat template, for `template = "auto"`.

The Jinja template runs in the sandbox of transformers, and never sees the messages: marks stand in
for them, and the text that the template writes around the marks is split at its control tokens.
Only that text is searched for control tokens; messages are encoded as literal text. For messages
without control tokens, the ids are those of `apply_chat_template`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tui_chat.chat.conversation import Role
from tui_chat.chat.templates import PromptMessage, Segment, TokenEncoder
from tui_chat.engine.text.tokenizer import HFEncoder, common_prefix
from tui_chat.errors import ConfigError

_PAD = " \n"
"""White space around a mark. If the template removes it, the template trims its messages."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a rendered prompt: literal text, a control token, or exact ids."""

    owner: int
    """Index of the message whose segment gets the ids; the number of messages for the opening of
    the reply."""
    text: str = ""
    ids: tuple[int, ...] = ()
    control: str = ""
    """The text of a control token; `_swallow` needs it."""


class AutoTemplate:
    """A `PromptTemplate` made from a model's own chat template. Safe to call from any thread.

    The segment of the first message includes what opens the whole prompt, such as a BOS token or a
    default system text.

    Args:
        tokenizer: The tokenizer of the model, with a chat template.
        encoder: The safe encoder over the same tokenizer.

    Raises:
        ConfigError: If there is no chat template, or it cannot render a question and an answer.
    """

    name = "auto"

    def __init__(self, tokenizer: Any, encoder: HFEncoder) -> None:
        if not tokenizer.chat_template:
            raise ConfigError(
                "The model brings no chat template",
                'template = "auto" needs one in its tokenizer files',
                'Name a template, as template = "chatml"; a base model takes raw',
            )
        self._source = tokenizer.get_chat_template()
        self._names = dict(tokenizer.special_tokens_map)
        self._encoder = encoder
        self._controls = re.compile(
            "|".join(re.escape(t) for t in sorted(encoder.controls, key=len, reverse=True))
            or r"(?!)"
        )
        self._closings = self._learn_closings()
        self._lead = self._learn_lead()
        self._stop_ids = self._learn_stops()

    @property
    def lead(self) -> str:
        return self._lead

    def stop_tokens(self, encoder: TokenEncoder) -> tuple[int, ...]:
        return self._stop_ids

    def render(
        self,
        messages: Sequence[PromptMessage],
        encoder: TokenEncoder,
        continue_last: bool = False,
    ) -> list[Segment]:
        pieces = _swallow(self._pieces(messages, continue_last), self._encoder)
        owned = _owned_ids(pieces, len(messages) + 1, encoder)
        first = next((i for own in owned for i in own), None)
        if encoder.bos_id is not None and first != encoder.bos_id:
            owned[0].insert(0, encoder.bos_id)
        segments = [
            Segment(message.role, message.id, tuple(own))
            for message, own in zip(messages, owned, strict=False)
        ]
        if not continue_last:
            segments.append(Segment("reply", None, tuple(owned[-1])))
        return segments

    def _pieces(self, messages: Sequence[PromptMessage], continue_last: bool) -> list[_Piece]:
        """Render the template, and split the result into text, control tokens and messages."""
        marks = _Marks(len(messages))
        rendered = self._run([m.role for m in messages], marks, opening=not continue_last)
        pieces: list[_Piece] = []
        end = 0
        for index, match in enumerate(marks.found(rendered)):
            message, literal = messages[index], rendered[end : match.start()]
            if message.token_ids:
                literal = literal.removesuffix(self._lead)  # the model wrote it itself
            pieces += self._between(literal, messages, index)
            pieces.append(_content(message, match, index))
            end = match.end()
        if not continue_last:
            pieces += self._between(rendered[end:], messages, len(messages))
        return pieces

    def _between(self, literal: str, messages: Sequence[PromptMessage], index: int) -> list[_Piece]:
        """Split the text that the template wrote before a message.

        The end tag of the preceding message comes first and belongs to that message.
        """
        closing = self._closings.get(messages[index - 1].role, "") if index else ""
        if not literal.startswith(closing):
            closing = ""
        return self._cut(closing, index - 1) + self._cut(literal[len(closing) :], index)

    def _cut(self, text: str, owner: int) -> list[_Piece]:
        """Split literal text of the template at its control tokens."""
        pieces: list[_Piece] = []
        end = 0
        for match in self._controls.finditer(text):
            pieces.append(_Piece(owner, text[end : match.start()]))
            token = match.group()
            pieces.append(_Piece(owner, ids=(self._encoder.controls[token],), control=token))
            end = match.end()
        return [*pieces, _Piece(owner, text[end:])]

    def _run(self, roles: Sequence[Role], marks: _Marks, opening: bool) -> str:
        """Render the template with marks in place of the messages.

        Raises:
            ConfigError: If the template raises, with its own message, or if it omits, changes or
                reorders a message.
        """
        from transformers.utils.chat_template_utils import render_jinja_template

        chat = [{"role": r, "content": m} for r, m in zip(roles, marks.texts, strict=True)]
        try:
            rendered, _ = render_jinja_template(
                conversations=[chat],
                chat_template=self._source,
                add_generation_prompt=opening,
                **self._names,
            )
        except Exception as error:  # the template is somebody else's program
            raise ConfigError(
                "The model's chat template refuses these messages",
                str(error).strip() or type(error).__name__,
                "Clear the system message, or name another template in models.toml",
            ) from None
        text = str(rendered[0])
        if [int(match["i"]) for match in marks.found(text)] != list(range(len(roles))):
            raise ConfigError(
                "The model's chat template changes the messages",
                "It leaves one out, or does not write them in order as they are",
                "Name another template in models.toml",
            )
        return text

    def _learn_closings(self) -> dict[str, str]:
        """Return, for each role, what the template writes after the last message of a chat."""
        closings: dict[str, str] = {}
        for roles in (("user",), ("user", "assistant"), ("system",)):
            marks = _Marks(len(roles))
            try:
                text = self._run(roles, marks, opening=False)
            except ConfigError:
                if roles != ("system",):
                    raise
                continue
            closings[roles[-1]] = text[marks.found(text)[-1].end() :]
        return closings

    def _learn_lead(self) -> str:
        """Return white space that precedes a finished reply but is not part of its opening."""
        asked, answered = _Marks(1), _Marks(2)
        opening = self._run(("user",), asked, opening=True)
        whole = self._run(("user", "assistant"), answered, opening=False)
        opening = opening[asked.found(opening)[0].end() :]
        first, second = answered.found(whole)
        between = whole[first.end() : second.start()]
        lead = between.removeprefix(opening)
        return lead if between.startswith(opening) and not lead.strip() else ""

    def _learn_stops(self) -> tuple[int, ...]:
        """Return the tokens that end a reply.

        These are the tokenizer's end token, and the special tokens that the template writes between
        a reply and the next message of the user.
        """
        marks = _Marks(3)
        stops = [self._encoder.eos_id]
        try:
            text = self._run(("user", "assistant", "user"), marks, opening=False)
        except ConfigError:
            return tuple(dict.fromkeys(stops))
        _, reply, asked = marks.found(text)
        tokens = self._controls.findall(text[reply.end() : asked.start()])
        ids = [self._encoder.controls[token] for token in tokens]
        stops += [i for i in ids if i in self._encoder.special_ids]
        return tuple(dict.fromkeys(stops))


class _Marks:
    """Unguessable texts that stand in for the messages while a template is rendered."""

    def __init__(self, count: int) -> None:
        self._key = secrets.token_hex(16)
        self.texts = [f"{_PAD}{self._key}x{index}x{_PAD[::-1]}" for index in range(count)]
        left, right = re.escape(_PAD), re.escape(_PAD[::-1])
        self._pattern = re.compile(f"(?P<l>{left})?{self._key}x(?P<i>[0-9]+)x(?P<r>{right})?")

    def found(self, text: str) -> list[re.Match[str]]:
        return list(self._pattern.finditer(text))


def _content(message: PromptMessage, match: re.Match[str], owner: int) -> _Piece:
    """Return the piece that replaces a mark, trimmed where the template trimmed the mark."""
    if message.token_ids:
        return _Piece(owner, ids=message.token_ids)
    text = message.text if match["l"] is not None else message.text.lstrip()
    return _Piece(owner, text if match["r"] is not None else text.rstrip())


def _swallow(pieces: Sequence[_Piece], encoder: HFEncoder) -> list[_Piece]:
    """Drop white space next to control tokens that strip it, as the tokenizer does."""
    kept = list(pieces)
    for index, piece in enumerate(pieces):
        if not piece.control:
            continue
        left, right = encoder.strips(piece.control)
        sides = ((left, range(index - 1, -1, -1)), (right, range(index + 1, len(kept))))
        for swallows, neighbours in sides:
            for other in neighbours if swallows else ():
                if kept[other].ids:
                    break
                text = kept[other].text
                rest = text.rstrip() if other < index else text.lstrip()
                kept[other] = _Piece(kept[other].owner, rest)
                if rest:
                    break
    return kept


def _owned_ids(pieces: Sequence[_Piece], owners: int, encoder: TokenEncoder) -> list[list[int]]:
    """Encode the pieces, and return the ids of each owner.

    Adjacent texts are encoded together, as the model saw them in training.
    """
    owned: list[list[int]] = [[] for _ in range(owners)]
    run: list[_Piece] = []
    for piece in pieces:
        if piece.ids:
            _encode_run(run, owned, encoder)
            run = []
            owned[piece.owner] += piece.ids
        else:
            run.append(piece)
    _encode_run(run, owned, encoder)
    return owned


def _encode_run(run: Sequence[_Piece], owned: list[list[int]], encoder: TokenEncoder) -> None:
    """Encode adjacent texts together, and add the ids to their owners.

    A token that spans two owners belongs to the second.
    """
    ids = encoder.encode("".join(piece.text for piece in run))
    text, given = "", 0
    for piece, following in zip(run, [*run[1:], None], strict=True):
        text += piece.text
        if following is None:
            owned[piece.owner] += ids[given:]
        elif following.owner != piece.owner:
            upto = max(given, common_prefix(ids, encoder.encode(text)))
            owned[piece.owner] += ids[given:upto]
            given = upto
