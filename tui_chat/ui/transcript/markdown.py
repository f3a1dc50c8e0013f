"""The Markdown parser for replies: markdown-it with its rules changed where they would hide text.

It decides what counts as a list, a link or a formula. `blocks` turns its tokens into blocks;
nothing here depends on the screen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote, list_block, reference
from markdown_it.rules_inline import StateInline, escape
from markdown_it.token import Token

MOST_LEVELS = 48
"""Nesting of tokens from which a list or a quotation is shown as written. A list takes two
levels and a quotation one; each also takes some of Python's stack."""
_KEPT_ESCAPES = frozenset("[]()\\")
"""Characters before which a backslash stays: `\\[` and `\\\\` are mostly TeX and seldom escapes."""
_DOLLARS = re.compile(r"\$\$.+?\$\$|\$(?! )[^$\n]*?[^$\s\\]\$(?![0-9])", re.DOTALL)
"""A formula in dollar signs. Single dollars follow pandoc's rule, so that prices are not formulas:
no space just inside the dollars, and no digit after the closing one."""
_BRACKETS = {"(": "\\)", "[": "\\]"}


class _Parser(MarkdownIt):
    """A parser that keeps addresses as written; markdown-it decodes and encodes parts of them."""

    def normalizeLink(self, url: str) -> str:
        return url

    def normalizeLinkText(self, link: str) -> str:
        return link


def new_parser() -> MarkdownIt:
    """Return a parser for replies: GitHub's Markdown without any rule that drops text.

    Raw HTML is text, addresses stay as written, link definitions are shown, and text nested too
    deeply is shown as written. Threads must not share a parser, because its link rules keep state.
    """
    parser = _Parser("gfm-like", {"html": False, "maxNesting": 2 * MOST_LEVELS})
    block, inline = parser.block.ruler, parser.inline.ruler
    block.at("list", _not_too_deep(list_block), {"alt": ["paragraph", "reference", "blockquote"]})
    block.at(
        "blockquote",
        _not_too_deep(blockquote),
        {"alt": ["paragraph", "reference", "blockquote", "list"]},
    )
    block.at("reference", _shown_reference)
    block.before("fence", "formula", _formula_block, {"alt": ["paragraph", "blockquote", "list"]})
    inline.at("escape", _escape)
    inline.before("escape", "formula", _formula)
    return parser


def block_tokens(parser: MarkdownIt, source: str, env: dict[str, Any]) -> list[Token]:
    """Parse a text into block tokens, and leave the text inside them to `inline_tokens`.

    Args:
        parser: A parser that no other thread uses.
        source: Safe text.
        env: The link definitions known so far; the parser adds those that it finds.
    """
    tokens: list[Token] = []
    parser.block.parse(source, parser, env, tokens)
    return tokens


def inline_tokens(parser: MarkdownIt, text: str, env: dict[str, Any]) -> list[Token]:
    """Parse the text of one block into words, marks and links.

    Args:
        parser: A parser that no other thread uses.
        text: The text of the block, without the marks of the block itself.
        env: The link definitions of the whole message.
    """
    return parser.parseInline(text, env)[0].children or []


BlockRule = Callable[[StateBlock, int, int, bool], bool]


def _not_too_deep(rule: BlockRule) -> BlockRule:
    """Limit a rule to `MOST_LEVELS`, beyond which markdown-it would drop the text.

    The paragraph rule then takes the text and shows it.
    """

    def limited(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        return state.level < MOST_LEVELS and rule(state, start, end, silent)

    return limited


def _shown_reference(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a link definition and emit a token that shows it.

    Footnotes stay text, though they look like definitions.
    """
    at = state.bMarks[start] + state.tShift[start]
    known = len(state.env.get("references", ()))
    if state.src.startswith("[^", at) or not reference(state, start, end, silent):
        return False
    if not silent:
        token = state.push("definition", "", 0)
        references = state.env.get("references", {})
        token.info = next(reversed(references)) if len(references) > known else ""
        token.content = state.getLines(start, state.line, state.blkIndent, False)
        token.map = [start, state.line]
    return True


def _escape(state: StateInline, silent: bool) -> bool:
    """Resolve a backslash escape, but keep the backslash before brackets and backslashes."""
    if not escape(state, silent):
        return False
    if not silent and state.tokens:
        token = state.tokens[-1]
        if token.type == "text_special" and token.content in _KEPT_ESCAPES:
            token.content = token.markup
    return True


def _formula(state: StateInline, silent: bool) -> bool:
    """Parse a formula within a line, `\\(x\\)`, `\\[x\\]`, `$x$` or `$$x$$`, and keep it as is."""
    source, at = state.src, state.pos
    if source[at] == "$":
        match = _DOLLARS.match(source, at, state.posMax)
        end = match.end() if match else -1
    elif source[at] == "\\" and source[at + 1 : at + 2] in _BRACKETS:
        close = source.find(_BRACKETS[source[at + 1]], at + 2, state.posMax)
        end = close + 2 if close >= 0 else -1
    else:
        return False
    if end < 0:
        return False
    if not silent:
        state.push("formula", "", 0).content = source[at:end]
    state.pos = end
    return True


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a formula of several lines, from `\\[` or `$$` that begins a line to a line's end."""
    if state.is_code_block(start):
        return False
    at = state.bMarks[start] + state.tShift[start]
    opener = state.src[at : at + 2]
    closer = {"\\[": "\\]", "$$": "$$"}.get(opener)
    if closer is None:
        return False
    for line in range(start, end):
        if state.isEmpty(line) or (line > start and state.sCount[line] < state.blkIndent):
            return False
        begin = at + 2 if line == start else state.bMarks[line] + state.tShift[line]
        text = state.src[begin : state.eMarks[line]].rstrip()
        if text.endswith(closer):
            break
        if closer in text:
            return False  # something follows: a paragraph that begins with a formula
    else:
        return False
    if line == start:
        return False  # on one line it is a part of a paragraph
    if not silent:
        token = state.push("formula_block", "", 0)
        token.content = state.getLines(start, line + 1, state.blkIndent, False)
        token.map = [start, line + 1]
        state.line = line + 1
    return True
