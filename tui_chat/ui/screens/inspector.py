"""The prompt inspector (F5): the exact tokens of the next prompt, and the messages left out of it.

Each token's text stands above its id. The session composes the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.types import CSSPathType
from textual.widgets import Static

from tui_chat.chat.prompt import Prompt
from tui_chat.chat.templates import TokenEncoder
from tui_chat.errors import BusyError
from tui_chat.safe_text import safe_text
from tui_chat.session import ChatSession
from tui_chat.ui.screens.sheet import CLOSE, Sheet
from tui_chat.ui.widgets.line_view import LineView, fitted
from tui_chat.ui.widgets.numbers import grouped

_ROLES = {"system": "system", "user": "user", "assistant": "reply", "reply": "next reply"}
_GAP = 1
_LONGEST_TOKEN = 40
_INDENT = 2


@dataclass(frozen=True, slots=True)
class TokenCell:
    """One token for display: its text above its id."""

    text: str
    token_id: int
    is_special: bool

    @property
    def width(self) -> int:
        """Width in cells, without the gap to the next token."""
        return max(cell_len(self.text), len(str(self.token_id)))


@dataclass(frozen=True, slots=True)
class Block:
    """A message of the prompt, or one that was left out of it."""

    role: str
    tokens: tuple[TokenCell, ...]
    dropped_text: str = ""
    """Text of a message that was left out; empty for a message of the prompt."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A prompt in the form that the inspector shows."""

    ids: tuple[int, ...]
    context: int
    reserve: int
    blocks: tuple[Block, ...]
    dropped_turns: int
    dropped_tokens: int
    noted_turns: int = 0
    """How many of the dropped turns a note summarises."""

    @property
    def summary(self) -> str:
        """The token counts on one line."""
        parts = [f"{grouped(len(self.ids))} of {grouped(self.context)} tokens"]
        parts.append(f"{grouped(self.reserve)} kept for the reply")
        if self.dropped_turns:
            turns = f"{self.dropped_turns} turn{'s' * (self.dropped_turns != 1)}"
            parts.append(f"{turns}, {grouped(self.dropped_tokens)} tokens, not sent")
        return "  ·  ".join(parts)


class InspectorScreen(Sheet[None]):
    """Shows the prompt that the model would get now.

    Args:
        session: The session that composes the prompt.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "inspector.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy_ids", "Copy ids", id="inspector_copy",
                tooltip="Copies the ids that are sent, separated by spaces."),
        Binding("f5", "close", "Close", show=False),
        CLOSE,
    ]  # fmt: skip

    def __init__(self, session: ChatSession) -> None:
        super().__init__("What would be sent")
        self._session = session
        self._inspection: Inspection | None = None

    def compose_body(self) -> ComposeResult:
        """Compose the line of counts and the view of the tokens."""
        yield Static(id="counts", markup=False)
        yield LineView(id="lines")

    def on_mount(self) -> None:
        """Start composing the prompt in a worker thread."""
        super().on_mount()
        self.add_class("-tall-sheet")
        info = self._session.info
        self.note = "" if info is None else f"{info.name} · template {info.template}"
        self.say("reading…")
        self.read(self._inspect, self._show)

    def _inspect(self) -> Inspection:
        """Compose and describe the prompt. Runs in a worker thread."""
        prompt, encoder = self._session.prompt(), self._session.encoder
        if encoder is None:
            raise BusyError("The model is not loaded yet", "", "Wait until it is")
        return inspect(prompt, encoder)

    def _show(self, inspection: Inspection) -> None:
        self.unsay()
        self._inspection = inspection
        self.query_one("#counts", Static).update(Content(inspection.summary))
        lines = self.query_one(LineView)
        lines.show_lines(lambda width: inspection_lines(inspection, width))
        lines.focus()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable copying once the prompt is composed."""
        return action != "copy_ids" or self._inspection is not None

    def action_copy_ids(self) -> None:
        """Copy the token ids, separated by spaces."""
        if self._inspection is not None:
            self.copy_text(" ".join(map(str, self._inspection.ids)))


def inspect(prompt: Prompt, encoder: TokenEncoder) -> Inspection:
    """Describe a prompt token by token.

    Args:
        prompt: The prompt, with the messages that were dropped from it.
        encoder: The encoder of the model's tokenizer, for the texts of the tokens.

    Returns:
        The description. Dropped messages follow the system message, where they stood in the chat.
    """
    special = encoder.special_ids
    dropped = tuple(
        Block(_ROLES[message.role], (), safe_text(message.text).strip() or "…")
        for message in prompt.dropped
    )
    kept = []
    for segment in prompt.segments:
        cells = (_cell(i, encoder.token_text(i), i in special) for i in segment.ids)
        has_note = prompt.has_note and segment.role == "system" and segment.message_id is not None
        role = "system, with the note" if has_note else _ROLES[segment.role]
        kept.append(Block(role, tuple(cells)))
    roles = [segment.role for segment in prompt.segments]
    head = next((i for i, role in enumerate(roles) if role != "system"), len(roles))
    return Inspection(
        ids=prompt.ids,
        context=prompt.fit.context,
        reserve=prompt.fit.reserve,
        blocks=(*kept[:head], *dropped, *kept[head:]),
        dropped_turns=prompt.dropped_turns,
        dropped_tokens=prompt.dropped_tokens,
        noted_turns=prompt.noted_turns,
    )


def _cell(token_id: int, text: str, is_special: bool) -> TokenCell:
    """Return a token with visible white space: `·` for a space, `⏎` for a line end, `⇥` for a tab.

    Text longer than `_LONGEST_TOKEN` characters is cut, and a token without text shows as `∅`.
    """
    visible = safe_text(text).replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥")
    visible = visible if len(visible) <= _LONGEST_TOKEN else f"{visible[:_LONGEST_TOKEN]}…"
    return TokenCell(visible or "∅", token_id, is_special)


def inspection_lines(inspection: Inspection, width: int) -> list[Content]:
    """Return the blocks as lines of `width` cells: tokens above their ids, dropped messages dim."""
    lines: list[Content] = []
    was_dropped = False
    for block in inspection.blocks:
        if block.dropped_text:
            lines.append(_dropped(block, width))
            was_dropped = True
            continue
        if was_dropped:
            lines += [_forget_line(inspection, width), Content("")]
            was_dropped = False
        count = f"{len(block.tokens)} token{'s' * (len(block.tokens) != 1)}"
        lines.append(Content.assemble((block.role, "bold"), (f"  {count}", "$text-muted")))
        lines += _gloss(block.tokens, width)
        lines.append(Content(""))
    return lines


def _dropped(block: Block, width: int) -> Content:
    """Return the line for a message that was left out."""
    text = f"{block.role:<7}{fitted(block.dropped_text, width - 7)}"
    return Content.styled(text, "$text-muted")


def _forget_line(inspection: Inspection, width: int) -> Content:
    turns = f"{inspection.dropped_turns} turn{'s' * (inspection.dropped_turns != 1)}"
    noted = f"; the note stands for {inspection.noted_turns}" * bool(inspection.noted_turns)
    text = f" {turns} above, {grouped(inspection.dropped_tokens)} tokens, not sent{noted} "
    side = max(0, (width - len(text)) // 2)
    return Content.styled(fitted("┄" * side + text + "┄" * side, width), "$text-muted")


def _gloss(tokens: Sequence[TokenCell], width: int) -> list[Content]:
    """Return rows of tokens with their ids below, as many tokens in a row as fit."""
    lines: list[Content] = []
    row: list[TokenCell] = []
    used = _INDENT
    for token in tokens:
        needed = min(token.width, width - _INDENT) + _GAP
        if row and used + needed > width:
            lines += _gloss_row(row, width)
            row, used = [], _INDENT
        row.append(token)
        used += needed
    return lines + (_gloss_row(row, width) if row else [])


def _gloss_row(row: Sequence[TokenCell], width: int) -> list[Content]:
    texts: list[str | tuple[str, str]] = [" " * _INDENT]
    ids: list[str | tuple[str, str]] = [" " * _INDENT]
    for token in row:
        cells = min(token.width, max(2, width - _INDENT - _GAP))
        text = fitted(token.text, cells)
        texts += [(text, "bold $accent") if token.is_special else text, " " * _GAP]
        ids += [(fitted(str(token.token_id), cells), "$text-muted"), " " * _GAP]
    return [Content.assemble(*texts), Content.assemble(*ids)]
