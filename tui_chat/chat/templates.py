"""Prompt templates: how a conversation becomes token ids.

A template describes each turn as control tokens, placed by id, and text, encoded without parsing
control tokens. A user thus cannot type anything that opens a turn in another role. Adjacent texts
are encoded together, as in the training of the models. Templates depend on no tokenizer library,
only on the `TokenEncoder` protocol.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

from tui_chat.chat.conversation import Role
from tui_chat.chat.known_names import TEMPLATE_NAMES
from tui_chat.errors import ConfigError

SegmentRole = Literal["system", "user", "assistant", "reply"]
"""`reply` is the opening of the turn that the model writes."""


class TokenEncoder(Protocol):
    """The tokenizer interface that templates use. Safe to call from any thread."""

    @property
    def fingerprint(self) -> str:
        """A string that changes whenever the same text could result in other ids."""

    @property
    def bos_id(self) -> int | None:
        """The token that the tokenizer puts before a text by itself; None if it puts none."""

    @property
    def eos_id(self) -> int:
        """The token that ends a turn."""

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids that represent no text, such as role tags."""

    def encode(self, text: str) -> list[int]:
        """Encode literal text: control tokens in it stay text, and nothing is added."""

    def control(self, token: str) -> int:
        """Return the id of a control token such as `<|assistant|>`.

        Raises:
            ConfigError: If the tokenizer does not have the token as exactly one special id.
        """

    def token_text(self, token_id: int) -> str:
        """Return the text of one token for display; `<id>` for an id without a token."""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """A message to be rendered into a prompt."""

    id: str
    role: Role
    text: str
    token_ids: tuple[int, ...] = ()
    """Exact ids to use instead of encoding the text; empty to encode it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The ids of one message with its tags, or of the opening of the reply."""

    role: SegmentRole
    message_id: str | None
    ids: tuple[int, ...]


class PromptTemplate(Protocol):
    """A renderer of messages, an optional system message and then turns, into segments."""

    @property
    def name(self) -> str:
        """Its name in models.toml."""

    @property
    def lead(self) -> str:
        """Text that the model writes before a reply, such as a space; not shown."""

    def render(
        self,
        messages: Sequence[PromptMessage],
        encoder: TokenEncoder,
        continue_last: bool = False,
    ) -> list[Segment]:
        """Return one segment for each message, in order, then the opening of the reply.

        Ids that open the whole prompt and belong to no message (a BOS token, a default system text
        of the model) form a segment of their own in front, with role `system` and no message id.
        The ids of a turn are therefore the same wherever it stands.

        Args:
            messages: An optional system message, then user and assistant messages.
            encoder: The tokenizer of the model.
            continue_last: Whether the model continues the last message, an assistant's; it is
                rendered without its end, and no opening follows.

        Raises:
            ConfigError: If the template cannot express these messages.
        """

    def stop_tokens(self, encoder: TokenEncoder) -> tuple[int, ...]:
        """Return the ids that end the reply: the end of a turn and the tags of all roles."""


@dataclass(frozen=True, slots=True)
class Control:
    """A control token inside a turn, by its text; `eos` and `bos` are the tokenizer's own."""

    token: str


EOS = Control("eos")
BOS = Control("bos")
CONTENT = Control("content")
"""Placeholder for the text of the message among the parts of a turn."""

Part = Control | str | tuple[int, ...]
"""A control token, literal text, or exact ids."""


@dataclass(frozen=True, slots=True)
class TurnTemplate:
    """A template made of fixed parts around each message."""

    name: str
    system: tuple[Part, ...]
    user: tuple[Part, ...]
    reply: tuple[Part, ...]
    """The parts that open the model's turn."""
    reply_end: tuple[Part, ...]
    """The parts that close it."""
    lead: str = ""
    """Text that the model writes before its first word; not shown, but restored when encoding."""
    start: tuple[Part, ...] = (BOS,)
    """The parts that open the prompt; `BOS` adds nothing if the tokenizer adds no such token."""
    stops: tuple[Control, ...] = ()
    """Control tokens that end the reply, in addition to the end token."""
    system_in_first_user: bool = False
    """Whether the system part goes inside the first user turn instead of before it."""

    def render(
        self,
        messages: Sequence[PromptMessage],
        encoder: TokenEncoder,
        continue_last: bool = False,
    ) -> list[Segment]:
        segments: list[Segment] = []
        folded: PromptMessage | None = None
        for index, message in enumerate(messages):
            if message.role == "system" and self.system_in_first_user:
                folded = message
                segments.append(Segment("system", message.id, ()))
                continue
            is_open = continue_last and index == len(messages) - 1
            ids = _ids(self._parts(message, folded, is_open), encoder)
            segments.append(Segment(message.role, message.id, ids))
            folded = folded if message.role != "user" else None
        if not continue_last:
            segments.append(Segment("reply", None, _ids(self.reply, encoder)))
        opening = _ids(self.start, encoder)
        return [Segment("system", None, opening), *segments] if opening else segments

    def stop_tokens(self, encoder: TokenEncoder) -> tuple[int, ...]:
        return tuple(dict.fromkeys(_control_id(stop, encoder) for stop in (EOS, *self.stops)))

    def _parts(
        self, message: PromptMessage, folded: PromptMessage | None, is_open: bool
    ) -> tuple[Part, ...]:
        """Return the parts of one turn with its content filled in."""
        if message.role == "assistant":
            end = () if is_open else self.reply_end
            if message.token_ids:
                return (*self.reply, message.token_ids, *end)
            return (*self.reply, self.lead, message.text, *end)
        if message.role == "system":
            return _filled(self.system, (message.text,))
        inner = _filled(self.system, (folded.text,)) if folded is not None else ()
        return _filled(self.user, (*inner, message.text))


def _filled(parts: tuple[Part, ...], content: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return the parts with `CONTENT` replaced by the content."""
    index = parts.index(CONTENT)
    return (*parts[:index], *content, *parts[index + 1 :])


def _control_id(part: Control, encoder: TokenEncoder) -> int:
    return encoder.eos_id if part == EOS else encoder.control(part.token)


def _ids(parts: Sequence[Part], encoder: TokenEncoder) -> tuple[int, ...]:
    """Encode the parts in order; adjacent texts are encoded as one."""
    ids: list[int] = []
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        ids += encoder.encode(text) if text else ()
        text = ""
        if isinstance(part, tuple):
            ids += part
        elif part != BOS:
            ids.append(_control_id(part, encoder))
        elif encoder.bos_id is not None:
            ids.append(encoder.bos_id)
    ids += encoder.encode(text) if text else ()
    return tuple(ids)


def _oasst(name: str, *system: Part) -> TurnTemplate:
    """Return an Open Assistant template; its models differ in how they write a system message."""
    prompter, assistant = Control("<|prompter|>"), Control("<|assistant|>")
    others = (Control("<|system|>"), Control("<|prefix_begin|>"), Control("<|prefix_end|>"))
    return TurnTemplate(
        name,
        system=system,
        user=(prompter, CONTENT, EOS),
        reply=(assistant,),
        reply_end=(EOS,),
        stops=(prompter, assistant, *others),
    )


def _chatml() -> TurnTemplate:
    start, end = Control("<|im_start|>"), Control("<|im_end|>")
    return TurnTemplate(
        "chatml",
        system=(start, "system\n", CONTENT, end, "\n"),
        user=(start, "user\n", CONTENT, end, "\n"),
        reply=(start, "assistant\n"),
        reply_end=(end, "\n"),
        stops=(end, start),
    )


_LLAMA2 = TurnTemplate(
    "llama2",
    system=("<<SYS>>\n", CONTENT, "\n<</SYS>>\n\n"),
    user=(BOS, "[INST] ", CONTENT, " [/INST]"),
    reply=(),
    reply_end=(" ", EOS),
    lead=" ",
    start=(),
    system_in_first_user=True,
)
_MISTRAL = TurnTemplate(
    "mistral",
    system=(CONTENT, "\n\n"),
    user=("[INST] ", CONTENT, " [/INST]"),
    reply=(),
    reply_end=(EOS,),
    lead=" ",
    system_in_first_user=True,
)
_VICUNA = TurnTemplate(
    "vicuna",
    system=(CONTENT, " "),
    user=("USER: ", CONTENT, " "),
    reply=("ASSISTANT:",),
    reply_end=(EOS,),
    lead=" ",
)
_RAW = TurnTemplate(
    "raw",
    system=(CONTENT, "\n\n"),
    user=(CONTENT, "\n"),
    reply=(),
    reply_end=("\n",),
)

TEMPLATES: Mapping[str, TurnTemplate] = MappingProxyType(
    {
        template.name: template
        for template in (
            _oasst("oasst", Control("<|system|>"), CONTENT, EOS),
            _oasst("oasst-prefix", Control("<|prefix_begin|>"), CONTENT, Control("<|prefix_end|>")),
            _chatml(),
            _LLAMA2,
            _MISTRAL,
            _VICUNA,
            _RAW,
        )
    }
)
"""The fixed templates by name. The engine supplies `auto`, the model's own chat template."""


def template_named(name: str) -> TurnTemplate:
    """Return the fixed template with that name.

    Raises:
        ConfigError: If there is none; the hint names the most similar one.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    near = difflib.get_close_matches(name, TEMPLATE_NAMES, n=1)
    hint = f"Did you mean {near[0]}?" if near else "Known: " + ", ".join(TEMPLATE_NAMES)
    raise ConfigError(f"There is no template {name!r}", "", hint)
