"""Syntax colours of code in replies, made from the theme.

The colours are few and calm, so that code reads as text. There is one set for themes with colours
of their own and one for themes that use the terminal's.
"""

from __future__ import annotations

from pygments.token import Token  # type: ignore[import-untyped]  # has no types
from textual.content import Content
from textual.highlight import HighlightTheme, TokenType, highlight


class CodeColours(HighlightTheme):
    """Colours from the theme's text colours, which contrast with its background by construction."""

    STYLES: dict[TokenType, str] = {  # noqa: RUF012 - as the base class declares it
        Token.Comment: "$text-muted italic",
        Token.Keyword: "$text-primary",
        Token.Keyword.Constant: "$text-warning",
        Token.Literal.Number: "$text-warning",
        Token.Literal.String: "$text-success",
        Token.Literal.String.Doc: "$text-success italic",
        Token.Name.Attribute: "$text-primary",
        Token.Name.Builtin: "$text-primary",
        Token.Name.Class: "bold",
        Token.Name.Decorator: "$text-warning",
        Token.Name.Function: "bold",
        Token.Name.Tag: "$text-primary",
        Token.Operator.Word: "$text-primary",
        Token.Generic.Deleted: "$text-error",
        Token.Generic.Inserted: "$text-success",
        Token.Generic.Heading: "bold",
        Token.Generic.Subheading: "bold",
        Token.Generic.Emph: "italic",
        Token.Generic.Strong: "bold",
        Token.Generic.Prompt: "$text-muted",
    }


class TerminalCodeColours(HighlightTheme):
    """Colours from the terminal's sixteen."""

    STYLES: dict[TokenType, str] = {  # noqa: RUF012 - as the base class declares it
        Token.Comment: "ansi_bright_black italic",
        Token.Keyword: "ansi_blue",
        Token.Keyword.Constant: "ansi_yellow",
        Token.Literal.Number: "ansi_yellow",
        Token.Literal.String: "ansi_green",
        Token.Name.Builtin: "ansi_blue",
        Token.Name.Class: "bold",
        Token.Name.Decorator: "ansi_yellow",
        Token.Name.Function: "bold",
        Token.Name.Tag: "ansi_blue",
        Token.Operator.Word: "ansi_blue",
        Token.Generic.Deleted: "ansi_red",
        Token.Generic.Inserted: "ansi_green",
        Token.Generic.Emph: "italic",
        Token.Generic.Strong: "bold",
    }


def coloured_code(code: str, language: str, uses_terminal_colours: bool) -> Content:
    """Highlight code by its language; without a known language it stays plain.

    The language is never guessed, because guessing tries hundreds of grammars on every new line.

    Args:
        code: The code.
        language: What the fence says, the language first; may be empty.
        uses_terminal_colours: Whether to use the terminal's sixteen colours.
    """
    theme = TerminalCodeColours if uses_terminal_colours else CodeColours
    name = language.split()[0] if language.strip() else "text"
    return highlight(code, language=name, theme=theme)
